// Command mainstay runs Kubernetes operators that are written in YAML. This package holds flags and verbs and no
// logic: what a verb does stands in the package that it calls. But for query, which is nothing to the rest: it lists
// kinds into a store of its own.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "mainstay:", err)
		os.Exit(1)
	}
}
