// Package cli is the command line of devstack: flags and help, and what each
// subcommand calls.
package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// exitStatus is an error that has been reported already.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// Main runs one command line and returns the exit status of the process.
func Main(args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:   "devstack",
		Short: "A real Temporal and a real Kubernetes control plane on one machine, no containers",
		Long: `Devstack runs a real Temporal server with its web UI and a real Kubernetes
control plane on this machine: no containers, no root, nothing to download.

  devstack up --dir .devstack &      start, or go on where it was
  . .devstack/env                    KUBECONFIG, TEMPORAL_ADDRESS, ...
  devstack kubectl get nodes         look around`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.AddCommand(upCommand(), kubectlCommand(), versionCommand(), componentCommand())
	// Libraries register flags of theirs for the whole process. They work, but
	// they are not ours to advertise.
	pflag.CommandLine.VisitAll(func(f *pflag.Flag) { f.Hidden = true })
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	var status exitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	default:
		fmt.Fprintf(stderr, "devstack: %v\n", err)
		return 1
	}
}
