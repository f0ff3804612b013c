package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mainstay-dev/mainstay/devstack/internal/kubernetes"
	"github.com/mainstay-dev/mainstay/devstack/internal/supervise"
	"github.com/mainstay-dev/mainstay/devstack/internal/temporal"
)

// componentCommand is how `devstack up` starts each component: this same
// program, as a child process. See package supervise.
func componentCommand() *cobra.Command {
	return &cobra.Command{
		Use:                supervise.HiddenCommand + " NAME [ARGUMENTS]",
		Hidden:             true,
		DisableFlagParsing: true, // the flags are the component's
		Args:               cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := supervise.Guard(); err != nil {
				return err
			}
			return runComponent(cmd.Context(), args[0], args[1:])
		},
	}
}

func runComponent(ctx context.Context, name string, args []string) error {
	switch name {
	case kubernetes.APIServer, kubernetes.ControllerManager, kubernetes.Scheduler:
		if code := kubernetes.RunControlPlane(name, args); code != 0 {
			return exitStatus(code)
		}
		return nil
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	switch name {
	case kubernetes.Kwok:
		return kubernetes.RunKwok(ctx, args)
	case kubernetes.Etcd:
		return withSettings(ctx, args, kubernetes.RunEtcd)
	case temporal.Component:
		quiet() // the server has its own log; gRPC tells of every closed connection
		return withSettings(ctx, args, temporal.Run)
	default:
		return fmt.Errorf("no component is called %q", name)
	}
}

func withSettings[S any](ctx context.Context, args []string, run func(context.Context, S) error) error {
	if len(args) != 1 {
		return fmt.Errorf("want one argument, the settings; got %d", len(args))
	}
	var settings S
	if err := json.Unmarshal([]byte(args[0]), &settings); err != nil {
		return fmt.Errorf("read the settings: %w", err)
	}
	return run(ctx, settings)
}
