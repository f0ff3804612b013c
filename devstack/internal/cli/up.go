package cli

import (
	"io"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"google.golang.org/grpc/grpclog"
	"k8s.io/klog/v2"

	"github.com/mainstay-dev/mainstay/devstack/internal/stack"
	"github.com/mainstay-dev/mainstay/devstack/internal/statedir"
)

func upCommand() *cobra.Command {
	var o stack.Options
	var only string
	cmd := &cobra.Command{
		Use:   "up --dir DIR",
		Short: "Start the stack and run it until Ctrl-C",
		Long: `Start the stack and run it until Ctrl-C or SIGTERM.

When everything can be used, one line is printed to stdout. Then DIR/env has the
variables to source, DIR/kubeconfig the access to Kubernetes. Logs are in
DIR/logs. Everything listens on 127.0.0.1 only.

Started again on the same DIR, the stack has the same ports and goes on where it
was, also after kill -9. Remove DIR to begin anew.

If a component ends by itself, devstack says which one with the end of its log,
stops the rest and exits with status 1.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if only != "" {
				o.Only = statedir.Half(only)
			}
			o.Stdout = cmd.OutOrStdout()
			quiet()
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			// After the first signal the next one ends devstack at once, and the
			// components with it.
			go func() {
				<-ctx.Done()
				stop()
			}()
			return stack.Up(ctx, o)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&o.Dir, "dir", ".devstack", "folder of the state, made where it is missing")
	flags.StringVar(&only, "only", "", "start one half: temporal or kubernetes; the other may run as another process on the same DIR")
	flags.IntVar(&o.Nodes, "nodes", 2, "number of (invented) nodes that exist at least")
	flags.DurationVar(&o.Timeout, "timeout", 2*time.Minute, "give up when it is not ready after this time")
	flags.IntVar(&o.APIServerPort, "apiserver-port", 0, "port of kube-apiserver (default: the one of last time, else a free one)")
	flags.IntVar(&o.EtcdPort, "etcd-port", 0, "port of etcd (likewise)")
	flags.IntVar(&o.TemporalPort, "temporal-port", 0, "port of Temporal's frontend (likewise)")
	flags.IntVar(&o.UIPort, "ui-port", 0, "port of Temporal's web UI (likewise)")
	return cmd
}

// quiet keeps clients from telling stderr about every attempt to reach what is
// still starting. What matters is in the errors that they return.
func quiet() {
	klog.SetLogger(logr.Discard())
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
}
