// Package stack starts the halves of the stack that were asked for, says when
// they can be used, and ends them. It is where the two halves meet; they do not
// know each other.
package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/mainstay-dev/mainstay/devstack/internal/kubernetes"
	"github.com/mainstay-dev/mainstay/devstack/internal/statedir"
	"github.com/mainstay-dev/mainstay/devstack/internal/supervise"
	"github.com/mainstay-dev/mainstay/devstack/internal/temporal"
)

// Options are what `devstack up` was told.
type Options struct {
	// Dir is the folder of the state.
	Dir string
	// Only is the one half to start; empty is both.
	Only statedir.Half
	// Nodes is how many nodes exist at least.
	Nodes int
	// Timeout is how long to wait until all is ready.
	Timeout time.Duration
	// Ports; 0 is the one of last time, else a free one.
	APIServerPort, EtcdPort, TemporalPort, UIPort int
	// Stdout gets one line when all is ready.
	Stdout io.Writer
}

func (o Options) validate() error {
	switch o.Only {
	case "", statedir.Temporal, statedir.Kubernetes:
	default:
		return fmt.Errorf("--only is %q: want temporal or kubernetes", o.Only)
	}
	if o.Dir == "" {
		return errors.New("--dir is empty")
	}
	if o.Nodes < 0 {
		return fmt.Errorf("--nodes is %d: want 0 or more", o.Nodes)
	}
	for _, p := range []int{o.APIServerPort, o.EtcdPort, o.TemporalPort, o.UIPort} {
		if p < 0 || p > 65535 {
			return fmt.Errorf("%d is no port: want 1 to 65535", p)
		}
	}
	return nil
}

// half is one half while it runs.
type half struct {
	name  statedir.Half
	group *supervise.Group
	up    func(context.Context, *supervise.Group, statedir.Dir) ([]statedir.Var, error)
}

// Up runs the stack until the context is done, which is its regular end. An
// error says why it could not start, or which component ended by itself. In
// either case nothing that it started is left when it returns.
func Up(ctx context.Context, o Options) error {
	begin := time.Now()
	if err := o.validate(); err != nil {
		return err
	}
	dir, err := statedir.Open(o.Dir)
	if err != nil {
		return err
	}
	// life is over when somebody asks, or when a component ends by itself.
	life, ended := context.WithCancelCause(ctx)
	defer ended(nil)
	halves := o.halves(ended)
	for _, h := range halves {
		lock, err := dir.Lock(h.name)
		if err != nil {
			return err
		}
		defer lock.Close()
	}
	defer stop(halves)

	vars, err := o.start(life, dir, halves)
	if ctx.Err() != nil {
		return nil // asked to end before it was ready
	}
	if err != nil {
		return err
	}
	if err := announce(o.Stdout, time.Since(begin), vars, dir); err != nil {
		return err
	}
	<-life.Done()
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(life)
}

func (o Options) halves(ended func(error)) []half {
	all := []half{
		{statedir.Kubernetes, supervise.NewGroup(ended),
			func(ctx context.Context, g *supervise.Group, d statedir.Dir) ([]statedir.Var, error) {
				return kubernetes.Up(ctx, g, d, statedir.Ports{
					kubernetes.APIServerPort: o.APIServerPort,
					kubernetes.EtcdPort:      o.EtcdPort,
				}, o.Nodes)
			}},
		{statedir.Temporal, supervise.NewGroup(ended),
			func(ctx context.Context, g *supervise.Group, d statedir.Dir) ([]statedir.Var, error) {
				return temporal.Up(ctx, g, d, statedir.Ports{
					temporal.FrontendPort: o.TemporalPort,
					temporal.UIPort:       o.UIPort,
				})
			}},
	}
	var wanted []half
	for _, h := range all {
		if o.Only == "" || o.Only == h.name {
			wanted = append(wanted, h)
		}
	}
	return wanted
}

// start brings the halves up side by side. The first failure ends the wait for
// the other one.
func (o Options) start(ctx context.Context, dir statedir.Dir, halves []half) ([]statedir.Var, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	ctx, cancel := context.WithTimeoutCause(ctx, o.Timeout,
		fmt.Errorf("not ready after %s; see %s", o.Timeout, dir.Path("logs")))
	defer cancel()

	vars := make([][]statedir.Var, len(halves))
	var wait sync.WaitGroup
	for i, h := range halves {
		wait.Go(func() {
			var err error
			vars[i], err = h.up(ctx, h.group, dir)
			if err == nil {
				err = dir.WriteEnv(h.name, vars[i])
			}
			if err != nil {
				fail(err) // the first one counts
			}
		})
	}
	wait.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	var all []statedir.Var
	for _, v := range vars {
		all = append(all, v...)
	}
	return all, nil
}

// announce prints the one line that scripts wait for.
func announce(w io.Writer, took time.Duration, vars []statedir.Var, dir statedir.Dir) error {
	words := make([]string, 0, len(vars))
	for _, v := range vars {
		words = append(words, v.Name+"="+statedir.Quote(v.Value))
	}
	_, err := fmt.Fprintf(w, "devstack ready in %.1fs: %s (. %s)\n",
		took.Seconds(), strings.Join(words, " "), statedir.Quote(dir.Path("env")))
	return err
}

func stop(halves []half) {
	var wait sync.WaitGroup
	for _, h := range halves {
		wait.Go(h.group.Stop)
	}
	wait.Wait()
}
