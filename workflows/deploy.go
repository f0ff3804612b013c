package workflows

import (
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// errorTypeStalled is the type of the error with which Deploy and Undeploy end when a command failed for good.
const errorTypeStalled = "Stalled"

// Deploy runs the deploy list for one generation of the resource. Its error carries a plan.DeployResult as detail: what
// was done up to there.
func Deploy(ctx workflow.Context, in plan.DeployInput) (plan.DeployResult, error) {
	return run(ctx, in, plan.PhaseDeploying)
}

// Undeploy runs the undeploy list. The finalizer is Maintain's business. Errors as with Deploy.
func Undeploy(ctx workflow.Context, in plan.DeployInput) (plan.DeployResult, error) {
	return run(ctx, in, plan.PhaseDeleting)
}

// run runs the commands one after the other and keeps the resource's status and the current details true.
func run(ctx workflow.Context, in plan.DeployInput, phase plan.Phase) (plan.DeployResult, error) {
	res := plan.DeployResult{Commands: pending(in.Commands)}
	show := func() { workflow.SetCurrentDetails(ctx, commandsTable(res.Commands)) }
	report := func(i int) {
		writeStatus(ctx, plan.StatusInput{
			Instance: in.Instance, Generation: in.Generation, Revision: in.Revision,
			Phase: phase, Reason: string(phase), Message: progress(phase, res.Commands, i), Commands: res.Commands,
		})
	}
	for i, c := range in.Commands {
		st := &res.Commands[i]
		now := workflow.Now(ctx)
		st.State, st.Started = plan.StateRunning, &now
		show()
		if i > 0 { // the parent has reported the start of the first
			report(i)
		}
		out, err := execute(ctx, activityID(i, c), summary(c), plan.CommandInput{
			Instance: in.Instance, Generation: in.Generation, Revision: in.Revision, Profile: in.Profile, Command: c,
			Releases: in.Releases, Inventory: in.Inventory[undoes(c)],
		})
		done := workflow.Now(ctx)
		st.Finished = &done
		if err != nil {
			st.Message, st.Attempts = explain(c, err)
			if temporal.IsCanceledError(err) {
				st.State, st.Message = plan.StateCanceled, ""
				show()
				return res, temporal.NewCanceledError(res)
			}
			st.State = plan.StateFailed
			show()
			return res, temporal.NewApplicationErrorWithOptions(st.Message, errorTypeStalled,
				temporal.ApplicationErrorOptions{NonRetryable: true, Cause: err, Details: []any{res}})
		}
		st.State, st.Message, st.Attempts = plan.StateSucceeded, out.Message, out.Attempts
		if out.Objects != nil {
			if res.Inventory == nil {
				res.Inventory = map[string][]plan.ObjectRef{}
			}
			res.Inventory[c.Name] = out.Objects
		}
		if out.Release != nil {
			if res.Releases == nil {
				res.Releases = map[string]plan.Release{}
			}
			res.Releases[c.Name] = *out.Release
		}
		show()
	}
	return res, nil
}

// pending is the status of commands of which none has started.
func pending(cs []plan.Command) []plan.CommandStatus {
	out := make([]plan.CommandStatus, len(cs))
	for i, c := range cs {
		out[i] = plan.CommandStatus{Name: c.Name, Kind: c.Kind, State: plan.StatePending}
	}
	return out
}

// undoes is the name of the deploy command that c takes back, or "".
func undoes(c plan.Command) string {
	switch {
	case c.Apply != nil:
		return c.Apply.Undoes
	case c.Helm != nil:
		return c.Helm.Undoes
	}
	return ""
}

// summary says in a line of the Temporal UI what a command of a list is about to do.
func summary(c plan.Command) string {
	switch {
	case c.Helm != nil && c.Helm.Absent:
		return fmt.Sprintf("uninstall release of %q", c.Release())
	case c.Helm != nil:
		return fmt.Sprintf("install or upgrade chart %s and wait until it is healthy", c.Helm.Chart)
	case c.Apply != nil && c.Apply.Absent:
		return fmt.Sprintf("delete what %q applied", c.Apply.Undoes)
	case c.Apply != nil:
		return fmt.Sprintf("apply %s", orInline(c.Apply.File))
	case c.Patch != nil:
		return fmt.Sprintf("patch with %s", orInline(c.Patch.File))
	}
	return c.Kind + " " + c.Name
}

func orInline(file string) string {
	if file == "" {
		return "an inline manifest"
	}
	return file
}
