package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// hold puts a rule's finalizer on an object, or takes it off.
func (m *maintainer) hold(ctx workflow.Context, rule plan.Rule, c plan.Change, remove bool) error {
	what := "hold"
	if remove {
		what = "let go"
	}
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		Summary:             plan.Clip(fmt.Sprintf("%s %s for rule %s", what, objectName(rule, c), rule.Name), 200),
		StartToCloseTimeout: 30 * time.Second,
		// A permission that is missing must not keep the resource from all else.
		ScheduleToCloseTimeout: 10 * time.Minute,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second},
	})
	return workflow.ExecuteActivity(ctx, plan.ActivityHold, plan.HoldInput{
		Instance: m.in.Instance, Rule: rule.Name, UID: c.UID, Remove: remove,
		Object: plan.ObjectRef{APIVersion: rule.Watch.APIVersion, Kind: rule.Watch.Kind, Namespace: c.Namespace, Name: c.Name},
	}).Get(ctx, nil)
}

// letGo takes the finalizers of rules off all objects that they hold, a few at a time.
func (m *maintainer) letGo(ctx workflow.Context, profile *plan.Profile) {
	if profile == nil {
		return
	}
	for _, rule := range profile.Rules {
		if !rule.Watch.Hold {
			continue
		}
		room := workflow.NewSemaphore(ctx, maxReactionsOfRule)
		all := workflow.NewWaitGroup(ctx)
		for _, key := range workflow.DeterministicKeys(m.st.Seen[rule.Name]) {
			ns, name := splitKey(key)
			c := plan.Change{Rule: rule.Name, Namespace: ns, Name: name, UID: m.st.Seen[rule.Name][key].UID}
			if room.Acquire(ctx, 1) != nil {
				return
			}
			all.Add(1)
			workflow.GoNamed(ctx, "let go "+key, func(ctx workflow.Context) {
				defer all.Done()
				defer room.Release(1)
				err := m.hold(ctx, rule, c, true)
				if s, ok := m.st.Seen[rule.Name][key]; ok && err == nil {
					s.Held = false
					m.note(c, s)
				}
				if err != nil && !temporal.IsCanceledError(err) {
					workflow.GetLogger(ctx).Error("an object is not let go", "rule", rule.Name, "object", key, "error", err)
				}
			})
		}
		all.Wait(ctx)
	}
}
