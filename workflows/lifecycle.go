package workflows

import (
	"errors"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// deployment is a Deploy in progress.
type deployment struct {
	target target
	cancel workflow.CancelFunc
}

// needsDeploy tells whether what is wanted has not been deployed, or is asked for again.
func (m *maintainer) needsDeploy() bool {
	d := m.st.Deployed
	return m.again || d == nil || target{d.Generation, d.Revision, d.Profile} != m.want()
}

// startDeploy brings the resource to what is wanted now. If that changes meanwhile, the loop cancels this and starts
// the next only when this one has ended: two never run at once.
func (m *maintainer) startDeploy() {
	want := m.want()
	ctx, cancel := workflow.WithCancel(m.ctx)
	m.deploy = &deployment{target: want, cancel: cancel}
	m.again = false
	m.stopRetryTimer()
	m.st.Commands = pending(m.st.Profile.Deploy)
	if len(m.st.Commands) > 0 {
		now := workflow.Now(ctx)
		m.st.Commands[0].State, m.st.Commands[0].Started = plan.StateRunning, &now
	}
	workflow.GoNamed(ctx, "deploy", func(ctx workflow.Context) {
		res, err := m.deployOnce(ctx, want)
		begun := m.childRunning
		m.deploy, m.childRunning, m.changed = nil, false, true
		m.keep(res)
		switch d := m.st.Deployed; {
		case temporal.IsCanceledError(err):
			if begun { // half of it may be done: what was deployed before is no longer what is there
				m.st.Deployed = nil
			}
		case err != nil:
			stalls := 1
			if d != nil && d.Error != "" && (target{d.Generation, d.Revision, d.Profile}) == want {
				stalls = d.Stalls + 1
			}
			m.st.Deployed = &plan.Deployed{Generation: want.Generation, Revision: want.Revision, Profile: want.Profile,
				Error: message(err), Stalls: stalls}
			m.startRetryTimer(stalls)
		default:
			m.st.Deployed = &plan.Deployed{Generation: want.Generation, Revision: want.Revision, Profile: want.Profile}
			m.st.Established = true
		}
		m.markStatus(true)
	})
}

// deployOnce sets the finalizer, says in the status what begins, and runs the Deploy workflow.
func (m *maintainer) deployOnce(ctx workflow.Context, want target) (plan.DeployResult, error) {
	lctx := workflow.WithLocalActivityOptions(ctx, localOptions(0))
	err := workflow.ExecuteLocalActivity(lctx, plan.ActivityFinalizer, plan.FinalizerInput{Instance: m.in.Instance}).Get(lctx, nil)
	if err != nil {
		return plan.DeployResult{}, err
	}
	m.flushStatus(ctx)
	if ctx.Err() != nil {
		return plan.DeployResult{}, ctx.Err()
	}
	m.childRunning = true
	in := m.deployInput(want)
	in.Commands = m.st.Profile.Deploy
	return m.child(ctx, plan.WorkflowDeploy, m.in.Instance.DeployID(want.Generation), in)
}

func (m *maintainer) deployInput(want target) plan.DeployInput {
	return plan.DeployInput{
		Instance: m.in.Instance, Generation: want.Generation, Revision: want.Revision, Profile: want.Profile,
		Releases: m.releases(),
	}
}

// child runs Deploy or Undeploy. What the child did comes back also when it failed.
func (m *maintainer) child(ctx workflow.Context, kind, id string, in plan.DeployInput) (plan.DeployResult, error) {
	opts := workflow.ChildWorkflowOptions{
		WorkflowID:          id,
		WaitForCancellation: true,
		StaticSummary:       plan.Clip(kind+" "+in.Instance.String(), 200),
	}
	if m.in.SearchAttributes {
		i := in.Instance
		opts.TypedSearchAttributes = temporal.NewSearchAttributes(
			temporal.NewSearchAttributeKeyKeyword("MainstayKind").ValueSet(i.Resource.Kind),
			temporal.NewSearchAttributeKeyKeyword("MainstayNamespace").ValueSet(i.Namespace),
			temporal.NewSearchAttributeKeyKeyword("MainstayName").ValueSet(i.Name),
		)
	}
	var res plan.DeployResult
	err := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, opts), kind, in).Get(ctx, &res)
	var app *temporal.ApplicationError
	var canceled *temporal.CanceledError
	switch {
	case errors.As(err, &app) && app.HasDetails():
		_ = app.Details(&res) // a detail of another shape: nothing is known of what was done
	case errors.As(err, &canceled) && canceled.HasDetails():
		_ = canceled.Details(&res)
	}
	return res, err
}

// keep takes what a Deploy did into what Maintain remembers.
func (m *maintainer) keep(res plan.DeployResult) {
	if res.Commands != nil {
		m.st.Commands = res.Commands
	}
	for _, c := range workflow.DeterministicKeys(res.Inventory) {
		if m.st.Inventory == nil {
			m.st.Inventory = map[string][]plan.ObjectRef{}
		}
		// What an earlier manifest named and this one doesn't is still there.
		m.st.Inventory[c] = union(m.st.Inventory[c], res.Inventory[c])
	}
	for _, c := range workflow.DeterministicKeys(res.Releases) {
		if m.st.Releases == nil {
			m.st.Releases = map[string]plan.Release{}
		}
		now := res.Releases[c]
		if old, ok := m.st.Releases[c]; ok && (old.Name != now.Name || old.Namespace != now.Namespace) {
			m.st.Releases[c+"."+old.Name] = old // it got another name, and the old one is still there
		}
		m.st.Releases[c] = now
	}
}

// union is a with what b has more.
func union(a, b []plan.ObjectRef) []plan.ObjectRef {
	for _, r := range b {
		if !slices.Contains(a, r) {
			a = append(a, r)
		}
	}
	return a
}

// message is the innermost sentence of a child's error.
func message(err error) string {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return app.Message()
	}
	return plan.Clip(err.Error(), 1024)
}

// startRetryTimer has a stalled Deploy tried again after a pause.
func (m *maintainer) startRetryTimer(stalls int) {
	ctx, cancel := workflow.WithCancel(m.ctx)
	m.wakeRetry = cancel
	workflow.GoNamed(ctx, "retry timer", func(ctx workflow.Context) {
		if workflow.NewTimerWithOptions(ctx, stallPause(stalls), workflow.TimerOptions{Summary: "try the stalled deploy again"}).Get(ctx, nil) == nil {
			m.lookAgain, m.changed = true, true
		}
	})
}

func (m *maintainer) stopRetryTimer() {
	if m.wakeRetry != nil {
		m.wakeRetry()
		m.wakeRetry = nil
	}
}

// undeployCommands are the plan's, and before them what undoes all else that is still there: what rules made, what
// deploy commands made that earlier revisions had, and releases under former names.
func (m *maintainer) undeployCommands() []plan.Command {
	has := map[string]bool{}
	for _, c := range m.st.Profile.Deploy {
		has[c.Kind+" "+c.Name] = true
	}
	leftover := func(kind, name string) plan.Command {
		return plan.Command{Kind: kind, Name: "undo-" + name, Engine: "pongo2", Timeout: plan.Duration(10 * time.Minute),
			Deadline: plan.Duration(time.Hour), Retry: plan.Retry{Initial: plan.Duration(time.Second), Max: plan.Duration(30 * time.Second)}}
	}
	var out []plan.Command
	for _, name := range workflow.DeterministicKeys(m.st.Releases) {
		if r := m.st.Releases[name]; !has[plan.KindHelm+" "+name] {
			c := leftover(plan.KindHelm, name)
			c.Helm = &plan.Helm{Release: r.Name, Namespace: r.Namespace, Absent: true, Undoes: name}
			out = append(out, c)
		}
	}
	for _, name := range workflow.DeterministicKeys(m.st.Inventory) {
		if !has[plan.KindKubeApply+" "+name] {
			c := leftover(plan.KindKubeApply, name)
			c.Apply = &plan.Apply{Absent: true, Undoes: name}
			out = append(out, c)
		}
	}
	return append(out, m.st.Profile.Undeploy...)
}

// startUndeploy runs Undeploy until it succeeds, then removes the finalizer. Only the resource being gone (somebody
// removed the finalizer by hand) stops it earlier.
func (m *maintainer) startUndeploy() {
	m.undeploying = true
	m.stopRetryTimer()
	ctx, cancel := workflow.WithCancel(m.ctx)
	revision := m.st.Resource.Revision
	workflow.GoNamed(ctx, "gone", func(ctx workflow.Context) {
		// Its commands name their revision; a process with another one would refuse them.
		if workflow.Await(ctx, func() bool {
			return m.st.Resource.Gone || m.undeployed || m.st.Resource.Revision != revision
		}) == nil {
			cancel()
		}
	})
	workflow.GoNamed(ctx, "undeploy", func(ctx workflow.Context) {
		defer func() { m.undeploying, m.changed = false, true }()
		m.st.Commands = pending(m.undeployCommands())
		m.flushStatus(ctx)
		// Nobody reacts any more: a finalizer would keep the object, and with it the namespace, for ever.
		m.letGo(ctx, m.st.Profile)
		in := m.deployInput(m.want())
		in.Commands, in.Inventory = m.undeployCommands(), m.st.Inventory
		m.childRunning = true
		res, err := m.child(ctx, plan.WorkflowUndeploy, m.in.Instance.UndeployID(), in)
		m.childRunning = false
		if err == nil {
			lctx := workflow.WithLocalActivityOptions(ctx, localOptions(0))
			err = workflow.ExecuteLocalActivity(lctx, plan.ActivityFinalizer,
				plan.FinalizerInput{Instance: m.in.Instance, Remove: true}).Get(lctx, nil)
		}
		if err == nil {
			m.undeployed = true
			return
		}
		if ctx.Err() != nil {
			return
		}
		if res.Commands != nil {
			m.st.Commands = res.Commands
		}
		m.undeployStalls++
		m.undeployError = message(err)
		m.flushStatus(ctx)
		m.show()
		pause := workflow.NewTimerWithOptions(ctx, stallPause(m.undeployStalls), workflow.TimerOptions{Summary: "try the stalled undeploy again"})
		// Cancelled or told to continue as new: the loop decides.
		_ = workflow.Await(ctx, func() bool { return m.again || pause.IsReady() || m.ending() })
		m.again, m.undeployError = false, ""
	})
}
