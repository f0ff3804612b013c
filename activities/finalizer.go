package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/retry"

	"go.temporal.io/sdk/activity"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// finalizer adds or removes Mainstay's finalizer. A resource that is gone, or whose name another one has taken, is no
// error; neither is one that is being deleted when the finalizer is to be added, for then it can't be.
func (a *Activities) finalizer(ctx context.Context, in plan.FinalizerInput) error {
	i := in.Instance
	settled := func(u *unstructured.Unstructured) bool {
		has := slices.Contains(u.GetFinalizers(), plan.Finalizer)
		return string(u.GetUID()) != i.UID || has != in.Remove || !in.Remove && u.GetDeletionTimestamp() != nil
	}
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		u := a.resources.get(resourceRef(i))
		if u == nil || settled(u) {
			var err error
			if u, err = a.readResource(ctx, i); err != nil {
				return err
			}
			if settled(u) {
				return nil
			}
		}
		finalizers := slices.DeleteFunc(slices.Clone(u.GetFinalizers()), func(f string) bool { return f == plan.Finalizer })
		if !in.Remove {
			finalizers = append(finalizers, plan.Finalizer)
		}
		// The list is replaced as a whole, so that it must be the one that was read.
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"uid": u.GetUID(), "resourceVersion": u.GetResourceVersion(), "finalizers": finalizers,
		}})
		if err != nil {
			return err
		}
		return a.patchResource(ctx, i, patch)
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return a.local(ctx, fmt.Errorf("set the finalizer of %s: %w", i, err))
	}
	return nil
}

// local judges the error of a local activity. Its Forbidden stays retryable: no one but the workflow waits for it, and
// a permission may be granted at any time.
func (a *Activities) local(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return classify(err).application(activity.GetInfo(ctx).Attempt)
}
