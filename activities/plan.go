package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/mainstay-dev/mainstay/specs"
	"github.com/mainstay-dev/mainstay/specs/plan"
)

// plan reads the custom resource and finds the profile that it asks for. A resource that is gone, or whose name another
// one has taken, is no error; neither is an unknown profile, of which the result tells, because the workflow still needs
// to know the resource's state: it may be being deleted.
func (a *Activities) plan(ctx context.Context, op *specs.Operator, in plan.PlanInput) (plan.PlanResult, error) {
	i := in.Instance
	u, err := a.readResource(ctx, i)
	if apierrors.IsNotFound(err) || err == nil && string(u.GetUID()) != i.UID {
		return plan.PlanResult{Resource: plan.ResourceSignal{Revision: op.Plan.Digest, Gone: true}}, nil
	}
	if err != nil {
		return plan.PlanResult{}, a.local(ctx, fmt.Errorf("read %s: %w", i, err))
	}
	name := u.GetAnnotations()[plan.ProfileAnnotation]
	if name == "" {
		name = plan.DefaultProfile
	}
	res := plan.PlanResult{Resource: plan.ResourceSignal{
		Generation: u.GetGeneration(), Revision: op.Plan.Digest, Profile: name, Deleting: u.GetDeletionTimestamp() != nil,
	}}
	if res.Profile = op.Plan.Profiles[name]; res.Profile == nil {
		var known []string
		for n := range op.Plan.Profiles {
			known = append(known, n)
		}
		slices.Sort(known)
		res.Error = fmt.Sprintf("operator %q has no profile %q; set the annotation %s to one of: %s",
			op.Plan.Name, name, plan.ProfileAnnotation, strings.Join(known, ", "))
	}
	return res, nil
}
