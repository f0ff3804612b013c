package activities

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/specs/sense"
)

// resource is the API resource of a row.
func (r row) resource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: r.Resource.Group, Version: r.Resource.Version, Resource: r.Resource.Plural}
}

// updateRow sends what differs between the row before and after, and only that.
func (t *attempt) updateRow(ctx context.Context, r row) (bool, error) {
	before, err := decodeObject(r.Before)
	if err != nil {
		return false, err
	}
	after, err := decodeObject(r.After)
	if err != nil {
		return false, err
	}
	patch := rowPatch(before, after)
	if err := keepsSecrets(r, patch); err != nil {
		return false, err
	}
	if len(patch) == 0 || same(metadataOf(after).GroupVersionKind(), before, after) {
		return false, nil
	}
	status, separate := patch["status"], false
	if _, changed := patch["status"]; changed {
		if separate, err = t.cluster.hasStatus(r.resource()); err != nil {
			return false, err
		}
	}
	if separate {
		delete(patch, "status")
	}
	at, changed := before, false
	if len(patch) > 0 {
		if at, changed, err = t.patchRow(ctx, r, at, patch); err != nil {
			return false, err
		}
	}
	if separate {
		_, more, err := t.patchRow(ctx, r, at, map[string]any{"status": status}, "status")
		return changed || more, err
	}
	return changed, nil
}

// patchRow merges a patch into an object that is still as it was before, and returns what it is now.
func (t *attempt) patchRow(ctx context.Context, r row, before, patch map[string]any, subresources ...string) (now map[string]any, changed bool, err error) {
	meta, _ := patch["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
		patch["metadata"] = meta
	}
	version := metadataOf(before).GetResourceVersion()
	meta["uid"], meta["resourceVersion"] = r.UID, version
	body, err := json.Marshal(patch)
	if err != nil {
		return nil, false, err
	}
	u, err := r.api.Patch(ctx, r.ref.Name, types.MergePatchType, body, metav1.PatchOptions{
		FieldManager: fieldManager, FieldValidation: metav1.FieldValidationStrict,
	}, subresources...)
	if err != nil {
		return nil, false, err
	}
	if u.GetResourceVersion() == version {
		return u.Object, false, nil
	}
	t.left(step{key: keyOf(r.ref), before: before, now: u.Object})
	return u.Object, true, nil
}

// insertRow creates an object. One in the instance's own namespace gets its label, so that it is the instance's. An
// object that is there already is right if it has all that was asked for.
func (t *attempt) insertRow(ctx context.Context, r row) (wrote, error) {
	asked, err := decodeObject(r.After)
	if err != nil {
		return wrote{}, err
	}
	asked["apiVersion"], asked["kind"] = r.ref.APIVersion, r.ref.Kind
	for _, f := range append([]string{"deletionTimestamp", "selfLink"}, serverFields...) {
		unstructured.RemoveNestedField(asked, "metadata", f)
	}
	status, separate := asked["status"], false
	if status != nil {
		if separate, err = t.cluster.hasStatus(r.resource()); err != nil {
			return wrote{}, err
		}
	}
	if separate {
		delete(asked, "status")
	}
	u := metadataOf(asked)
	u.SetName(r.ref.Name)
	u.SetNamespace(r.ref.Namespace)
	if err := keepsSecrets(r, asked); err != nil {
		return wrote{}, err
	}
	labelled := u.DeepCopy()
	if r.ref.Namespace == t.in.Instance.Namespace {
		labels := labelled.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[plan.InstanceLabel] = t.in.Instance.Label()
		labelled.SetLabels(labels)
	}
	now, err := r.api.Create(ctx, labelled, metav1.CreateOptions{FieldManager: fieldManager, FieldValidation: metav1.FieldValidationStrict})
	if apierrors.IsAlreadyExists(err) {
		return t.exists(ctx, r, u)
	}
	if err != nil {
		return wrote{}, err
	}
	t.left(step{key: keyOf(r.ref), now: now.Object})
	w := wrote{created: true}
	if mine(now, t.in.Instance) {
		w.object = &r.ref
	}
	if separate {
		r.UID = string(now.GetUID())
		_, _, err = t.patchRow(ctx, r, now.Object, map[string]any{"status": status}, "status")
	}
	return w, err
}

func mine(u *unstructured.Unstructured, i plan.Instance) bool {
	return u.GetLabels()[plan.InstanceLabel] == i.Label()
}

// exists settles the insertion of an object that is there. If the snapshot didn't have it, a newer one may make the
// statement insert something else, or nothing.
func (t *attempt) exists(ctx context.Context, r row, asked *unstructured.Unstructured) (wrote, error) {
	live, err := r.api.Get(ctx, r.ref.Name, metav1.GetOptions{})
	if err != nil {
		return wrote{}, err
	}
	if covers(live.Object, asked.Object) {
		if mine(live, t.in.Instance) {
			return wrote{object: &r.ref}, nil
		}
		return wrote{}, nil
	}
	exists := apierrors.NewConflict(r.resource().GroupResource(), r.ref.Name, fmt.Errorf("it exists already, and not as the row has it"))
	if o, ok := t.objects.Get(keyOf(r.ref)); ok && o.UID == string(live.GetUID()) {
		return wrote{}, retryable(TypeConflict, fmt.Errorf("insert %s: %w", describe(r.ref), exists),
			"leave out what exists (WHERE NOT EXISTS …), or UPDATE it")
	}
	return wrote{}, exists
}

// deleteRow deletes the very object of the snapshot, in that very state. One that is gone or going is done. What it owns
// goes after it, so that the row doesn't stay for as long as that takes.
func (t *attempt) deleteRow(ctx context.Context, r row) (bool, error) {
	before, err := decodeObject(r.Before)
	if err != nil {
		return false, err
	}
	if metadataOf(before).GetDeletionTimestamp() != nil {
		return false, nil
	}
	uid, version, how := types.UID(r.UID), r.ResourceVersion, metav1.DeletePropagationBackground
	err = r.api.Delete(ctx, r.ref.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version}, PropagationPolicy: &how,
	})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	s := step{key: keyOf(r.ref), before: before}
	if len(t.watching(s.key.Kind)) > 0 {
		// Finalizers may hold it: then it is there still, in another state.
		live, err := r.api.Get(ctx, r.ref.Name, metav1.GetOptions{})
		if err == nil && string(live.GetUID()) == r.UID {
			s.now = live.Object
		}
	}
	t.left(s)
	return true, nil
}

// keepsSecrets refuses to write a digest where a Secret's value belongs.
func keepsSecrets(r row, patch map[string]any) error {
	if !sense.IsSecret(r.Resource.Kind) {
		return nil
	}
	data, _ := patch["data"].(map[string]any)
	for name, value := range data {
		if text, ok := value.(string); ok && sense.IsDigest(text) {
			return invalid(fmt.Errorf("%s: data.%s would become the digest of a value", describe(r.ref), name),
				"virtual resources have digests of Secrets' values, so that SQL can't copy them: use kube-apply with a template")
		}
	}
	return nil
}
