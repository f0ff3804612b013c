package kubernetes

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/mainstay-dev/mainstay/devstack/internal/statedir"
	"github.com/mainstay-dev/mainstay/devstack/internal/supervise"
)

// Up starts the control plane as components of group and returns when it is
// ready, with what its users need to know. The order is that of need: the API
// server waits for etcd by itself, the controllers would end without their
// roles, which a ready API server has created.
func Up(ctx context.Context, group *supervise.Group, dir statedir.Dir, given statedir.Ports, nodes int) ([]statedir.Var, error) {
	ports, err := dir.Ports(statedir.Kubernetes, portNames, given)
	if err != nil {
		return nil, err
	}
	pki, err := OpenPKI(dir.Half(statedir.Kubernetes, "pki"))
	if err != nil {
		return nil, err
	}
	kubeconfig := dir.Path("kubeconfig")
	if err := writeKubeconfig(kubeconfig, adminCert, ports, pki); err != nil {
		return nil, err
	}
	for _, user := range []string{controllerManagerCert, schedulerCert, kwokCert} {
		if err := writeKubeconfig(kubeconfigPath(dir, user), user, ports, pki); err != nil {
			return nil, err
		}
	}
	stagesPath := dir.Half(statedir.Kubernetes, "kwok-stages.yaml")
	if err := statedir.Replace(stagesPath, []byte(stages()), 0o600); err != nil {
		return nil, err
	}

	client, err := connect(kubeconfig)
	if err != nil {
		return nil, err
	}
	etcd, err := etcdArgs(dir, ports)
	if err != nil {
		return nil, err
	}
	start := func(name string, args []string) error {
		return group.Start(supervise.Component{Name: name, Args: args, Log: dir.Log(name)})
	}
	if err := start(Etcd, etcd); err != nil {
		return nil, err
	}
	if err := start(APIServer, apiServerArgs(ports, pki, dir.Half(statedir.Kubernetes))); err != nil {
		return nil, err
	}
	if err := waitFor(ctx, "the API server", func(ctx context.Context) error { return serving(ctx, client) }); err != nil {
		return nil, err
	}
	if err := start(ControllerManager, controllerManagerArgs(pki, kubeconfigPath(dir, controllerManagerCert))); err != nil {
		return nil, err
	}
	if err := start(Kwok, kwokArgs(kubeconfigPath(dir, kwokCert), stagesPath)); err != nil {
		return nil, err
	}
	if err := start(Scheduler, schedulerArgs(kubeconfigPath(dir, schedulerCert))); err != nil {
		return nil, err
	}
	if err := createNodes(ctx, client, nodes); err != nil {
		return nil, err
	}
	if err := waitFor(ctx, "the cluster", func(ctx context.Context) error { return usable(ctx, client, nodes) }); err != nil {
		return nil, err
	}
	return []statedir.Var{{Name: "KUBECONFIG", Value: kubeconfig}}, nil
}

func connect(kubeconfig string) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	config.QPS = -1 // it polls, and only while starting
	config.Timeout = 5 * time.Second
	config.WarningHandler = rest.NoWarnings{}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	return client, nil
}
