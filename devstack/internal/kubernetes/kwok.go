package kubernetes

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
	nodefast "sigs.k8s.io/kwok/kustomize/stage/node/fast"
	nodeheartbeat "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat"
	podfast "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
	"sigs.k8s.io/kwok/pkg/config"
	kwok "sigs.k8s.io/kwok/pkg/kwok/cmd"
	"sigs.k8s.io/kwok/pkg/log"
)

// stages are what KWOK does with the objects it sees: nodes become and stay
// Ready, Pods run at once, those of Jobs complete, deleted ones go.
func stages() string {
	return strings.Join([]string{
		nodefast.DefaultNodeInit,
		nodeheartbeat.DefaultNodeHeartbeat,
		podfast.DefaultPodReady,
		podfast.DefaultPodComplete,
		podfast.DefaultPodDelete,
	}, "\n---\n")
}

func kwokArgs(kubeconfig, stages string) []string {
	return []string{
		"--kubeconfig=" + kubeconfig,
		"--config=" + stages,
		"--manage-all-nodes=true",
		// An address for documentation, which no network has: status has a host
		// IP as on a real cluster, and nobody can reach a wrong machine by it.
		"--node-ip=192.0.2.1",
		// Leases share nodes among several KWOKs. After kill -9 the next one
		// would wait for the lease of the last to expire.
		"--node-lease-duration-seconds=0",
	}
}

// RunKwok is the KWOK component. It does what KWOK's own main does.
func RunKwok(ctx context.Context, args []string) error {
	// Its configuration reads os.Args, and a file in the home folder too.
	os.Args = append([]string{Kwok}, args...)
	config.WorkDir = filepath.Join(os.DevNull, Kwok)

	flags := pflag.NewFlagSet("global", pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.Usage = func() {}
	ctx, _ = log.InitFlags(ctx, flags)
	ctx, err := config.InitFlags(ctx, flags)
	if err != nil {
		return fmt.Errorf("configure KWOK: %w", err)
	}
	cmd := kwok.NewCommand(ctx)
	cmd.PersistentFlags().AddFlagSet(flags)
	// With a version of its own cobra wants a boolean flag --version, and that
	// name is taken in this process by Kubernetes' flag of another type.
	cmd.Version = ""
	cmd.SetArgs(args)
	return cmd.ExecuteContext(ctx)
}
