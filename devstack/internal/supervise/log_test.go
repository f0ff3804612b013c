package supervise

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLogCannotGrowForever(t *testing.T) {
	path := filepath.Join(t.TempDir(), "component.log")
	log, err := OpenLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	log.max = 1000
	line := append(bytes.Repeat([]byte("x"), 99), '\n')
	for range 100 {
		if n, err := log.Write(line); n != len(line) || err != nil {
			t.Fatalf("wrote %d, %v", n, err)
		}
	}
	if _, err := log.Write([]byte("the last line\n")); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{path, path + ".1"} {
		info, err := os.Stat(file)
		if err != nil || info.Size() > 1000 {
			t.Errorf("%s: %v, %v; want at most 1000 bytes", file, info.Size(), err)
		}
	}
	if got := tail(path); !strings.HasSuffix(got, "the last line") {
		t.Errorf("the tail is %q, want it to end with the last line", got)
	}
}
