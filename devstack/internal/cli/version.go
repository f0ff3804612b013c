package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/mainstay-dev/mainstay/devstack/internal/kubernetes/version"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of what devstack runs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, part := range []struct{ name, version string }{
				{"kubernetes", version.Kubernetes},
				{"etcd", version.Module("go.etcd.io/etcd/server/v3")},
				{"kwok", version.Module("sigs.k8s.io/kwok")},
				{"temporal", version.Module("go.temporal.io/server")},
				{"temporal-ui", version.Module("github.com/temporalio/ui-server/v2")},
				{"go", runtime.Version()},
			} {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%-12s%s\n", part.name, part.version); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
