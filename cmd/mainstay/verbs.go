package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/contrib/envconfig"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/mainstay-dev/mainstay/worker"
)

// version is set by the linker.
var version = ""

func root() *cobra.Command {
	c := &cobra.Command{
		Use:           "mainstay",
		Short:         "Kubernetes operators written in YAML, run by durable workflows",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
	}
	c.AddCommand(runVerb(), queryVerb(connectCluster), versionVerb())
	c.PersistentPostRunE = completeStatements
	return c
}

func runVerb() *cobra.Command {
	var opts worker.Options
	var logFormat, logLevel string
	c := &cobra.Command{
		Use:   "run --operators DIR",
		Short: "Serve the operators of a folder",
		Long: `Serve the operators of a folder: install their CustomResourceDefinitions, watch, deploy and maintain.

Kubernetes is reached through KUBECONFIG, ~/.kube/config, or from inside a cluster. Temporal is reached through
TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_PROFILE and the other settings of Temporal's environment configuration.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logger(cmd, logFormat, logLevel)
			if err != nil {
				return err
			}
			opts.Log = log
			klog.SetSlogLogger(log.With("from", "client-go"))
			if opts.REST, err = kubernetes(); err != nil {
				return err
			}
			if opts.Temporal, err = envconfig.LoadDefaultClientOptions(); err != nil {
				return fmt.Errorf("configure Temporal: %w", err)
			}
			w, err := worker.New(opts)
			if err != nil {
				return err
			}
			if err := w.Run(cmd.Context()); err != nil {
				_ = w.Close() // the first error is the one that matters
				return err
			}
			return w.Close()
		},
	}
	f := c.Flags()
	f.StringVar(&opts.Operators, "operators", "", "an operator's `folder`, or a folder of such folders (required)")
	f.StringVar(&opts.UI, "temporal-ui", os.Getenv("TEMPORAL_UI"), "base `URL` of Temporal's web UI, for the links in statuses (TEMPORAL_UI)")
	f.DurationVar(&opts.StopTimeout, "stop-timeout", 30*time.Second, "how long running commands get to end at shutdown")
	f.StringVar(&opts.Lease.Namespace, "lease-namespace", "", "`namespace` of the Lease that elects the replica that signals (default: the pod's, else default)")
	f.StringVar(&opts.Lease.Name, "lease-name", "", "`name` of that Lease (default: made of the kinds of resources served)")
	f.DurationVar(&opts.Lease.Duration, "lease-duration", 15*time.Second, "how long a leader that has died keeps the others waiting")
	f.StringVar(&logFormat, "log-format", "text", "`text` or json")
	f.StringVar(&logLevel, "log-level", "info", "`debug`, info, warn or error")
	if err := c.MarkFlagRequired("operators"); err != nil {
		panic(err) // the flag is defined five lines above
	}
	return c
}

// kubernetes is the connection that kubectl would use, or that of the pod this runs in.
func kubernetes() (*rest.Config, error) {
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		clientcmd.NewDefaultClientConfigLoadingRules(), &clientcmd.ConfigOverrides{}).ClientConfig()
	switch {
	case clientcmd.IsEmptyConfig(err):
		return nil, errors.New("no Kubernetes to connect to: KUBECONFIG names no file that exists, there is no ~/.kube/config, and this is no pod")
	case err != nil:
		return nil, fmt.Errorf("configure Kubernetes: %w", err)
	}
	return config, nil
}

func logger(cmd *cobra.Command, format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q is not one of debug, info, warn, error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), opts)), nil
	}
	return nil, fmt.Errorf("log format %q is not one of text, json", format)
}

func versionVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := version
			if info, ok := debug.ReadBuildInfo(); ok && v == "" {
				v = info.Main.Version
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "mainstay %s (%s, %s/%s)\n", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
