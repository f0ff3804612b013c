package activities

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// place gives an object the namespace that it lives in: its own, or the default if its kind is namespaced.
func (c *cluster) place(u *unstructured.Unstructured, defaultNamespace string) error {
	m, err := c.mapping(u.GetAPIVersion(), u.GetKind())
	if err != nil {
		return fmt.Errorf("%s: %w", describe(refOf(u)), err)
	}
	switch {
	case m.Scope.Name() != meta.RESTScopeNameNamespace:
		unstructured.RemoveNestedField(u.Object, "metadata", "namespace")
	case u.GetNamespace() == "" && defaultNamespace == "":
		return invalid(fmt.Errorf("%s needs a namespace", describe(refOf(u))),
			"the resource is cluster-scoped and gives none: write metadata.namespace into the manifest")
	case u.GetNamespace() == "":
		u.SetNamespace(defaultNamespace)
	}
	return nil
}

// get reads an object. It is nil if it, its namespace or its kind isn't there.
func (c *cluster) get(ctx context.Context, ref plan.ObjectRef) (*unstructured.Unstructured, error) {
	api, err := c.client(ref)
	if asNoMatch(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", describe(ref), err)
	}
	u, err := api.Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", describe(ref), err)
	}
	return u, nil
}

// delete deletes the very object that was read, not one that has taken its name since. An object that is gone is no
// error.
func (c *cluster) delete(ctx context.Context, u *unstructured.Unstructured) error {
	ref := refOf(u)
	api, err := c.client(ref)
	if err != nil {
		return fmt.Errorf("delete %s: %w", describe(ref), err)
	}
	uid, how := u.GetUID(), propagation(u)
	err = api.Delete(ctx, ref.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &how,
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete %s: %w", describe(ref), err)
	}
	return nil
}

// propagation is foreground for built-in kinds, so that a Deployment is gone only when its pods are. For others it is
// not: the garbage collector learns of new kinds with a delay of half a minute, and would hold their objects until then.
func propagation(u *unstructured.Unstructured) metav1.DeletionPropagation {
	if gvk := u.GroupVersionKind(); scheme.Scheme.Recognizes(gvk) && gvk.Group != "apiextensions.k8s.io" {
		return metav1.DeletePropagationForeground
	}
	return metav1.DeletePropagationBackground
}

// foreign tells whether an object is marked as another instance's, and whose.
func foreign(u *unstructured.Unstructured, i plan.Instance) (string, bool) {
	owner := u.GetLabels()[plan.InstanceLabel]
	return owner, owner != "" && owner != i.Label()
}

// few joins at most three texts and counts the rest.
func few(texts []string) string {
	if len(texts) <= 3 {
		return strings.Join(texts, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(texts[:3], "; "), len(texts)-3)
}

// metadataOf is an object's metadata by its accessors.
func metadataOf(object map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: object}
}
