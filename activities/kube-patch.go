package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// kubePatch patches objects that exist; it creates none. The template renders to one or more documents, each naming its
// object. A patch that would change nothing isn't sent. The object is always read from the API server: the virtual
// store can't prove that it has seen a write of a moment ago.
func (t *attempt) kubePatch(ctx context.Context) (plan.CommandResult, error) {
	spec := t.in.Command.Patch
	if spec == nil {
		return plan.CommandResult{}, invalid(errors.New("the command has no patch"), "")
	}
	vars, err := t.vars(ctx)
	if errors.Is(err, errObjectGone) {
		return plan.CommandResult{Message: err.Error()}, nil
	}
	if err != nil {
		return plan.CommandResult{}, err
	}
	source, text := spec.File, ""
	if source != "" {
		text, err = t.renderFile(ctx, source, vars)
	} else {
		source = "patch of " + t.in.Command.Name
		text, err = t.renderText(ctx, source, spec.Patch, t.in.Command.Engine, vars)
	}
	if err != nil {
		return plan.CommandResult{}, err
	}
	patches, err := parseObjects(source, text)
	if err != nil {
		return plan.CommandResult{}, err
	}
	if len(patches) == 0 {
		return plan.CommandResult{Message: "nothing to patch"}, nil
	}
	var done []string
	changed := false
	for _, p := range patches {
		t.phase("patching", describe(refOf(p)))
		if err := t.cluster.place(p, t.in.Instance.Namespace); err != nil {
			return plan.CommandResult{}, err
		}
		what, err := t.patch(ctx, p)
		if err != nil {
			return plan.CommandResult{}, err
		}
		changed = changed || what == "patched"
		done = append(done, what+" "+describe(refOf(p)))
	}
	return plan.CommandResult{Changed: changed, Message: few(done)}, nil
}

// patch patches one object and says what it did, in a word or two. Where rules watch the object it must be known for
// sure what the patch met, so that a rule isn't kept from hearing of somebody else's change: then it says which state
// it is for, and is made anew if that has passed.
func (t *attempt) patch(ctx context.Context, p *unstructured.Unstructured) (string, error) {
	exact := len(t.watching(keyOf(refOf(p)).Kind)) > 0
	for try := 1; ; try++ {
		what, err := t.patchOnce(ctx, p.DeepCopy(), exact)
		if !exact || !apierrors.IsConflict(err) || try == maxRuns {
			return what, err
		}
		t.patched.cache.Remove(refOf(p))
	}
}

func (t *attempt) patchOnce(ctx context.Context, p *unstructured.Unstructured, exact bool) (string, error) {
	ref := refOf(p)
	// The status is its controller's; kinds without a status subresource would take it.
	unstructured.RemoveNestedField(p.Object, "status")
	body, err := json.Marshal(p.Object)
	if err != nil {
		return "", invalid(fmt.Errorf("encode the patch of %s: %w", describe(ref), err), "")
	}
	kind, err := patchType(p.GroupVersionKind(), t.in.Command.Patch.Type)
	if err != nil {
		return "", err
	}
	// What this process last saw of the object can only say that the patch is needed, never that it isn't: somebody
	// else may have changed the object since. So it saves a read where there is something to write, and nothing else.
	live, unchanged := t.patched.get(ref), true
	if live != nil {
		unchanged, err = patchesNothing(p.GroupVersionKind(), kind, live, body)
	}
	if unchanged || err != nil {
		if live, err = t.cluster.get(ctx, ref); err != nil {
			return "", err
		}
		if live == nil {
			return t.missing(ref)
		}
		unchanged, err = patchesNothing(p.GroupVersionKind(), kind, live, body)
		if err != nil {
			return "", invalid(fmt.Errorf("patch %s: %w", describe(ref), err), "the patch's shape doesn't fit the object's")
		}
		if unchanged {
			return "nothing to change in", nil
		}
	}
	api, err := t.cluster.client(ref)
	if err != nil {
		return "", fmt.Errorf("patch %s: %w", describe(ref), err)
	}
	if exact {
		p.SetResourceVersion(live.GetResourceVersion())
		if body, err = json.Marshal(p.Object); err != nil {
			return "", invalid(fmt.Errorf("encode the patch of %s: %w", describe(ref), err), "")
		}
	}
	now, err := api.Patch(ctx, ref.Name, kind, body, metav1.PatchOptions{
		FieldManager: fieldManager, FieldValidation: metav1.FieldValidationStrict,
	})
	switch {
	case apierrors.IsNotFound(err):
		return t.missing(ref)
	case err != nil:
		return "", fmt.Errorf("patch %s: %w", describe(ref), err)
	}
	t.patched.put(ref, now)
	if now.GetResourceVersion() == live.GetResourceVersion() {
		return "nothing to change in", nil
	}
	t.left(step{key: keyOf(ref), before: live.Object, now: now.Object})
	return "patched", nil
}

func (t *attempt) missing(ref plan.ObjectRef) (string, error) {
	if t.in.Command.Patch.Missing == "skip" {
		return "skipped missing", nil
	}
	return "", retryable(TypeNotFound, fmt.Errorf("%s is not there to be patched", describe(ref)),
		"it is tried again until the object is there; set missing: skip if it may be missing")
}

// patchType is the type that the author chose, or strategic for the kinds that have one, else merge.
func patchType(gvk schema.GroupVersionKind, chosen string) (types.PatchType, error) {
	builtin := scheme.Scheme.Recognizes(gvk) && gvk.Group != "apiextensions.k8s.io"
	switch {
	case chosen == "merge" || chosen == "" && !builtin:
		return types.MergePatchType, nil
	case builtin && (chosen == "" || chosen == "strategic"):
		return types.StrategicMergePatchType, nil
	case chosen == "strategic":
		return "", invalid(fmt.Errorf("a strategic patch of %s", gvk.Kind), "only built-in kinds have strategic patches: use patchType: merge")
	}
	return "", invalid(fmt.Errorf("no patch type %q", chosen), "use strategic or merge")
}

// patchesNothing computes here what the patch would make of the object.
func patchesNothing(gvk schema.GroupVersionKind, kind types.PatchType, live *unstructured.Unstructured, patch []byte) (bool, error) {
	before, err := json.Marshal(live.Object)
	if err != nil {
		return false, fmt.Errorf("encode the object: %w", err)
	}
	var after []byte
	if kind == types.StrategicMergePatchType {
		o, err := scheme.Scheme.New(gvk)
		if err != nil {
			return false, err
		}
		if after, err = strategicpatch.StrategicMergePatch(before, patch, o); err != nil {
			return false, err
		}
	} else if after, err = jsonpatch.MergePatch(before, patch); err != nil {
		return false, err
	}
	changed := &unstructured.Unstructured{}
	if err := changed.UnmarshalJSON(after); err != nil {
		return false, err
	}
	return same(gvk, live.Object, changed.Object), nil
}
