//go:build e2e

package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/mainstay-dev/mainstay/tests/stack"
)

// fleet is how many resources are created at once.
const fleet = 50

// BenchmarkFleet measures the time until the objects of 50 tiny charts exist: by a bare loop of Helm installs, ten at a
// time, made as lean as Helm's SDK allows, and by Mainstay for 50 custom resources created at once.
func BenchmarkFleet(b *testing.B) {
	for b.Loop() {
		folder := filepath.Join(stack.Root(), "tests", "bench", "testdata", "fleet")
		tinies := schema.GroupVersionResource{Group: "bench.mainstay.dev", Version: "v1", Resource: "tinies"}
		serve(b, folder)
		namespace(b, "fleet-warm")
		namespace(b, "fleet-raw")
		namespace(b, "fleet-mainstay")
		resource(b, tinies, "Tiny", "fleet-warm", "warm", map[string]any{}) // both start warm: discovery is read
		await(b, "fleet-warm", 1)
		raw := lean(b, filepath.Join(folder, "tiny"), "fleet-raw")

		began := time.Now()
		var g errgroup.Group
		g.SetLimit(10)
		for i := range fleet {
			g.Go(func() error {
				resource(b, tinies, "Tiny", "fleet-mainstay", fmt.Sprintf("tiny%02d", i), map[string]any{})
				return nil
			})
		}
		_ = g.Wait() // resource fails the benchmark itself
		await(b, "fleet-mainstay", fleet)
		ours := time.Since(began)
		until(b, time.Minute, "all Ready", func() error { // by far the smaller part
			list, err := shared.Dynamic.Resource(tinies).Namespace("fleet-mainstay").List(b.Context(), metav1.ListOptions{})
			if err != nil {
				return err
			}
			for _, o := range list.Items {
				if phase, _, _ := nested(o.Object, "status", "phase"); phase != "Ready" {
					return fmt.Errorf("%s: phase %v", o.GetName(), phase)
				}
			}
			return nil
		})
		ready := time.Since(began)
		fmt.Printf("fleet of %d: lean Helm loop %.2f s; Mainstay %.2f s until all objects exist, %.2f s until all are Ready; ratio %.2f\n",
			fleet, raw.Seconds(), ours.Seconds(), ready.Seconds(), ours.Seconds()/raw.Seconds())
		b.ReportMetric(raw.Seconds(), "raw-s")
		b.ReportMetric(ours.Seconds(), "mainstay-s")
		b.ReportMetric(ours.Seconds()/raw.Seconds(), "ratio")
	}
}

// await waits until n Deployments, the last objects of their charts, exist. It watches: polling would load the API
// server that is being measured.
func await(b *testing.B, ns string, n int) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
	defer cancel()
	events, err := shared.Kube.AppsV1().Deployments(ns).Watch(ctx, metav1.ListOptions{}) // begins with what is there
	if err != nil {
		b.Fatal(err)
	}
	defer events.Stop()
	seen := map[string]bool{}
	for len(seen) < n {
		e, ok := <-events.ResultChan()
		if !ok {
			b.Fatalf("%d of %d Deployments after 2 minutes", len(seen), n)
		}
		if d, ok := e.Object.(*appsv1.Deployment); ok {
			seen[d.Name] = true
		}
	}
}

// lean installs the chart 50 times, ten at a time, with discovery cached and Helm's own validation off.
func lean(b *testing.B, path, ns string) time.Duration {
	b.Helper()
	config := rest.CopyConfig(shared.REST)
	config.QPS = -1
	disco, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		b.Fatal(err)
	}
	cached := memory.NewMemCacheClient(disco)
	getter := &getter{config: config, discovery: cached, mapper: restmapper.NewDeferredDiscoveryRESTMapper(cached), namespace: ns}
	if _, err := getter.mapper.RESTMapping(schema.GroupKind{Group: "apps", Kind: "Deployment"}); err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	var g errgroup.Group
	g.SetLimit(10)
	for i := range fleet {
		g.Go(func() error {
			chrt, err := loader.Load(path)
			if err != nil {
				return err
			}
			cfg := &action.Configuration{}
			if err := cfg.Init(getter, ns, "secret", func(string, ...any) {}); err != nil {
				return err
			}
			in := action.NewInstall(cfg)
			in.ReleaseName, in.Namespace, in.DisableOpenAPIValidation = fmt.Sprintf("tiny%02d", i), ns, true
			_, err = in.Run(chrt, map[string]any{"message": "hello"})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	await(b, ns, fleet)
	return time.Since(began)
}

// getter gives Helm one connection with cached discovery.
type getter struct {
	config    *rest.Config
	discovery discovery.CachedDiscoveryInterface
	mapper    meta.RESTMapper
	namespace string
}

// ToRESTConfig returns a copy: the clients that Helm makes of it write into it.
func (g *getter) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(g.config), nil }

func (g *getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return g.discovery, nil
}

func (g *getter) ToRESTMapper() (meta.RESTMapper, error) { return g.mapper, nil }

func (g *getter) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	return clientcmd.NewDefaultClientConfig(*clientcmdapi.NewConfig(), &clientcmd.ConfigOverrides{
		Context: clientcmdapi.Context{Namespace: g.namespace}})
}
