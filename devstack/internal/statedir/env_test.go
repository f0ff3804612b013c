package statedir

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

func TestEnvIsReadByAShell(t *testing.T) {
	d := open(t)
	const nasty = `it's "a" $HOME \ path`
	if err := d.WriteEnv(Kubernetes, []Var{{"DS_NASTY", nasty}, {"DS_PLAIN", "/a/b-c_d.e:1"}}); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", `. "$1" && printf '%s|%s' "$DS_NASTY" "$DS_PLAIN"`, "sh", d.Path("env")).CombinedOutput()
	if err != nil || string(out) != nasty+"|/a/b-c_d.e:1" {
		t.Errorf("a shell reads %q (%v)", out, err)
	}
}

// The two halves write at the same moment, as two processes do that were
// started together.
func TestEnvHasBothHalves(t *testing.T) {
	d := open(t)
	var wait sync.WaitGroup
	for _, h := range Halves {
		for range 20 {
			wait.Go(func() {
				if err := d.WriteEnv(h, []Var{{"DS_" + strings.ToUpper(string(h)), "here"}}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wait.Wait()
	content, err := os.ReadFile(d.Path("env"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "export DS_KUBERNETES=here\nexport DS_TEMPORAL=here\n"; string(content) != want {
		t.Errorf("env is %q, want %q", content, want)
	}
}

func TestLockIsHeldOnce(t *testing.T) {
	d := open(t)
	lock, err := d.Lock(Temporal)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock(Temporal); !errors.Is(err, ErrRunning) {
		t.Errorf("a second lock: %v, want ErrRunning", err)
	}
	other, err := d.Lock(Kubernetes)
	if err != nil {
		t.Fatalf("the other half is locked too: %v", err)
	}
	other.Close()
	lock.Close()
	again, err := d.Lock(Temporal)
	if err != nil {
		t.Fatalf("the lock was not given back: %v", err)
	}
	again.Close()
}
