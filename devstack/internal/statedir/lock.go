package statedir

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// ErrRunning says that another devstack already runs this half on this folder.
var ErrRunning = errors.New("already running")

// Lock is held for as long as a half runs. The kernel lets go of it when the
// process ends, however it ends, so there are no stale locks to clean up.
type Lock struct {
	file *os.File
}

// Lock takes the lock of a half, or returns an error that wraps ErrRunning and
// names the process that holds it.
func (d Dir) Lock(h Half) (*Lock, error) {
	path := d.Half(h, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of %s: %w", h, err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := os.ReadFile(path)
		f.Close()
		return nil, fmt.Errorf("%s in %s is %w (process %s): stop that one first, or use another --dir",
			h, d.root, ErrRunning, strings.TrimSpace(string(holder)))
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// The number is for the message above only; the lock is what counts.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &Lock{file: f}, nil
}

// Close gives the lock back.
func (l *Lock) Close() error { return l.file.Close() }

// shared runs do while no other process is in shared on the same folder. It is
// for what both halves touch, and is held for milliseconds.
func (d Dir) shared(do func() error) error {
	f, err := os.OpenFile(d.Path(".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open the shared lock: %w", err)
	}
	defer f.Close()
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return do()
}
