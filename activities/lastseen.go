package activities

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/lru"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// lastSeenObjects bounds how many objects are remembered: those that rules patch again and again.
const lastSeenObjects = 512

// lastSeen remembers objects as this process last read or left them. It is a hint, not the truth: it may save a read
// where there is something to write, which then fails or does no harm if the hint was old; it never saves a write.
type lastSeen struct{ cache *lru.Cache }

func newLastSeen() *lastSeen { return &lastSeen{lru.New(lastSeenObjects)} }

// get is a copy of the object, or nil.
func (l *lastSeen) get(ref plan.ObjectRef) *unstructured.Unstructured {
	v, ok := l.cache.Get(ref)
	if !ok {
		return nil
	}
	return v.(*unstructured.Unstructured).DeepCopy()
}

// put remembers an object, without its managed fields, which are the larger half.
func (l *lastSeen) put(ref plan.ObjectRef, u *unstructured.Unstructured) {
	u = u.DeepCopy()
	unstructured.RemoveNestedField(u.Object, "metadata", "managedFields")
	l.cache.Add(ref, u)
}

// resourceRef is the custom resource's own reference.
func resourceRef(i plan.Instance) plan.ObjectRef {
	return plan.ObjectRef{APIVersion: i.Resource.APIVersion(), Kind: i.Resource.Kind, Namespace: i.Namespace, Name: i.Name}
}

// readResource reads a custom resource from the API server and remembers it. Errors as with Get.
func (a *Activities) readResource(ctx context.Context, i plan.Instance) (*unstructured.Unstructured, error) {
	u, err := a.cluster.resource(i).Get(ctx, i.Name, metav1.GetOptions{})
	if err == nil {
		a.resources.put(resourceRef(i), u)
	}
	return u, err
}

// patchResource merges into a custom resource, or one of its subresources, and remembers the outcome. After an error
// nothing is remembered, so that the next try reads. Errors as with Patch.
func (a *Activities) patchResource(ctx context.Context, i plan.Instance, body []byte, subresources ...string) error {
	u, err := a.cluster.resource(i).Patch(ctx, i.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: fieldManager}, subresources...)
	if err != nil {
		a.resources.cache.Remove(resourceRef(i))
		return err
	}
	a.resources.put(resourceRef(i), u)
	return nil
}
