//go:build e2e

package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/mainstay-dev/mainstay/tests/stack"
)

var mirrors = schema.GroupVersionResource{Group: "bench.mainstay.dev", Version: "v1", Resource: "mirrors"}

// mirror is the folder of the operator that these benchmarks run.
func mirror() string { return filepath.Join(stack.Root(), "tests", "bench", "testdata", "mirror") }

// profiled creates a Mirror with a profile and waits until it is Ready.
func profiled(b *testing.B, ns, name, profile string) {
	b.Helper()
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "bench.mainstay.dev/v1", "kind": "Mirror", "spec": map[string]any{},
		"metadata": map[string]any{"name": name, "namespace": ns, "annotations": map[string]any{"mainstay.dev/profile": profile}}}}
	until(b, time.Minute, "create "+name, func() error {
		_, err := shared.Dynamic.Resource(mirrors).Namespace(ns).Create(b.Context(), obj, metav1.CreateOptions{})
		return err
	})
	until(b, time.Minute, name+" Ready", func() error {
		got, err := shared.Dynamic.Resource(mirrors).Namespace(ns).Get(b.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if phase, _, _ := nested(got.Object, "status", "phase"); phase != "Ready" {
			return fmt.Errorf("phase %v", phase)
		}
		return nil
	})
}

// burst is how many Services are changed at once.
const burst = 200

// BenchmarkBurst measures the time from the first of 200 changes made at once until all Ingresses are right: by a bare
// client-go informer and by a rule.
func BenchmarkBurst(b *testing.B) {
	for b.Loop() {
		const rounds = 5
		serve(b, mirror())
		namespace(b, "burst-raw")
		namespace(b, "burst-mainstay")
		for _, ns := range []string{"burst-raw", "burst-mainstay"} {
			populate(b, ns)
		}
		follower(b, "burst-raw")
		profiled(b, "burst-mainstay", "demo", "default")
		var raw, ours []time.Duration
		for range rounds {
			raw = append(raw, changeAll(b, "burst-raw"))
			ours = append(ours, changeAll(b, "burst-mainstay"))
		}
		var ratios []float64
		for i := range raw {
			ratios = append(ratios, float64(ours[i])/float64(raw[i]))
		}
		slices.Sort(ratios)
		r, o := percentile(raw, 50), percentile(ours, 50)
		fmt.Printf("burst, %d Services at once: bare client-go %.0f ms, Mainstay %.0f ms; ratio, median of %d rounds, %.2f\n",
			burst, ms(r), ms(o), rounds, ratios[len(ratios)/2])
		b.ReportMetric(ms(r), "raw-ms")
		b.ReportMetric(ms(o), "mainstay-ms")
		b.ReportMetric(ratios[len(ratios)/2], "ratio")
	}
}

// populate creates the Services and the Ingresses.
func populate(b *testing.B, ns string) {
	b.Helper()
	path := networkingv1.PathTypePrefix
	var g errgroup.Group
	g.SetLimit(10)
	for i := range burst {
		name := fmt.Sprintf("web%03d", i)
		g.Go(func() error {
			backend := networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: name, Port: networkingv1.ServiceBackendPort{Number: 80}}}
			ing := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{
				IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{Path: "/", PathType: &path, Backend: backend}}}}}}}}
			if _, err := shared.Kube.NetworkingV1().Ingresses(ns).Create(b.Context(), ing, metav1.CreateOptions{}); err != nil {
				return err
			}
			svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"mirror": "yes"}},
				Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Ports: []corev1.ServicePort{{Port: 80}}}}
			_, err := shared.Kube.CoreV1().Services(ns).Create(b.Context(), svc, metav1.CreateOptions{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
}

// changeAll changes all Services and waits until all Ingresses have followed.
func changeAll(b *testing.B, ns string) time.Duration {
	b.Helper()
	next++
	want := next
	ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
	defer cancel()
	events, err := shared.Kube.NetworkingV1().Ingresses(ns).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer events.Stop()
	began := time.Now()
	var g errgroup.Group
	g.SetLimit(20)
	go func() {
		patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/ports/0/port","value":%d}]`, want)
		for i := range burst {
			g.Go(func() error {
				_, err := shared.Kube.CoreV1().Services(ns).Patch(ctx, fmt.Sprintf("web%03d", i), types.JSONPatchType, []byte(patch), metav1.PatchOptions{})
				return err
			})
		}
		if err := g.Wait(); err != nil && ctx.Err() == nil {
			b.Errorf("change Services: %v", err)
		}
	}()
	right := map[string]bool{}
	for len(right) < burst {
		e, ok := <-events.ResultChan()
		if !ok || e.Type == watch.Error {
			b.Fatalf("%s: %d of %d Ingresses followed", ns, len(right), burst)
		}
		if ing, ok := e.Object.(*networkingv1.Ingress); ok && backendPort(ing) == want {
			right[ing.Name] = true
		}
	}
	return time.Since(began)
}
