package activities

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"helm.sh/helm/v3/pkg/releaseutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// kubeApply brings the objects of a manifest to their state, by server-side apply. With Absent it deletes what the
// command that it undoes has applied.
func (t *attempt) kubeApply(ctx context.Context) (plan.CommandResult, error) {
	spec := t.in.Command.Apply
	if spec == nil {
		return plan.CommandResult{}, invalid(errors.New("the command has no manifest"), "")
	}
	if spec.Absent {
		return t.unapply(ctx)
	}
	objects, err := t.manifest(ctx)
	if errors.Is(err, errObjectGone) {
		return plan.CommandResult{Message: err.Error()}, nil
	}
	if err != nil {
		return plan.CommandResult{}, err
	}
	sortForInstall(objects)
	written := 0
	refs := make([]plan.ObjectRef, 0, len(objects))
	for _, u := range objects {
		t.phase("applying", describe(refOf(u)))
		if err := t.cluster.place(u, t.in.Instance.Namespace); err != nil {
			return plan.CommandResult{}, err
		}
		changed, err := t.apply(ctx, u)
		if err != nil {
			return plan.CommandResult{}, err
		}
		if changed {
			written++
		}
		refs = append(refs, refOf(u))
		if isCRD(refOf(u)) {
			// What follows may be of this kind.
			if err := t.await(ctx, "waiting until established", []plan.ObjectRef{refOf(u)}, healthy); err != nil {
				return plan.CommandResult{}, err
			}
			if changed {
				t.cluster.mapper.Reset()
			}
		}
	}
	res := plan.CommandResult{Changed: written > 0, Objects: refs}
	switch {
	case len(refs) == 0:
		res.Message = "the manifest is empty; nothing to apply"
	case written == 0:
		res.Message = fmt.Sprintf("%d objects are as they should be", len(refs))
	default:
		res.Message = fmt.Sprintf("applied %d of %d objects", written, len(refs))
	}
	return res, nil
}

// manifest renders the command's manifest.
func (t *attempt) manifest(ctx context.Context) ([]*unstructured.Unstructured, error) {
	vars, err := t.vars(ctx)
	if err != nil {
		return nil, err
	}
	spec := t.in.Command.Apply
	source, text := spec.File, ""
	if source != "" {
		text, err = t.renderFile(ctx, source, vars)
	} else {
		source = "manifest of " + t.in.Command.Name
		text, err = t.renderText(ctx, source, spec.Manifest, t.in.Command.Engine, vars)
	}
	if err != nil {
		return nil, err
	}
	return parseObjects(source, text)
}

// apply applies one object unless that would change nothing. Where rules watch the object, it says which state it is
// for, as a patch does.
func (t *attempt) apply(ctx context.Context, u *unstructured.Unstructured) (changed bool, err error) {
	exact := len(t.watching(keyOf(refOf(u)).Kind)) > 0
	for try := 1; ; try++ {
		changed, err := t.applyOnce(ctx, u.DeepCopy(), exact)
		if !exact || !staleApply(err) || try == maxRuns {
			return changed, err
		}
	}
}

// staleApply tells a conflict because the object has changed from one because others own fields.
func staleApply(err error) bool {
	var own *fault
	return apierrors.IsConflict(err) && !errors.As(err, &own)
}

func (t *attempt) applyOnce(ctx context.Context, u *unstructured.Unstructured, exact bool) (changed bool, err error) {
	if err := prepare(u, t.in.Instance.Label()); err != nil {
		return false, invalid(fmt.Errorf("%s: %w", describe(refOf(u)), err), "")
	}
	ref := refOf(u)
	live, err := t.cluster.get(ctx, ref)
	if err != nil {
		return false, err
	}
	if live != nil {
		if owner, yes := foreign(live, t.in.Instance); yes {
			return false, retryable(TypeConflict, fmt.Errorf("%s belongs to the instance %q", describe(ref), owner),
				"give the object another name, or delete the other instance")
		}
		if live.GetDeletionTimestamp() != nil {
			return false, notReady(fmt.Errorf("%s is being deleted; it is applied when it is gone", describe(ref)))
		}
		if live.GetAnnotations()[plan.AppliedAnnotation] == u.GetAnnotations()[plan.AppliedAnnotation] && covers(live.Object, u.Object) {
			return false, nil
		}
	}
	if exact && live != nil {
		u.SetResourceVersion(live.GetResourceVersion())
	}
	body, err := json.Marshal(u)
	if err != nil {
		return false, invalid(fmt.Errorf("encode %s: %w", describe(ref), err), "")
	}
	api, err := t.cluster.client(ref)
	if err != nil {
		return false, fmt.Errorf("apply %s: %w", describe(ref), err)
	}
	force := t.in.Command.Apply.Conflicts == "force"
	now, err := api.Patch(ctx, ref.Name, types.ApplyPatchType, body, metav1.PatchOptions{
		FieldManager: fieldManager, Force: &force, FieldValidation: metav1.FieldValidationStrict,
	})
	if err != nil {
		return false, applyError(u, err)
	}
	if live != nil && live.GetResourceVersion() == now.GetResourceVersion() {
		return false, nil
	}
	s := step{key: keyOf(ref), now: now.Object}
	if live != nil {
		s.before = live.Object
	} else {
		s.unsure = slices.ContainsFunc(now.GetManagedFields(), func(m metav1.ManagedFieldsEntry) bool { return m.Manager != fieldManager })
	}
	t.left(s)
	return true, nil
}

// applyError names the managers and fields of a conflict: the message of the API server alone is hard to read. And it
// finds the unknown field behind what the API server calls an internal error of its own when the write is an apply.
func applyError(u *unstructured.Unstructured, err error) error {
	ref := refOf(u)
	var api apierrors.APIStatus
	if apierrors.IsInternalError(err) && !fitsType(u) {
		return invalid(fmt.Errorf("apply %s: %w", describe(ref), err), "correct the field that the message names")
	}
	if apierrors.IsConflict(err) && errors.As(err, &api) && api.Status().Details != nil {
		var fields []string
		for _, c := range api.Status().Details.Causes {
			if c.Type == metav1.CauseTypeFieldManagerConflict {
				fields = append(fields, c.Field+" ("+c.Message+")")
			}
		}
		if len(fields) > 0 {
			return retryable(TypeConflict, fmt.Errorf("apply %s: others own fields of the manifest: %s", describe(ref), few(fields)),
				"leave these fields out of the manifest, or set conflicts: force")
		}
	}
	return fmt.Errorf("apply %s: %w", describe(ref), err)
}

// prepare puts Mainstay's marks on an object. stringData becomes data: the server keeps only data, so that an object
// with stringData would never equal what is stored.
func prepare(u *unstructured.Unstructured, owner string) error {
	if u.GetKind() == "Secret" && u.GetAPIVersion() == "v1" {
		plain, found, err := unstructured.NestedStringMap(u.Object, "stringData")
		if err != nil {
			return errors.New("stringData is not a mapping of texts")
		}
		if found {
			for k, v := range plain {
				if err := unstructured.SetNestedField(u.Object, base64.StdEncoding.EncodeToString([]byte(v)), "data", k); err != nil {
					return errors.New("data is not a mapping")
				}
			}
			unstructured.RemoveNestedField(u.Object, "stringData")
		}
	}
	// What the server alone writes has no place in a manifest; it comes along when one is copied from a cluster.
	for _, f := range []string{"managedFields", "resourceVersion", "uid", "generation", "creationTimestamp"} {
		unstructured.RemoveNestedField(u.Object, "metadata", f)
	}
	unstructured.RemoveNestedField(u.Object, "status")
	if err := unstructured.SetNestedField(u.Object, owner, "metadata", "labels", plan.InstanceLabel); err != nil {
		return errors.New("metadata.labels is not a mapping of texts")
	}
	unstructured.RemoveNestedField(u.Object, "metadata", "annotations", plan.AppliedAnnotation)
	b, err := json.Marshal(u.Object) // encoding/json sorts keys
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	sum := sha256.Sum256(b)
	if err := unstructured.SetNestedField(u.Object, hex.EncodeToString(sum[:16]), "metadata", "annotations", plan.AppliedAnnotation); err != nil {
		return errors.New("metadata.annotations is not a mapping of texts")
	}
	return nil
}

// unapply deletes what the inventory and the manifest name, if it carries the instance's mark, and waits until it is
// gone. Namespaces and CRDs go last: with them would go what others still have to clean up.
func (t *attempt) unapply(ctx context.Context) (plan.CommandResult, error) {
	refs, err := t.applied(ctx)
	if err != nil {
		return plan.CommandResult{}, err
	}
	deleted := 0
	for _, last := range []bool{false, true} {
		var wait []plan.ObjectRef
		for _, ref := range slices.Backward(refs) {
			if (isCRD(ref) || isNamespace(ref)) != last {
				continue
			}
			t.phase("deleting", describe(ref))
			u, err := t.cluster.get(ctx, ref)
			if err != nil {
				return plan.CommandResult{}, err
			}
			if u == nil || u.GetLabels()[plan.InstanceLabel] != t.in.Instance.Label() {
				continue
			}
			if u.GetDeletionTimestamp() == nil {
				if err := t.cluster.delete(ctx, u); err != nil {
					return plan.CommandResult{}, err
				}
				deleted++
			}
			wait = append(wait, ref)
		}
		if err := t.await(ctx, "waiting until deleted", wait, gone); err != nil {
			return plan.CommandResult{}, err
		}
	}
	return plan.CommandResult{Changed: deleted > 0, Message: fmt.Sprintf("deleted %d objects", deleted)}, nil
}

// applied is the union of the inventory and of what the manifest renders to now: a deploy that failed half-way has
// left no inventory. A manifest that no longer renders counts only if there is nothing else to go by.
func (t *attempt) applied(ctx context.Context) ([]plan.ObjectRef, error) {
	refs := append([]plan.ObjectRef(nil), t.in.Inventory...)
	objects, err := t.manifest(ctx)
	if err != nil {
		if len(refs) > 0 && (ctx.Err() == nil) {
			t.log.Warn("manifest does not render; deleting by inventory alone", "error", plan.Clip(err.Error(), maxMessage))
			return refs, nil
		}
		return nil, err
	}
	sortForInstall(objects)
	for _, u := range objects {
		if err := t.cluster.place(u, t.in.Instance.Namespace); err != nil {
			if asNoMatch(err) {
				continue // without its kind there is no such object
			}
			return nil, err
		}
		if ref := refOf(u); !slices.Contains(refs, ref) {
			refs = append(refs, ref)
		}
	}
	return refs, nil
}

// sortForInstall puts what others need first, in the order that Helm uses.
func sortForInstall(objects []*unstructured.Unstructured) {
	place := func(kind string) int {
		if i := slices.Index(releaseutil.InstallOrder, kind); i >= 0 {
			return i
		}
		return len(releaseutil.InstallOrder)
	}
	sort.SliceStable(objects, func(i, j int) bool { return place(objects[i].GetKind()) < place(objects[j].GetKind()) })
}

func isCRD(r plan.ObjectRef) bool {
	return r.Kind == "CustomResourceDefinition" && strings.HasPrefix(r.APIVersion, "apiextensions.k8s.io/")
}

func isNamespace(r plan.ObjectRef) bool { return r.Kind == "Namespace" && r.APIVersion == "v1" }
