package kubernetes

import (
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // its metrics, as the released programs have them
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	// Must be initialized before the above read the version.
	_ "github.com/mainstay-dev/mainstay/devstack/internal/kubernetes/version"
	"github.com/mainstay-dev/mainstay/devstack/internal/statedir"
)

// RunControlPlane runs kube-apiserver, kube-controller-manager or
// kube-scheduler with the given command line and returns its exit status. They
// handle SIGTERM themselves.
func RunControlPlane(component string, args []string) int {
	var cmd *cobra.Command
	switch component {
	case APIServer:
		cmd = apiserver.NewAPIServerCommand()
	case ControllerManager:
		cmd = controllermanager.NewControllerManagerCommand()
	case Scheduler:
		cmd = scheduler.NewSchedulerCommand()
	}
	// They read os.Args in places, for instance to log what they were told.
	os.Args = append([]string{component}, args...)
	cmd.SetArgs(args)
	return cli.Run(cmd)
}

func apiServerArgs(ports statedir.Ports, pki PKI, runDir string) []string {
	return []string{
		"--etcd-servers=http://" + ports.Addr(EtcdPort),
		"--bind-address=" + statedir.Loopback,
		"--advertise-address=" + statedir.Loopback,
		"--secure-port=" + port(ports, APIServerPort),
		"--cert-dir=" + runDir,
		"--tls-cert-file=" + pki.Cert(servingCert),
		"--tls-private-key-file=" + pki.Key(servingCert),
		"--client-ca-file=" + pki.Cert(caCert),
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + pki.Key(serviceAccountKey),
		"--service-account-signing-key-file=" + pki.Key(serviceAccountKey),
		"--service-cluster-ip-range=" + serviceCIDR,
		// Loopback is no valid endpoint, and no Pod exists that would need one.
		"--endpoint-reconciler-type=none",
		// Charts ask for privileged containers; nothing here ever runs one.
		"--allow-privileged=true",
		"--profiling=false",
	}
}

func controllerManagerArgs(pki PKI, kubeconfig string) []string {
	return []string{
		"--kubeconfig=" + kubeconfig,
		// As on real clusters: each controller acts by its own role.
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + pki.Key(serviceAccountKey),
		"--root-ca-file=" + pki.Cert(caCert),
		"--cluster-signing-cert-file=" + pki.Cert(caCert),
		"--cluster-signing-key-file=" + pki.Key(caCert),
		// It is alone, so waiting for an old lease would only cost time.
		"--leader-elect=false",
		"--secure-port=0",
		"--profiling=false",
		// The defaults are for clusters with many clients besides this one.
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
	}
}

func schedulerArgs(kubeconfig string) []string {
	return []string{
		"--kubeconfig=" + kubeconfig,
		"--leader-elect=false",
		"--secure-port=0",
		"--profiling=false",
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
	}
}

func port(ports statedir.Ports, name string) string {
	return strconv.Itoa(ports[name])
}

func kubeconfigPath(dir statedir.Dir, user string) string {
	return dir.Half(statedir.Kubernetes, user+".kubeconfig")
}
