package activities

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/specs/sense"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// wire is a transport that remembers what is written through it, and lets a test do something before a request goes on.
type wire struct {
	mu     sync.Mutex
	writes []sent
	before func(*http.Request) error
}

// sent is a request that writes.
type sent struct {
	Method, Path string
	Body         map[string]any
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func (w *wire) wrap(next http.RoundTripper) http.RoundTripper {
	return transport(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodGet {
			return next.RoundTrip(r)
		}
		s := sent{Method: r.Method, Path: r.URL.Path}
		if r.Body != nil {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			r.Body = io.NopCloser(bytes.NewReader(b))
			_ = json.Unmarshal(b, &s.Body) // an apply is YAML
		}
		w.mu.Lock()
		w.writes = append(w.writes, s)
		before := w.before
		w.mu.Unlock()
		if before != nil {
			if err := before(r); err != nil {
				return nil, err
			}
		}
		return next.RoundTrip(r)
	})
}

// during has fn called before each write that run makes, and returns the writes.
func (w *wire) during(fn func(*http.Request) error, run func()) []sent {
	w.mu.Lock()
	w.writes, w.before = nil, fn
	w.mu.Unlock()
	run()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before = nil
	out := w.writes
	w.writes = nil
	return out
}

// aside changes an object behind Mainstay's back, and returns what it is then.
func (b *bench) aside(ref plan.ObjectRef, patch string) *unstructured.Unstructured {
	b.Helper()
	api, err := b.other.client(ref)
	if err != nil {
		b.Fatal(err)
	}
	u, err := api.Patch(context.Background(), ref.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "other"})
	if err != nil {
		b.Fatal(err)
	}
	return u
}

// feed fills the bench's store with what a cluster has of some kinds in the bench's namespace, as the watcher does. What
// comes waits while it is stopped.
type feed struct {
	store *virtual.Store

	mu sync.Mutex
	// flows is closed while it isn't stopped.
	flows chan struct{}
}

// stop holds back what comes, until the returned func is called.
func (f *feed) stop() (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	flows := make(chan struct{})
	f.flows = flows
	return sync.OnceFunc(func() { close(flows) })
}

// flowing waits until it isn't stopped.
func (f *feed) flowing(ctx context.Context) bool {
	f.mu.Lock()
	flows := f.flows
	f.mu.Unlock()
	if flows == nil {
		return true
	}
	select {
	case <-flows:
		return true
	case <-ctx.Done():
		return false
	}
}

func (b *bench) feed(resources ...virtual.Resource) *feed {
	b.Helper()
	f := &feed{store: openStore(b.T)}
	b.objects = f.store
	for _, r := range resources {
		f.watch(b, r, b.ns)
	}
	return f
}

func (f *feed) watch(b *bench, r virtual.Resource, namespace string) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	b.Cleanup(func() { cancel(); all.Wait() })
	api := b.cluster.dynamic.Resource(schema.GroupVersionResource{Group: r.Group, Version: r.Version, Resource: r.Plural}).Namespace(namespace)
	list, err := api.List(ctx, metav1.ListOptions{})
	if err != nil {
		b.Fatal(err)
	}
	for i := range list.Items {
		f.put(b, r, &list.Items[i])
	}
	f.store.Serve(r)
	f.store.SetProgress(r.Kind, list.GetResourceVersion())
	f.store.SetSynced(r.Kind, true)
	w, err := api.Watch(ctx, metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
	if err != nil {
		b.Fatal(err)
	}
	all.Go(func() {
		defer w.Stop()
		for e := range w.ResultChan() {
			u, ok := e.Object.(*unstructured.Unstructured)
			if !ok || !f.flowing(ctx) {
				continue
			}
			if e.Type == "DELETED" {
				if _, _, err := f.store.Delete(keyOf(refOf(u))); err != nil {
					b.Error(err)
				}
			} else {
				f.put(b, r, u)
			}
			f.store.SetProgress(r.Kind, u.GetResourceVersion())
		}
	})
}

func (f *feed) put(b *bench, r virtual.Resource, u *unstructured.Unstructured) {
	sense.Redact(r.Kind, u.Object)
	text, err := virtual.Encode(u.Object)
	if err == nil {
		_, _, err = f.store.Put(keyOf(refOf(u)), text)
	}
	if err != nil {
		b.Error(err)
	}
}

// has waits until the store has an object in a state.
func (f *feed) has(b *bench, ref plan.ObjectRef, version string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, _, err := f.store.WaitFor(ctx, keyOf(ref), version); err != nil {
		b.Fatal(err)
	}
}

var errCut = errors.New("the line is cut")

// pathsOf are the last parts of the paths that were written to.
func pathsOf(writes []sent) string {
	var out []string
	for _, s := range writes {
		parts := strings.Split(s.Path, "/")
		last := parts[len(parts)-1]
		if last == "status" || last == "scale" {
			last = parts[len(parts)-2] + "/" + last
		}
		out = append(out, s.Method+" "+last)
	}
	return strings.Join(slices.Compact(out), ", ") // one that a controller's write made try again counts once
}
