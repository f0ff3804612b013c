package cli

import (
	"os"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
)

// kubectlCommand is kubectl itself, for machines that have none. It has no
// plugins: they would be looked up by the name of this program.
func kubectlCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "kubectl [ARGUMENTS]",
		Short:              "kubectl, of the control plane's version; uses $KUBECONFIG",
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			os.Args = append([]string{"kubectl"}, args...) // it reads them in places
			streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
			cmd := kubectl.NewKubectlCommand(kubectl.KubectlOptions{
				Arguments: os.Args,
				ConfigFlags: genericclioptions.NewConfigFlags(true).
					WithDeprecatedPasswordFlag().WithDiscoveryBurst(300).WithDiscoveryQPS(50),
				IOStreams: streams,
			})
			cmd.SetArgs(args)
			if err := cli.RunNoErrOutput(cmd); err != nil {
				kubectlutil.CheckErr(err) // prints it and exits with kubectl's status
			}
			return nil
		},
	}
}
