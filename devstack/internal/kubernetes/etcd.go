package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/mainstay-dev/mainstay/devstack/internal/statedir"
)

// RunEtcd is the etcd component: it serves until the context is done.
func RunEtcd(ctx context.Context, s EtcdSettings) error {
	cfg := embed.NewConfig()
	cfg.Name = "devstack"
	cfg.Dir = s.DataDir
	cfg.LogLevel = "warn"
	cfg.LogOutputs = []string{"stdout"}
	client, peer := listenURL(s.Ports.Addr(EtcdPort)), listenURL(s.Ports.Addr(etcdPeerPort))
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = client, client
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = peer, peer
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	// What was written is in the page cache and survives kill -9; only a crash
	// of the machine can lose it. Syncing would take most of the time of a write.
	cfg.UnsafeNoFsync = true
	cfg.QuotaBackendBytes = 4 << 30 // at 2 GiB, the default, it turns read-only

	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	defer etcd.Close()
	select {
	case <-etcd.Server.ReadyNotify():
	case <-time.After(30 * time.Second):
		return fmt.Errorf("etcd was not ready after 30 s")
	case err := <-etcd.Err():
		return fmt.Errorf("start etcd: %w", err)
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-etcd.Err():
		return fmt.Errorf("etcd: %w", err)
	}
}

func listenURL(addr string) []url.URL {
	return []url.URL{{Scheme: "http", Host: addr}}
}

func etcdArgs(dir statedir.Dir, ports statedir.Ports) ([]string, error) {
	settings, err := json.Marshal(EtcdSettings{DataDir: dir.Half(statedir.Kubernetes, "etcd"), Ports: ports})
	if err != nil {
		return nil, err
	}
	return []string{string(settings)}, nil
}
