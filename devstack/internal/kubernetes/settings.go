// Package kubernetes runs a Kubernetes control plane on one machine, without
// containers: etcd, kube-apiserver, kube-controller-manager and kube-scheduler
// as they are released, and KWOK in the place of kubelets.
//
// It is not a test double: admission, RBAC, garbage collection, namespaces, Jobs
// and rollouts are the real ones. KWOK's nodes are invented, so Pods are
// scheduled and become Running and Ready (those of Jobs complete), but no
// container ever runs, there are no logs, and no Service answers.
//
// Why not kind, k3s or envtest: the first two need containers or root, the last
// downloads binaries and has no controllers.
package kubernetes

import "github.com/mainstay-dev/mainstay/devstack/internal/statedir"

// The components, by the names of their processes and hidden subcommands.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Kwok              = "kwok"
)

// The ports. Controller manager, scheduler and KWOK serve nothing.
const (
	APIServerPort = APIServer
	EtcdPort      = Etcd
	etcdPeerPort  = "etcd-peer"
)

var portNames = []string{APIServerPort, EtcdPort, etcdPeerPort}

// serviceCIDR is where Services get their addresses. Nothing routes there.
const serviceCIDR = "10.96.0.0/16"

// firstServiceIP is the address of the Service `kubernetes`, in the API
// server's certificate as on a real cluster.
const firstServiceIP = "10.96.0.1"

// EtcdSettings are what the etcd component is told, as JSON.
type EtcdSettings struct {
	DataDir string
	Ports   statedir.Ports
}
