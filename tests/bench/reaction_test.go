//go:build e2e

package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/mainstay-dev/mainstay/tests/stack"
)

// loops is how often the Service is changed, each time after the Ingress has followed.
const loops = 300

// BenchmarkReaction measures the time from a Service's change to the patched Ingress, in a closed loop: by a bare
// client-go informer that patches, and by the library's operator vvp. Both are the p50 and p95 of the same run.
func BenchmarkReaction(b *testing.B) {
	for b.Loop() {
		namespace(b, "reaction-raw")
		namespace(b, "reaction-mainstay")
		bare(b, "reaction-raw", "web")
		serve(b, filepath.Join(stack.Root(), "specs", "library", "vvp"))
		vvps := schema.GroupVersionResource{Group: "ververica.mainstay.dev", Version: "v1alpha1", Resource: "vvps"}
		resource(b, vvps, "VervericaPlatform", "reaction-mainstay", "demo", map[string]any{})
		until(b, 2*time.Minute, "demo Ready", func() error {
			obj, err := shared.Dynamic.Resource(vvps).Namespace("reaction-mainstay").Get(b.Context(), "demo", metav1.GetOptions{})
			if err != nil {
				return err
			}
			if phase, _, _ := nested(obj.Object, "status", "phase"); phase != "Ready" {
				return fmt.Errorf("phase %v", phase)
			}
			return nil
		})
		var raw, ours []time.Duration
		// In slices by turns, so that what the machine does meanwhile hits both.
		for range loops / 50 {
			raw = append(raw, closedLoop(b, "reaction-raw", "web", 50)...)
			ours = append(ours, closedLoop(b, "reaction-mainstay", "demo-vvp", 50)...)
		}
		r50, o50, r95, o95 := percentile(raw, 50), percentile(ours, 50), percentile(raw, 95), percentile(ours, 95)
		fmt.Printf("reaction, %d changes: bare client-go p50 %.1f ms, p95 %.1f ms; Mainstay p50 %.1f ms, p95 %.1f ms; ratio of p50 %.2f, of p95 %.2f\n",
			loops, ms(r50), ms(r95), ms(o50), ms(o95), ms(o50)/ms(r50), ms(o95)/ms(r95))
		b.ReportMetric(ms(r50), "raw-p50-ms")
		b.ReportMetric(ms(o50), "mainstay-p50-ms")
		b.ReportMetric(ms(o50)/ms(r50), "ratio")
	}
}

// next is the port that the next change sets.
var next = int32(10000)

// closedLoop changes the Service n times and measures how long the Ingress takes to follow.
func closedLoop(b *testing.B, ns, name string, n int) []time.Duration {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	events, err := shared.Kube.NetworkingV1().Ingresses(ns).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		b.Fatal(err)
	}
	defer events.Stop()
	out := make([]time.Duration, 0, n)
	for range n {
		next++
		patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/ports/0/port","value":%d}]`, next)
		began := time.Now()
		if _, err := shared.Kube.CoreV1().Services(ns).Patch(ctx, name, types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			b.Fatal(err)
		}
		for {
			e, ok := <-events.ResultChan()
			if !ok || e.Type == watch.Error {
				b.Fatalf("%s: the Ingress did not follow to port %d", ns, next)
			}
			if ing, ok := e.Object.(*networkingv1.Ingress); ok && backendPort(ing) == next {
				break
			}
		}
		out = append(out, time.Since(began))
	}
	return out
}

func backendPort(ing *networkingv1.Ingress) int32 {
	for _, r := range ing.Spec.Rules {
		if r.HTTP != nil && len(r.HTTP.Paths) > 0 && r.HTTP.Paths[0].Backend.Service != nil {
			return r.HTTP.Paths[0].Backend.Service.Port.Number
		}
	}
	return 0
}

// bare is the baseline: what somebody would write with client-go alone, without memory, retries or a status.
func bare(b *testing.B, ns, name string) {
	b.Helper()
	ctx := b.Context()
	path := networkingv1.PathTypePrefix
	backend := networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: name, Port: networkingv1.ServiceBackendPort{Number: 80}}}
	ing := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{
		IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{Path: "/", PathType: &path, Backend: backend}}}}}}}}
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
	if _, err := shared.Kube.NetworkingV1().Ingresses(ns).Create(ctx, ing, metav1.CreateOptions{}); err != nil {
		b.Fatal(err)
	}
	if _, err := shared.Kube.CoreV1().Services(ns).Create(ctx, svc, metav1.CreateOptions{}); err != nil {
		b.Fatal(err)
	}
	follower(b, ns)
}

// follower patches the Ingress of a Service's name whenever the Service changes.
func follower(b *testing.B, ns string) {
	b.Helper()
	ctx := b.Context()
	factory := informers.NewSharedInformerFactoryWithOptions(shared.Kube, 0, informers.WithNamespace(ns))
	informer := factory.Core().V1().Services().Informer()
	follow := func(obj any) {
		s := obj.(*corev1.Service)
		patch := fmt.Sprintf(`{"spec":{"rules":[{"http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":%q,"port":{"number":%d}}}}]}}]}}`, s.Name, s.Spec.Ports[0].Port)
		_, err := shared.Kube.NetworkingV1().Ingresses(ns).Patch(ctx, s.Name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
		if err != nil && ctx.Err() == nil {
			b.Errorf("patch: %v", err)
		}
	}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: follow, UpdateFunc: func(_, obj any) { follow(obj) }}); err != nil {
		b.Fatal(err)
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
}

// nested reads a field of a decoded object.
func nested(obj map[string]any, path ...string) (any, bool, error) {
	var v any = obj
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false, nil
		}
		v = m[p]
	}
	return v, v != nil, nil
}
