package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"go.temporal.io/sdk/activity"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// hold puts a rule's finalizer on an object, so that its deletion waits for the rule's action, or takes it off. An
// object that is gone, or whose name another one has taken, is no error; neither is one that is being deleted already
// when it is to be held, for then it can't be.
func (a *Activities) hold(ctx context.Context, in plan.HoldInput) error {
	rec := &record{}
	ctx = withRecord(ctx, rec)
	finalizer := plan.HoldFinalizer(in.Instance, in.Rule)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		u, err := a.cluster.get(ctx, in.Object)
		if err != nil || u == nil || plan.ShortUID(string(u.GetUID())) != plan.ShortUID(in.UID) {
			return err
		}
		finalizers := u.GetFinalizers()
		has := slices.Contains(finalizers, finalizer)
		if has != in.Remove || !in.Remove && u.GetDeletionTimestamp() != nil {
			return nil
		}
		if in.Remove {
			finalizers = slices.DeleteFunc(finalizers, func(f string) bool { return f == finalizer })
		} else {
			finalizers = append(finalizers, finalizer)
		}
		// The list is replaced as a whole, so that it must be the one that was read.
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"uid": u.GetUID(), "resourceVersion": u.GetResourceVersion(), "finalizers": finalizers,
		}})
		if err != nil {
			return err
		}
		api, err := a.cluster.client(in.Object)
		if err != nil {
			return err
		}
		_, err = api.Patch(ctx, in.Object.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
		return err
	})
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f := classify(fmt.Errorf("set the finalizer of rule %q on %s: %w", in.Rule, describe(in.Object), err))
	if f.Type == TypeForbidden {
		a.cluster.denied(ctx, f, rec.all())
		f.Terminal = false // the permission may be granted at any time, and until then the object can't be let go
	}
	return f.application(activity.GetInfo(ctx).Attempt)
}
