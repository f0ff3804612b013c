package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"
)

// fakeCluster is a cluster of a few kinds with the objects that a test gives it.
type fakeCluster struct {
	*testing.T
	objects  *dynamicfake.FakeDynamicClient
	metadata *metadatafake.FakeMetadataClient
	// real is where it connects to instead, if not nil.
	real func() (*cluster, error)
	// silent is a group that discovery doesn't reach.
	silent string
}

func (c *fakeCluster) resources() []*metav1.APIResourceList {
	all := metav1.Verbs{"get", "list", "watch"}
	return []*metav1.APIResourceList{
		{GroupVersion: "v1", APIResources: []metav1.APIResource{
			{Name: "services", Kind: "Service", Namespaced: true, Verbs: all},
			{Name: "services/status", Kind: "Service", Namespaced: true, Verbs: all},
			{Name: "pods", Kind: "Pod", Namespaced: true, Verbs: all},
			{Name: "secrets", Kind: "Secret", Namespaced: true, Verbs: all},
			{Name: "nodes", Kind: "Node", Verbs: all},
			{Name: "events", Kind: "Event", Namespaced: true, Verbs: all},
			{Name: "bindings", Kind: "Binding", Namespaced: true, Verbs: metav1.Verbs{"create"}},
		}},
		{GroupVersion: "apps/v1", APIResources: []metav1.APIResource{
			{Name: "deployments", Kind: "Deployment", Namespaced: true, Verbs: all},
			{Name: "replicasets", Kind: "ReplicaSet", Namespaced: true, Verbs: all},
		}},
		{GroupVersion: "events.k8s.io/v1", APIResources: []metav1.APIResource{{Name: "events", Kind: "Event", Namespaced: true, Verbs: all}}},
		{GroupVersion: "metrics.k8s.io/v1beta1", APIResources: []metav1.APIResource{
			{Name: "pods", Kind: "PodMetrics", Namespaced: true, Verbs: metav1.Verbs{"get", "list"}},
		}},
		{GroupVersion: "a.example.com/v1", APIResources: []metav1.APIResource{
			{Name: "widgets", Kind: "Widget", Namespaced: true, Verbs: all}, {Name: "vvps", Kind: "Vvp", Namespaced: true, Verbs: all},
		}},
		{GroupVersion: "b.example.com/v1", APIResources: []metav1.APIResource{{Name: "widgets", Kind: "Widget", Namespaced: true, Verbs: all}}},
	}
}

// newFakeCluster makes a cluster of objects in YAML, parted by ---.
func newFakeCluster(t *testing.T, objects string) *fakeCluster {
	t.Helper()
	c := &fakeCluster{T: t}
	kinds := map[schema.GroupVersionResource]string{}
	for _, list := range c.resources() {
		gv := must(schema.ParseGroupVersion(list.GroupVersion))
		for _, r := range list.APIResources {
			kinds[gv.WithResource(r.Name)] = r.Kind + "List"
		}
	}
	var full, partial []runtime.Object
	for _, u := range parsed(t, objects) {
		full = append(full, u)
		p := &metav1.PartialObjectMetadata{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, p); err != nil {
			t.Fatal(err)
		}
		partial = append(partial, p)
	}
	c.objects = dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, full...)
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c.metadata = metadatafake.NewSimpleMetadataClient(scheme, partial...)
	return c
}

func parsed(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	for document := range strings.SplitSeq(text, "\n---\n") {
		if strings.TrimSpace(document) == "" {
			continue
		}
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &u.Object); err != nil {
			t.Fatal(err)
		}
		out = append(out, u)
	}
	return out
}

func (c *fakeCluster) connect() (*cluster, error) {
	if c.real != nil {
		return c.real()
	}
	return &cluster{preferred: c.preferred, objects: c.objects, metadata: c.metadata}, nil
}

func (c *fakeCluster) preferred(context.Context) ([]*metav1.APIResourceList, error) {
	if c.silent == "" {
		return c.resources(), nil
	}
	return c.resources(), &discovery.ErrGroupDiscoveryFailed{
		Groups: map[schema.GroupVersion]error{{Group: c.silent, Version: "v1"}: errors.New("503")},
	}
}

// fails has lists of a resource fail.
func (c *fakeCluster) fails(verb, resource string, err error) {
	reaction := func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, err }
	c.objects.PrependReactor(verb, resource, reaction)
	c.metadata.PrependReactor(verb, resource, reaction)
}

// listed are the resources that were listed, those of which only the metadata was with a star.
func (c *fakeCluster) listed() string {
	var out []string
	for _, a := range c.objects.Actions() {
		out = append(out, a.GetVerb()+" "+a.GetResource().Resource)
	}
	for _, a := range c.metadata.Actions() {
		out = append(out, a.GetVerb()+" "+a.GetResource().Resource+"*")
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// query runs the verb. What it prints comes first, then what it notes.
func (c *fakeCluster) query(args ...string) (out, notes string, err error) {
	var o, e bytes.Buffer
	err = c.start(c.Context(), &o, &e, args...)
	return o.String(), e.String(), err
}

func (c *fakeCluster) start(ctx context.Context, out, notes io.Writer, args ...string) error {
	verb := queryVerb(c.connect)
	verb.SilenceUsage, verb.SilenceErrors = true, true
	verb.SetArgs(args)
	verb.SetIn(strings.NewReader("SELECT 'from stdin' AS x"))
	verb.SetOut(out)
	verb.SetErr(notes)
	return verb.ExecuteContext(ctx)
}

// results is where a live query prints; each result is one text.
type results struct{ next chan string }

func newResults() *results { return &results{next: make(chan string, 100)} }

func (r *results) Write(b []byte) (int, error) {
	r.next <- string(b)
	return len(b), nil
}
