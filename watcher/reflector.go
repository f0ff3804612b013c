package watcher

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// notHelm leaves Helm's release Secrets out: large, many, and nobody's business.
const notHelm = "type!=helm.sh/release.v1"

// reflect runs a reflector for a kind that exists, until ctx ends or the API server no longer knows the kind.
func (s *sources) reflect(ctx context.Context, src *source, resource schema.GroupVersionResource, delay wait.DelayFunc) {
	// Problems are told by report, once each.
	silent := logr.Discard()
	reflector := cache.NewReflectorWithOptions(s.listWatch(src, resource), nil, &sink{sources: s, source: src},
		cache.ReflectorOptions{
			Logger:          &silent,
			Name:            "mainstay",
			TypeDescription: src.kind.String(),
			Backoff:         &retries,
		})
	quiet := logr.NewContext(ctx, silent)
	for ctx.Err() == nil {
		// It returns when its watch can't go on where it was: the version has expired, or the server refuses.
		err := reflector.ListAndWatchWithContext(quiet)
		if apierrors.IsNotFound(err) {
			return
		}
		if err != nil {
			s.report(src, err)
		}
		pause(ctx, delay())
	}
}

// listWatch lists and watches one resource, and reports how that goes.
func (s *sources) listWatch(src *source, resource schema.GroupVersionResource) cache.ListerWatcher {
	narrow := func(o *metav1.ListOptions) {
		if resource.Group == "" && resource.Resource == "secrets" {
			o.FieldSelector = notHelm
		}
	}
	list := func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		if src.owner {
			return s.cluster.metadata.Resource(resource).List(ctx, o)
		}
		return s.cluster.objects.Resource(resource).List(ctx, o)
	}
	open := func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		if src.owner {
			return s.cluster.metadata.Resource(resource).Watch(ctx, o)
		}
		return s.cluster.objects.Resource(resource).Watch(ctx, o)
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			narrow(&o)
			if o.ResourceVersion == "0" {
				// "0" allows a server's stale cache. A resync from the past would tell of deletions that never were.
				o.ResourceVersion = ""
			}
			objects, err := list(ctx, o)
			s.report(src, err)
			return objects, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			narrow(&o)
			w, err := open(ctx, o)
			// A server that can't stream the initial state is asked for a list next, and what is wrong shows then.
			if err == nil || o.SendInitialEvents == nil || isUnreachable(err) {
				s.report(src, err)
			}
			return w, err
		},
	}
}

// sink is where a reflector puts a kind's objects.
type sink struct {
	*sources
	source *source
}

var (
	_ cache.TransformingStore      = (*sink)(nil)
	_ cache.ResourceVersionUpdater = (*sink)(nil)
)

// item is an object on its way into the store. A stream of initial objects is held as items, so that even then there
// is never a whole kind in memory as decoded trees.
type item struct {
	metav1.ObjectMeta
	json []byte
}

// Transformer implements cache.TransformingStore.
func (k *sink) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) { return k.item(obj) }
}

// item makes an object an item, unless it is one.
func (k *sink) item(obj any) (*item, error) {
	var it *item
	var err error
	switch o := obj.(type) {
	case *item:
		return o, nil
	case *unstructured.Unstructured:
		it = &item{ObjectMeta: keyMeta(o)}
		it.json, err = virtual.Encode(o.Object)
	case *metav1.PartialObjectMetadata:
		it = &item{ObjectMeta: keyMeta(o)}
		o.ManagedFields = nil
		o.TypeMeta = metav1.TypeMeta{APIVersion: k.source.kind.APIVersion(), Kind: k.source.kind.Kind}
		it.json, err = json.Marshal(o)
	default:
		return nil, fmt.Errorf("an object of a watch is a %T", obj)
	}
	if err != nil {
		return nil, err
	}
	return it, nil
}

// keyMeta is as much of an object's metadata as the reflector and the sink look at.
func keyMeta(o metav1.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace:       o.GetNamespace(),
		Name:            o.GetName(),
		ResourceVersion: o.GetResourceVersion(),
		OwnerReferences: o.GetOwnerReferences(),
	}
}

// Add implements cache.ReflectorStore.
func (k *sink) Add(obj any) error {
	it, err := k.item(obj)
	if err == nil {
		err = k.put(k.source, it)
	}
	return k.logged(err)
}

// Update implements cache.ReflectorStore.
func (k *sink) Update(obj any) error { return k.Add(obj) }

// Delete implements cache.ReflectorStore.
func (k *sink) Delete(obj any) error {
	it, err := k.item(obj)
	if err == nil {
		_, _, err = k.store.Delete(virtual.Key{Kind: k.source.kind, Namespace: it.Namespace, Name: it.Name})
	}
	return k.logged(err)
}

// logged tells of an event that the store could not take. The reflector itself has nobody to tell.
func (k *sink) logged(err error) error {
	if err != nil {
		k.log.Error("an event of a watch is lost", "kind", k.source.kind.String(), "error", err)
	}
	return err
}

// Replace implements cache.ReflectorStore: a complete list, at the start and after an outage. Only what differs from
// the store is a change.
func (k *sink) Replace(objs []any, resourceVersion string) error {
	items := make([]*item, len(objs))
	for i, obj := range objs {
		var err error
		if items[i], err = k.item(obj); err != nil {
			return err
		}
		objs[i] = nil
	}
	if err := k.replace(k.source, items); err != nil {
		return err
	}
	k.store.SetProgress(k.source.kind, resourceVersion)
	if !k.source.owner {
		k.store.SetSynced(k.source.kind, true)
	}
	if !k.source.there {
		k.source.there = true
		k.log.Info("watching a kind", "kind", k.source.kind.String(), "objects", len(items))
	}
	k.settle(k.source)
	return nil
}

// Resync implements cache.ReflectorStore.
func (k *sink) Resync() error { return nil }

// UpdateResourceVersion implements cache.ResourceVersionUpdater: all up to this version is in the store.
func (k *sink) UpdateResourceVersion(resourceVersion string) {
	k.store.SetProgress(k.source.kind, resourceVersion)
}

// put stores an object and has its owners' kinds watched where they decide about its instance.
func (s *sources) put(src *source, it *item) error {
	key := virtual.Key{Kind: src.kind, Namespace: it.Namespace, Name: it.Name}
	if src.followOwners.Load() {
		for _, owner := range it.OwnerReferences {
			s.follow(virtual.ParseKind(owner.APIVersion, owner.Kind))
		}
	}
	_, _, err := s.store.Put(key, it.json)
	return err
}

// replace makes the store's objects of a kind these and no others.
func (s *sources) replace(src *source, items []*item) error {
	type name struct{ namespace, name string }
	there := make(map[name]bool, len(items))
	for _, it := range items {
		there[name{it.Namespace, it.Name}] = true
		if err := s.put(src, it); err != nil {
			return err
		}
	}
	var lost []virtual.Key
	s.store.List(src.kind, "", func(object virtual.Object) bool {
		if !there[name{object.Namespace, object.Name}] {
			lost = append(lost, object.Key)
		}
		return true
	})
	for _, key := range lost {
		if _, _, err := s.store.Delete(key); err != nil {
			return err
		}
	}
	return nil
}
