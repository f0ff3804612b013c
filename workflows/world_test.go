package workflows

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

var shop = plan.Instance{
	Operator: "shop", Namespace: "default", Name: "demo", UID: "0123456789abcdef",
	Resource: plan.Resource{Group: "example.com", Version: "v1", Kind: "Shop", Plural: "shops", Namespaced: true},
}

func second(n int) plan.Duration { return plan.Duration(time.Duration(n) * time.Second) }

func command(kind, name string) plan.Command {
	c := plan.Command{Kind: kind, Name: name, Engine: "pongo2", Timeout: second(60), Deadline: second(3600),
		Retry: plan.Retry{Initial: second(1), Max: second(30)}}
	switch kind {
	case plan.KindHelm:
		c.Helm = &plan.Helm{Chart: name}
	case plan.KindKubeApply:
		c.Apply = &plan.Apply{File: name + ".yaml"}
	case plan.KindKubePatch:
		c.Patch = &plan.Patch{File: name + ".yaml"}
	}
	return c
}

func rule(name string, categories ...plan.Category) plan.Rule {
	return plan.Rule{Name: name, Watch: plan.Watch{Categories: categories, APIVersion: "v1", Kind: "Service", Scope: plan.ScopeInstance},
		Action: []plan.Command{command(plan.KindKubePatch, "fix")}}
}

func changed(rule, name, hash string) plan.Change {
	return plan.Change{Rule: rule, Namespace: "default", Name: name, UID: "u-" + name, Hash: hash}
}

// world stands in for the cluster: it records what the workflows asked for and answers as a test says.
type world struct {
	*testsuite.TestWorkflowEnvironment
	mu sync.Mutex
	// log is what happened, in order: "helm web", "finalizer", "undo …".
	log []string
	// statuses are all that were written.
	statuses []plan.StatusInput
	// resource and profile are what the activity plan returns.
	resource  plan.ResourceSignal
	profile   *plan.Profile
	planError string
	// fail says how the n-th attempt (from 1) of a command ends.
	fail func(in plan.CommandInput, attempt int32) error
	// verdict says how a rule decides; nil: to act.
	verdict func(in plan.DecideInput) (plan.DecideResult, error)
	// wrote says what a command of a rule wrote.
	wrote func(in plan.CommandInput) []plan.Change
	// block makes a command wait for its cancellation.
	block func(in plan.CommandInput) bool
}

func newWorld(t *testing.T, p *plan.Profile) *world {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	w := &world{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), profile: p,
		resource: plan.ResourceSignal{Generation: 1, Revision: "r1", Profile: "default"}}
	w.SetTestTimeout(30 * time.Second)
	Register(w)
	for _, kind := range plan.Kinds {
		w.RegisterActivityWithOptions(w.command, activity.RegisterOptions{Name: kind})
	}
	w.RegisterActivityWithOptions(w.plan, activity.RegisterOptions{Name: plan.ActivityPlan})
	w.RegisterActivityWithOptions(w.finalizer, activity.RegisterOptions{Name: plan.ActivityFinalizer})
	w.RegisterActivityWithOptions(w.decide, activity.RegisterOptions{Name: plan.ActivityDecide})
	w.RegisterActivityWithOptions(w.next, activity.RegisterOptions{Name: plan.ActivityNext})
	w.RegisterActivityWithOptions(w.hold, activity.RegisterOptions{Name: plan.ActivityHold})
	w.RegisterActivityWithOptions(w.announce, activity.RegisterOptions{Name: plan.ActivityAnnounce})
	w.RegisterActivityWithOptions(w.status, activity.RegisterOptions{Name: plan.ActivityStatus})
	t.Cleanup(func() { w.AssertExpectations(t) })
	return w
}

// RegisterWorkflowWithOptions makes world a Registry.
func (w *world) RegisterWorkflowWithOptions(wf any, o workflow.RegisterOptions) {
	w.TestWorkflowEnvironment.RegisterWorkflowWithOptions(wf, o)
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

func (w *world) plan(context.Context, plan.PlanInput) (plan.PlanResult, error) {
	return plan.PlanResult{Resource: w.resource, Profile: w.profile, Error: w.planError}, nil
}

func (w *world) finalizer(_ context.Context, in plan.FinalizerInput) error {
	w.note("finalizer remove=%v", in.Remove)
	return nil
}

func (w *world) status(_ context.Context, in plan.StatusInput) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.statuses = append(w.statuses, in)
	return nil
}

func (w *world) decide(_ context.Context, in plan.DecideInput) (plan.DecideResult, error) {
	if w.verdict == nil {
		return plan.DecideResult{Act: true}, nil
	}
	return w.verdict(in)
}

// next knows one schedule: every full hour.
func (w *world) next(_ context.Context, in plan.NextInput) (plan.NextResult, error) {
	return plan.NextResult{At: in.After.Truncate(time.Hour).Add(time.Hour)}, nil
}

func (w *world) hold(_ context.Context, in plan.HoldInput) error {
	w.note("hold %s %s remove=%v", in.Rule, in.Object.Name, in.Remove)
	return nil
}

func (w *world) announce(_ context.Context, in plan.AnnounceInput) error {
	w.note("announce %s", in.Reason)
	return nil
}

func (w *world) command(ctx context.Context, in plan.CommandInput) (plan.CommandResult, error) {
	info := activity.GetInfo(ctx)
	what := in.Command.Kind + " " + in.Command.Name
	if e := in.Event; e != nil {
		what += fmt.Sprintf(" %s %s@%s", e.Category, e.Change.Name, e.Change.Hash)
	}
	if w.block != nil && w.block(in) {
		w.note("%s blocks", what)
		for ctx.Err() == nil {
			activity.RecordHeartbeat(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
		w.note("%s canceled", what)
		return plan.CommandResult{}, ctx.Err()
	}
	if w.fail != nil {
		if err := w.fail(in, info.Attempt); err != nil {
			w.note("%s fails", what)
			return plan.CommandResult{}, err
		}
	}
	w.note("%s", what)
	res := plan.CommandResult{Changed: true, Message: "done", Attempts: info.Attempt}
	if w.wrote != nil && in.Event != nil {
		res.Wrote = w.wrote(in)
	}
	if in.Command.Helm != nil && !in.Command.Helm.Absent {
		res.Release = &plan.Release{Name: plan.ReleaseName(in.Instance, in.Command.Name), Namespace: in.Instance.Namespace, Revision: 1}
	}
	if in.Command.Apply != nil && !in.Command.Apply.Absent {
		res.Objects = []plan.ObjectRef{{APIVersion: "v1", Kind: "ConfigMap", Namespace: "default", Name: in.Command.Name}}
	}
	return res, nil
}

// at does something after a while of workflow time.
func (w *world) at(d time.Duration, do func()) { w.RegisterDelayedCallback(do, d) }

func (w *world) send(r plan.ResourceSignal) { w.SignalWorkflow(plan.SignalResource, r) }

func (w *world) dirty(cs ...plan.Change) {
	w.SignalWorkflow(plan.SignalDirty, plan.Dirty{Changes: cs})
}

// end deletes the resource after d, so that Maintain completes.
func (w *world) end(d time.Duration) {
	w.at(d, func() {
		r := w.resource
		r.Deleting = true
		w.send(r)
	})
}

// run runs Maintain to its end and returns what happened.
func (w *world) run(t *testing.T, in plan.MaintainInput) []string {
	t.Helper()
	w.ExecuteWorkflow(plan.WorkflowMaintain, in)
	if !w.IsWorkflowCompleted() {
		t.Fatal("Maintain did not complete")
	}
	if err := w.GetWorkflowError(); err != nil {
		t.Fatalf("Maintain failed: %v", err)
	}
	return w.log
}

// lastStatus is the last status with conditions.
func (w *world) lastStatus(phase plan.Phase) *plan.StatusInput {
	for _, s := range slices.Backward(w.statuses) {
		if s.Phase == phase {
			return &s
		}
	}
	return nil
}

func count(log []string, line string) (n int) {
	for _, l := range log {
		if l == line {
			n++
		}
	}
	return n
}

func terminal(msg string) error {
	return temporal.NewNonRetryableApplicationError(msg, "Invalid", errors.New("cause"), plan.Failure{Attempts: 1, Hint: "mend it"})
}
