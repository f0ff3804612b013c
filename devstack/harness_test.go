package main

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asDevstack makes the test binary be devstack. It has all of it inside, and
// linking a second one would take longer than the tests.
const asDevstack = "DEVSTACK_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asDevstack) != "" {
		main()
	}
	os.Exit(m.Run())
}

// process is one `devstack up`, as a user would start it.
type process struct {
	t              *testing.T
	dir            string
	cmd            *exec.Cmd
	stdout, stderr output
	ended          chan struct{}
}

// start runs `devstack up` until the test ends at the latest.
func start(t *testing.T, dir string, flags ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, dir: dir, ended: make(chan struct{})}
	p.cmd = exec.Command(self, append([]string{"up", "--dir", dir}, flags...)...)
	p.cmd.Env = append(os.Environ(), asDevstack+"=1")
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		components := p.components()
		p.signal(syscall.SIGKILL)
		p.wait()
		gone(t, components)
	})
	return p
}

// ready waits for the line on stdout and returns what a shell gets from env.
func (p *process) ready() map[string]string {
	p.t.Helper()
	eventually(p.t, "devstack is ready", func() error {
		if strings.HasPrefix(p.stdout.String(), "devstack ready in ") {
			return nil
		}
		select {
		case <-p.ended:
			p.t.Fatalf("devstack ended: %s", p.stderr.String())
		default:
		}
		return errors.New(p.stderr.String())
	})
	// An empty environment, so that only what the file exports is there.
	cmd := exec.Command("sh", "-c", `. "$1" && env`, "sh", filepath.Join(p.dir, "env"))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatal(err)
	}
	env := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		env[name] = value
	}
	maps.DeleteFunc(env, func(name, _ string) bool {
		return name != "KUBECONFIG" && !strings.HasPrefix(name, "TEMPORAL_")
	})
	return env
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// wait returns the exit status, or -1 when a signal ended it.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		p.t.Fatal("devstack does not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

// components are the command lines of the child processes, by process id.
func (p *process) components() map[int]string {
	found := map[int]string{}
	for pid, c := range processes(p.t) {
		if c.parent == p.cmd.Process.Pid {
			found[pid] = c.args
		}
	}
	return found
}

// gone waits until none of the processes runs. One that stays is an error, and
// is ended: no test leaves processes behind.
func gone(t *testing.T, pids map[int]string) {
	t.Helper()
	var left []int
	for begin := time.Now(); time.Since(begin) < 10*time.Second; time.Sleep(50 * time.Millisecond) {
		left = nil
		all := processes(t)
		for pid, args := range pids {
			if p, ok := all[pid]; ok && p.args == args {
				left = append(left, pid)
			}
		}
		if len(left) == 0 {
			return
		}
	}
	for _, pid := range left {
		t.Errorf("process %d outlived devstack: %s", pid, pids[pid])
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

type running struct {
	parent int
	args   string
}

// processes are those that run; one that has ended but that nobody has waited
// for does not.
func processes(t *testing.T) map[int]running {
	t.Helper()
	out, err := exec.Command("ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,args=").Output()
	if err != nil {
		t.Fatalf("list processes: %v", err)
	}
	all := map[int]running{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) < 4 || strings.HasPrefix(f[2], "Z") {
			continue
		}
		pid, _ := strconv.Atoi(f[0])
		parent, _ := strconv.Atoi(f[1])
		all[pid] = running{parent: parent, args: strings.Join(f[3:], " ")}
	}
	return all
}

// patience is far more than anything takes, for machines that are busy.
const patience = 90 * time.Second

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Since(begin) > patience {
			t.Fatalf("not so after %s: %s: %v", patience, what, err)
		}
	}
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

// output collects what a process writes while the test reads it.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
