package watcher

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/mainstay-dev/mainstay/specs/sense"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// sink is where a reflector puts its objects.
type sink struct {
	*sources
	source *source
	part   *part
}

var (
	_ cache.TransformingStore      = (*sink)(nil)
	_ cache.ResourceVersionUpdater = (*sink)(nil)
)

// item is an object on its way into the store, as the store will keep it. A stream of initial objects is held as items,
// so that even then there is never a whole kind in memory as decoded trees.
type item struct {
	metav1.ObjectMeta
	object virtual.Object
}

// Transformer implements cache.TransformingStore.
func (k *sink) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) { return k.item(obj) }
}

// item makes an object an item, unless it is one.
func (k *sink) item(obj any) (*item, error) {
	var meta metav1.Object
	var content map[string]any
	switch o := obj.(type) {
	case *item:
		return o, nil
	case *unstructured.Unstructured:
		meta, content = o, o.Object
	case *metav1.PartialObjectMetadata:
		o.TypeMeta = metav1.TypeMeta{APIVersion: k.source.kind.APIVersion(), Kind: k.source.kind.Kind}
		o.ManagedFields = nil
		var err error
		if content, err = runtime.DefaultUnstructuredConverter.ToUnstructured(o); err != nil {
			return nil, fmt.Errorf("decode an object's metadata: %w", err)
		}
		meta = o
	default:
		return nil, fmt.Errorf("an object of a watch is a %T", obj)
	}
	sense.Redact(k.source.kind, content)
	// As much of the metadata as the reflector and the sink look at.
	it := &item{ObjectMeta: metav1.ObjectMeta{
		Namespace:       meta.GetNamespace(),
		Name:            meta.GetName(),
		ResourceVersion: meta.GetResourceVersion(),
		OwnerReferences: meta.GetOwnerReferences(),
	}}
	var err error
	it.object, err = virtual.DecodedObject(virtual.Key{Kind: k.source.kind, Namespace: it.Namespace, Name: it.Name}, content)
	return it, err
}

// Add implements cache.ReflectorStore.
func (k *sink) Add(obj any) error {
	it, err := k.item(obj)
	if err == nil {
		k.owners(k.source, it)
		_, _, err = k.store.PutObject(it.object)
	}
	return k.logged(err)
}

// Update implements cache.ReflectorStore.
func (k *sink) Update(obj any) error { return k.Add(obj) }

// Delete implements cache.ReflectorStore.
func (k *sink) Delete(obj any) error {
	it, err := k.item(obj)
	if err == nil {
		_, _, err = k.store.Delete(it.object.Key)
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
	if err := k.replace(k.source, k.part.namespace, items); err != nil {
		return err
	}
	if k.complete(k.source, k.part, resourceVersion) {
		k.onSettled()
	}
	return nil
}

// Resync implements cache.ReflectorStore.
func (k *sink) Resync() error { return nil }

// UpdateResourceVersion implements cache.ResourceVersionUpdater: all up to this version is in the store.
func (k *sink) UpdateResourceVersion(resourceVersion string) {
	k.reached(k.source, k.part, resourceVersion)
}

// owners has the kinds of an object's owners watched where they decide about its instance.
func (s *sources) owners(src *source, it *item) {
	if src.followOwners.Load() {
		for _, owner := range it.OwnerReferences {
			s.follow(virtual.ParseKind(owner.APIVersion, owner.Kind))
		}
	}
}

// replace makes the store's objects of a kind, or of a kind in a namespace, these and no others. No other part of the
// kind has objects there.
func (s *sources) replace(src *source, namespace string, items []*item) error {
	objects := make([]virtual.Object, len(items))
	for i, it := range items {
		s.owners(src, it)
		objects[i] = it.object
	}
	if namespace == "" {
		return s.store.Replace(src.kind, objects)
	}
	there := make(map[virtual.Key]bool, len(objects))
	for _, o := range objects {
		there[o.Key] = true
	}
	s.store.List(src.kind, namespace, func(o virtual.Object) bool {
		if !there[o.Key] {
			objects = append(objects, virtual.Object{Key: o.Key, Deleted: true})
		}
		return true
	})
	return s.store.Apply(objects)
}
