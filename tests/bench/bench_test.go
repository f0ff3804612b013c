//go:build e2e

// Package bench measures Mainstay beside a baseline in the same run, on the same devstack: figures of one machine mean
// little, their ratio does.
package bench

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/mainstay-dev/mainstay/tests/stack"
)

var shared *stack.Stack

func TestMain(m *testing.M) {
	os.Exit(stack.Main(m, func(s *stack.Stack) { shared = s }))
}

// serve runs mainstay on a folder of operators until the benchmark ends, and returns its process.
func serve(b *testing.B, operators string) *stack.Process {
	b.Helper()
	log, err := os.Create(filepath.Join(b.TempDir(), "mainstay.log"))
	if err != nil {
		b.Fatal(err)
	}
	p, err := shared.Mainstay(operators, log)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := p.Stop(40 * time.Second); err != nil {
			b.Errorf("stop mainstay: %v", err)
		}
		if b.Failed() {
			_, _ = log.Seek(0, io.SeekStart)
			text, _ := io.ReadAll(log)
			b.Logf("mainstay's log:\n%s", text)
		}
		_ = log.Close()
	})
	return p
}

func namespace(b *testing.B, name string) {
	b.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := shared.Kube.CoreV1().Namespaces().Create(b.Context(), ns, metav1.CreateOptions{}); err != nil {
		b.Fatal(err)
	}
}

// resource creates a custom resource, waiting for its kind.
func resource(b *testing.B, r schema.GroupVersionResource, kind, ns, name string, spec map[string]any) {
	b.Helper()
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": r.GroupVersion().String(), "kind": kind,
		"metadata": map[string]any{"name": name, "namespace": ns}, "spec": spec}}
	until(b, time.Minute, "create "+name, func() error {
		_, err := shared.Dynamic.Resource(r).Namespace(ns).Create(b.Context(), obj, metav1.CreateOptions{})
		return err
	})
}

// until calls check every few milliseconds until it returns nil.
func until(b *testing.B, within time.Duration, what string, check func() error) {
	b.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var err error
	for {
		if err = check(); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			b.Fatalf("%s: not within %s: %v", what, within, err)
		}
	}
}

// percentile of durations, p from 0 to 100.
func percentile(ds []time.Duration, p int) time.Duration {
	s := slices.Sorted(slices.Values(ds))
	return s[min(len(s)-1, len(s)*p/100)]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
