// Package stack starts the real parts that scenarios, benchmarks and the demo run on: devstack (Temporal and a
// Kubernetes control plane) and the mainstay program, each as a process of its own that can be killed. What they do
// with it is theirs.
package stack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"go.temporal.io/sdk/client"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Halves of a devstack, as its --only takes them.
const (
	All        = ""
	Temporal   = "temporal"
	Kubernetes = "kubernetes"
)

// Root is the repository's folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// Bin is the path of a program that make has built.
func Bin(name string) string { return filepath.Join(Root(), "bin", name) }

// Process is a program that was started here.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// start runs a program in a process group of its own, so that a Ctrl-C for the parent is the parent's to pass on.
func start(cmd *exec.Cmd) (*Process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.done
}

// Stop ends the process with SIGTERM. It is an error if that takes longer than within (then it is killed), or if the
// program doesn't exit with 0.
func (p *Process) Stop(within time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-time.After(within):
		p.Kill()
		return fmt.Errorf("%s did not end within %s of SIGTERM", filepath.Base(p.cmd.Path), within)
	}
}

// Pid is the process's id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stack is a running devstack and the clients for it.
type Stack struct {
	Dir       string
	REST      *rest.Config
	Dynamic   dynamic.Interface
	Kube      kubernetes.Interface
	Temporal  client.Client
	UI        string
	env       []string
	processes map[string]*Process
}

// Up starts devstack on dir, whole (All) or as two halves that can be killed alone, and waits until it is ready.
func Up(ctx context.Context, dir string, halves ...string) (*Stack, error) {
	s := &Stack{Dir: dir, processes: map[string]*Process{}}
	if len(halves) == 0 {
		halves = []string{All}
	}
	for _, h := range halves {
		if err := s.Start(ctx, h); err != nil {
			s.Down()
			return nil, err
		}
	}
	if err := s.connect(); err != nil {
		s.Down()
		return nil, err
	}
	return s, nil
}

// Start starts a half (or All) of a stack on its folder and waits until it is ready.
func (s *Stack) Start(ctx context.Context, half string) error {
	args := []string{"up", "--dir", s.Dir}
	if half != All {
		args = append(args, "--only", half)
	}
	cmd := exec.Command(Bin("devstack"), args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var problems strings.Builder
	cmd.Stderr = &problems
	p, err := start(cmd)
	if err != nil {
		return err
	}
	s.processes[half] = p
	ready := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(out).ReadString('\n')
		ready <- err
		_, _ = io.Copy(io.Discard, out)
	}()
	select {
	case err := <-ready:
		if err != nil {
			<-p.done
			return fmt.Errorf("devstack ended before it was ready: %s", problems.String())
		}
		return nil
	case <-ctx.Done():
		p.Kill()
		return ctx.Err()
	}
}

// Process is the running half.
func (s *Stack) Process(half string) *Process { return s.processes[half] }

// Env is the environment for programs that use the stack.
func (s *Stack) Env() []string { return append(os.Environ(), s.env...) }

// connect reads what devstack has written and makes clients of it.
func (s *Stack) connect() error {
	raw, err := os.ReadFile(filepath.Join(s.Dir, "env"))
	if err != nil {
		return err
	}
	values := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		if kv, ok := strings.CutPrefix(strings.TrimSpace(line), "export "); ok {
			k, v, _ := strings.Cut(kv, "=")
			v = strings.Trim(v, `'"`)
			values[k] = v
			s.env = append(s.env, k+"="+v)
		}
	}
	s.UI = values["TEMPORAL_UI"]
	if path := values["KUBECONFIG"]; path != "" {
		if s.REST, err = clientcmd.BuildConfigFromFlags("", path); err != nil {
			return err
		}
		s.REST.QPS = -1
		if s.Dynamic, err = dynamic.NewForConfig(s.REST); err != nil {
			return err
		}
		if s.Kube, err = kubernetes.NewForConfig(s.REST); err != nil {
			return err
		}
	}
	if address := values["TEMPORAL_ADDRESS"]; address != "" {
		s.Temporal, err = client.NewLazyClient(client.Options{HostPort: address, Namespace: values["TEMPORAL_NAMESPACE"], Logger: silent{}})
	}
	return err
}

// Down ends everything that was started.
func (s *Stack) Down() {
	if s.Temporal != nil {
		s.Temporal.Close()
	}
	for _, p := range s.processes {
		_ = p.Stop(20 * time.Second) // killed if it doesn't
	}
}

// Mainstay starts the program on a folder of operators. What it logs goes to log.
func (s *Stack) Mainstay(operators string, log io.Writer, args ...string) (*Process, error) {
	cmd := exec.Command(Bin("mainstay"), append([]string{"run", "--operators", operators}, args...)...)
	cmd.Env = s.Env()
	cmd.Stderr = log
	return start(cmd)
}

// silent is a logger for the tests' own Temporal client.
type silent struct{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}
