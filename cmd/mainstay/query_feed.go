package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/specs/sense"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

const (
	// pageSize is how many objects a list brings at a time; only that many are ever decoded trees.
	pageSize = 500
	// listsAtOnce is how many kinds are listed side by side.
	listsAtOnce = 8
	// notHelm leaves Helm's release Secrets out: large, many, and nobody's business.
	notHelm = "type!=helm.sh/release.v1"
)

// source is a kind that is listed and, for a live query, watched.
type source struct {
	table
	// optional: nobody named it, so that it may be left out where it can't be listed.
	optional bool
	// owner: only its metadata is wanted, to know which instance its dependents belong to.
	owner bool
	// version: all up to here is in the store; empty: it has to be listed.
	version string
	// left out: it couldn't be listed.
	left bool
}

// feed fills a store with what the sources have.
type feed struct {
	*query
	known *catalog
	store *virtual.Store
	// owners: the owners of objects are listed too, as the column instance follows from them.
	owners bool

	mu sync.Mutex
	// begun are the sources so far; found those of them that nobody has listed yet.
	begun map[virtual.Kind]*source
	found []*source
	// left are the tables that were left out and why, of them those of owners apart.
	left, unowned []string
	// watching has a source that was found watched; nil before that begins.
	watching func(*source)
}

func newFeed(q *query, known *catalog, store *virtual.Store, owners bool) *feed {
	return &feed{query: q, known: known, store: store, owners: owners, begun: map[virtual.Kind]*source{}}
}

// fill lists the sources, and in further rounds the owners that are found.
func (f *feed) fill(ctx context.Context, sources []*source) error {
	if f.watch {
		for _, s := range sources {
			switch {
			case s.watchable:
			case s.optional:
				f.left = append(f.left, s.Table()+" (can't be watched)")
			default:
				return fmt.Errorf("%s can't be watched: the API server only lists it", s.Table())
			}
		}
		sources = slices.DeleteFunc(sources, func(s *source) bool { return !s.watchable })
	}
	for _, s := range sources {
		f.begun[s.Kind] = s
	}
	for ; len(sources) > 0; sources = f.take() {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(listsAtOnce)
		for _, s := range sources {
			g.Go(func() error { return f.first(ctx, s) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	f.tell("left out: %s", f.left)
	f.tell("the column instance may be empty where it follows from these owners, which were left out: %s", f.unowned)
	return nil
}

func (f *feed) tell(format string, tables []string) {
	if len(tables) > 0 {
		slices.Sort(tables)
		f.note(format, strings.Join(tables, ", "))
	}
}

// take are the sources that were found since the last time.
func (f *feed) take() []*source {
	f.mu.Lock()
	defer f.mu.Unlock()
	found := f.found
	f.found = nil
	return found
}

// first lists a source for the first time. One that is optional may fail if the API server says so.
func (f *feed) first(ctx context.Context, s *source) error {
	err := f.list(ctx, s)
	if err == nil {
		return nil
	}
	if reason := apierrors.ReasonForError(err); s.optional && ctx.Err() == nil && reason != metav1.StatusReasonUnknown {
		f.mu.Lock()
		defer f.mu.Unlock()
		s.left = true
		list := &f.left
		if s.owner {
			list = &f.unowned
		}
		*list = append(*list, fmt.Sprintf("%s (%s)", s.Table(), reason))
		return nil
	}
	return refused(s, f.namespace, "list", err)
}

// list makes the store's objects of a source those that there are now.
func (f *feed) list(ctx context.Context, s *source) error {
	var objects []virtual.Object
	o := f.listOptions(s)
	o.Limit = pageSize
	version := ""
	for {
		page, err := f.page(ctx, s, o)
		if apierrors.IsResourceExpired(err) && o.Continue != "" {
			// The list took longer than the API server keeps a version: all at once, then.
			objects, version = nil, ""
			o.Limit, o.Continue = 0, ""
			continue
		}
		if err != nil {
			return err
		}
		if err := meta.EachListItem(page, func(item runtime.Object) error {
			object, err := f.object(s, item)
			objects = append(objects, object)
			return err
		}); err != nil {
			return err
		}
		about, err := meta.ListAccessor(page)
		if err != nil {
			return fmt.Errorf("read a list of %s: %w", s.Table(), err)
		}
		if version == "" {
			version = about.GetResourceVersion()
		}
		if o.Continue = about.GetContinue(); o.Continue == "" {
			break
		}
	}
	if err := f.store.Replace(s.Kind, objects); err != nil {
		return err
	}
	if !s.owner {
		f.store.Serve(s.Resource)
	}
	f.store.SetSynced(s.Kind, true)
	s.version = version
	return nil
}

func (f *feed) listOptions(s *source) metav1.ListOptions {
	var o metav1.ListOptions
	if sense.IsSecret(s.Kind) {
		o.FieldSelector = notHelm
	}
	return o
}

// in is the namespace that a source is listed in.
func (f *feed) in(s *source) string {
	if s.Namespaced {
		return f.namespace
	}
	return ""
}

func (f *feed) page(ctx context.Context, s *source, o metav1.ListOptions) (runtime.Object, error) {
	if s.owner {
		return f.cluster.metadata.Resource(s.gvr()).Namespace(f.in(s)).List(ctx, o)
	}
	return f.cluster.objects.Resource(s.gvr()).Namespace(f.in(s)).List(ctx, o)
}

// object makes an object one of the store's.
func (f *feed) object(s *source, item runtime.Object) (virtual.Object, error) {
	u, ok := item.(*unstructured.Unstructured)
	if !ok {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(item)
		if err != nil {
			return virtual.Object{}, fmt.Errorf("decode the metadata of an object of %s: %w", s.Table(), err)
		}
		u = &unstructured.Unstructured{Object: content}
	}
	if !f.secrets {
		sense.Redact(s.Kind, u.Object)
	}
	if f.owners {
		if err := f.belonging(s, u); err != nil {
			return virtual.Object{}, err
		}
	}
	return virtual.DecodedObject(virtual.Key{Kind: s.Kind, Namespace: u.GetNamespace(), Name: u.GetName()}, u.Object)
}

// belonging has the kinds of an object's owners listed, and says that what a custom resource of an operator owns is its
// instance's: such a one is known by the finalizer, without the operator.
func (f *feed) belonging(s *source, u *unstructured.Unstructured) error {
	for _, owner := range u.GetOwnerReferences() {
		f.follow(virtual.ParseKind(owner.APIVersion, owner.Kind))
	}
	if !slices.Contains(u.GetFinalizers(), plan.Finalizer) {
		return nil
	}
	i := plan.Instance{Resource: plan.Resource{Group: s.Group, Plural: s.Plural}, Namespace: u.GetNamespace(), Name: u.GetName()}
	return f.store.BindOwner(string(u.GetUID()), i.Label())
}

// follow has a kind listed, as far as its metadata, unless it is already. Cluster-scoped kinds that are built in, such as
// the Node of a static Pod, belong to no instance.
func (f *feed) follow(kind virtual.Kind) {
	t, ok := f.known.ofKind(kind)
	if !ok || f.watch && !t.watchable || !t.Namespaced && slices.Contains(virtual.BuiltIn(), t.Resource) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.begun[t.Kind] != nil {
		return
	}
	s := &source{table: t, optional: true, owner: true}
	f.begun[t.Kind] = s
	if f.watching != nil {
		f.watching(s)
		return
	}
	f.found = append(f.found, s)
}
