package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// TestOnCluster asks a real API server.
func TestOnCluster(t *testing.T) {
	path := os.Getenv("MAINSTAY_TEST_KUBECONFIG")
	if path == "" {
		t.Skip("MAINSTAY_TEST_KUBECONFIG names no cluster")
	}
	config := must(clientcmd.BuildConfigFromFlags("", path))
	config.QPS = -1
	client := must(dynamic.NewForConfig(config))
	resource := func(plural string) dynamic.NamespaceableResourceInterface {
		return client.Resource(schema.GroupVersionResource{Version: "v1", Resource: plural})
	}
	ns := fmt.Sprintf("t%x", time.Now().UnixNano())
	create := func(in dynamic.ResourceInterface, text string) *unstructured.Unstructured {
		return must(in.Create(t.Context(), parsed(t, text)[0], metav1.CreateOptions{}))
	}
	create(resource("namespaces"), "{apiVersion: v1, kind: Namespace, metadata: {name: "+ns+"}}")
	t.Cleanup(func() { _ = resource("namespaces").Delete(context.Background(), ns, metav1.DeleteOptions{}) })
	maps, secrets := resource("configmaps").Namespace(ns), resource("secrets").Namespace(ns)
	// More than a page of them.
	const many = pageSize + 7
	var g errgroup.Group
	g.SetLimit(20)
	for i := range many {
		g.Go(func() error {
			text := fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: m%03d, labels: {part: '%d'}}, data: {at: '%d'}}", i, i%2, i)
			_, err := maps.Create(t.Context(), parsed(t, text)[0], metav1.CreateOptions{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	owner := create(maps, "{apiVersion: v1, kind: ConfigMap, metadata: {name: owner, labels: {mainstay.dev/instance: demo.1}}}")
	create(secrets, "{apiVersion: v1, kind: Secret, metadata: {name: owned, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: owner, uid: "+
		string(owner.GetUID())+"}]}, stringData: {password: hunter2}}")
	create(secrets, "{apiVersion: v1, kind: Secret, type: helm.sh/release.v1, metadata: {name: sh.helm.release.v1.x.v1}, stringData: {release: x}}")

	as := func(config *rest.Config) *fakeCluster {
		return &fakeCluster{T: t, real: func() (*cluster, error) { return clusterOf(config) }}
	}
	c := as(config)
	for _, q := range []struct{ text, want string }{
		{"SELECT count(*) AS n, sum(data->>'at' % 2) AS odd FROM configmaps WHERE name LIKE 'm%' AND labels->>'part' = '1'", "n,odd\n253,253\n"},
		{"SELECT name, instance, data->>'password' LIKE 'sha256:%' AS digest, ready FROM secrets", "name,instance,digest,ready\nowned,demo.1,1,1\n"},
		{"SELECT kind, count(*) AS n FROM resources WHERE namespace = :namespace AND kind IN ('ConfigMap', 'Secret') AND name <> 'kube-root-ca.crt' GROUP BY kind",
			"kind,n\nConfigMap,508\nSecret,1\n"},
		{"SELECT count(*) > 50 AS many, sum(namespace IS NOT NULL) AS namespaced FROM clusterroles", "many,namespaced\n1,0\n"},
	} {
		out, _, err := c.query("-n", ns, "-o", "csv", q.text)
		if err != nil {
			t.Errorf("%s: %v", q.text, err)
		}
		if d := cmp.Diff(q.want, out); d != "" {
			t.Errorf("%s: %s", q.text, d)
		}
	}
	if out, _, err := c.query("--tables"); err != nil || !strings.Contains(out, "\ningresses.networking.k8s.io ") {
		t.Errorf("%v: %s", err, out)
	}

	nobody := rest.CopyConfig(config)
	nobody.Impersonate = rest.ImpersonationConfig{UserName: "nobody", Groups: []string{"system:authenticated"}}
	if _, _, err := as(nobody).query("-n", ns, "SELECT name FROM secrets"); err == nil || !strings.Contains(err.Error(), "you lack the verb list on secrets in namespace "+ns) {
		t.Errorf("%v", err)
	}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, ended := newResults(), make(chan error, 1)
	var notes bytes.Buffer
	go func() {
		ended <- c.start(ctx, out, &notes, "--watch", "-n", ns, "-o", "jsonl", "SELECT name, data->>'at' AS n FROM configmaps WHERE name IN ('m000', 'new')")
	}()
	expect := func(want string) {
		t.Helper()
		if d := cmp.Diff(want+"\n", await(t, out.next, want)); d != "" {
			t.Error(d)
		}
	}
	expect(`[{"name":"m000","n":"0"}]`)
	must(maps.Patch(t.Context(), "m000", types.MergePatchType, []byte(`{"data":{"at":"one"}}`), metav1.PatchOptions{}))
	expect(`[{"name":"m000","n":"one"}]`)
	create(maps, "{apiVersion: v1, kind: ConfigMap, metadata: {name: new}}")
	expect(`[{"name":"m000","n":"one"},{"name":"new","n":null}]`)
	if err := maps.Delete(t.Context(), "m000", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	expect(`[{"name":"new","n":null}]`)
	stop()
	if err := await(t, ended, "the end"); err != nil || notes.Len() > 0 {
		t.Errorf("%v, %s", err, notes.String())
	}
}
