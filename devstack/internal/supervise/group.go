// Package supervise runs the components of the stack as child processes of one
// devstack, and makes sure that none outlives it.
//
// Components are this same program, started again with a hidden subcommand.
// They are not goroutines, because the Kubernetes ones register flags, metrics
// and feature gates in process-wide tables and end the process when they fail.
//
// A component ends when its parent does, even by kill -9: each holds the read
// end of a pipe whose only write end is the parent's (see Guard). That is
// portable, and unlike Linux's parent-death signal it is not tied to the thread
// that happened to start the process.
package supervise

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Component is one process to run.
type Component struct {
	// Name is for messages, and the name of its hidden subcommand.
	Name string
	// Args follow the name on its command line.
	Args []string
	// Log is the file that takes what it writes to stdout and stderr.
	Log string
	// Grace is how long it may take to end after SIGTERM; 0 is five seconds.
	Grace time.Duration
}

// Group is components that stand on each other: each was started after those it
// needs, and they are stopped in the opposite order.
type Group struct {
	died func(error)

	mu       sync.Mutex
	running  []*process
	stopping bool
}

type process struct {
	Component
	cmd   *exec.Cmd
	log   *Log
	alive *os.File // the write end of the pipe that Guard reads
	done  chan struct{}
}

// NewGroup makes an empty group. When a component ends that nobody asked to,
// died is called with an error that says which and shows the end of its log; it
// may be called for several. Nothing is restarted: a control plane that crashes
// on a developer's machine is news.
func NewGroup(died func(error)) *Group {
	return &Group{died: died}
}

// Start runs one more component. It returns as soon as the process exists.
func (g *Group) Start(c Component) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	log, err := OpenLog(c.Log)
	if err != nil {
		return err
	}
	child, alive, err := os.Pipe()
	if err != nil {
		log.Close()
		return fmt.Errorf("start %s: %w", c.Name, err)
	}
	defer child.Close()

	cmd := exec.Command(self, append([]string{HiddenCommand, c.Name}, c.Args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{child} // becomes guardFD
	// A group of its own, or Ctrl-C in a terminal would end all at once instead
	// of in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}

	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopping {
		alive.Close()
		log.Close()
		return fmt.Errorf("start %s: the stack is being stopped", c.Name)
	}
	if err := cmd.Start(); err != nil {
		alive.Close()
		log.Close()
		return fmt.Errorf("start %s: %w", c.Name, err)
	}
	p := &process{Component: c, cmd: cmd, log: log, alive: alive, done: make(chan struct{})}
	g.running = append(g.running, p)
	go g.wait(p)
	return nil
}

func (g *Group) wait(p *process) {
	err := p.cmd.Wait()
	p.log.Close()
	g.mu.Lock()
	stopping := g.stopping
	g.mu.Unlock()
	close(p.done)
	if stopping {
		return
	}
	how := "exit status 0"
	if err != nil {
		how = err.Error()
	}
	g.died(fmt.Errorf("%s ended unexpectedly (%s); the end of %s:\n%s",
		p.Name, how, p.Component.Log, tail(p.Component.Log)))
}

// Stop ends all components, the last one started first, each with SIGTERM and,
// when its grace is over, with SIGKILL. It may be called again.
func (g *Group) Stop() {
	g.mu.Lock()
	g.stopping = true
	running := g.running
	g.running = nil
	g.mu.Unlock()
	for i := len(running) - 1; i >= 0; i-- {
		running[i].stop()
	}
}

func (p *process) stop() {
	defer p.alive.Close()
	grace := p.Grace
	if grace == 0 {
		grace = 5 * time.Second
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	select {
	case <-p.done:
		return
	case <-time.After(grace):
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}
