// Command demo tells the main story of Mainstay on real parts: a resource is deployed by a durable workflow, a Service
// changes, the Ingress follows, the operator is killed in the middle of an upgrade and takes it up again, the resource
// is deleted and nothing is left. Every step is read back from the API server. With -up it starts the same parts and
// leaves them running.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/mainstay-dev/mainstay/tests/stack"
)

func main() {
	up := flag.Bool("up", false, "leave everything running until Ctrl-C")
	dir := flag.String("dir", filepath.Join(stack.Root(), ".devstack"), "with -up: where the state lives")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := demo
	if *up {
		run = func(ctx context.Context) error { return stay(ctx, *dir) }
	}
	began := time.Now()
	if err := run(ctx); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("interrupted")
		}
		fmt.Fprintf(os.Stderr, "\nThe demo failed after %s: %v\n", time.Since(began).Round(time.Second), err)
		os.Exit(1)
	}
}

// stay starts everything and waits for Ctrl-C.
func stay(ctx context.Context, dir string) error {
	fmt.Println("\nStarting Temporal, a Kubernetes control plane and mainstay")
	s, err := stack.Up(ctx, dir)
	if err != nil {
		return err
	}
	defer s.Down()
	log, err := os.Create(filepath.Join(dir, "mainstay.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	p, err := s.Mainstay(filepath.Join(stack.Root(), "specs", "library"), log)
	if err != nil {
		return err
	}
	fmt.Printf(`
  In another terminal:

    . %[1]s/env
    alias kubectl='%[2]s kubectl'        # if you have no kubectl of your own
    kubectl apply -f %[3]s
    kubectl get vvp -w

  Temporal's UI:    %[4]s
  Mainstay's log:   %[5]s

Ctrl-C ends everything; the state stays in %[1]s for the next time.
`, dir, stack.Bin("devstack"), filepath.Join(stack.Root(), "specs", "library", "vvp", "example.yaml"), s.UI, log.Name())
	select {
	case <-ctx.Done():
		return p.Stop(40 * time.Second)
	case <-p.Done():
		return fmt.Errorf("mainstay ended by itself; see %s", log.Name())
	}
}
