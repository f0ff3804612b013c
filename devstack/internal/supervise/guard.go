package supervise

import (
	"errors"
	"os"
	"syscall"
)

// HiddenCommand is the subcommand of devstack under which a component runs.
const HiddenCommand = "component"

// guardFD is the number of the first of exec.Cmd's ExtraFiles.
const guardFD = 3

// Guard ties the life of this process, a component, to the one that started it.
// It must be the first thing a component does.
func Guard() error {
	pipe := os.NewFile(guardFD, "parent")
	if pipe == nil {
		return errNoParent
	}
	if info, err := pipe.Stat(); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return errNoParent
	}
	syscall.CloseOnExec(guardFD)
	go func() {
		// Nobody ever writes: a read returns when the last write end is closed,
		// and the kernel closes it when the parent is gone.
		_, _ = pipe.Read(make([]byte, 1))
		// Not os.Exit: nothing may delay this, and nobody is left to be told.
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}()
	return nil
}

var errNoParent = errors.New("this command is for devstack itself: use `devstack up`")
