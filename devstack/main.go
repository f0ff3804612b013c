// Devstack runs a real Temporal and a real Kubernetes control plane on one
// machine, without containers.
package main

import (
	"os"

	"github.com/mainstay-dev/mainstay/devstack/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
}
