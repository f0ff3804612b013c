package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// localOptions are those of the small local activities. They retry for as long as within says, 0 for ever.
func localOptions(within time.Duration) workflow.LocalActivityOptions {
	return workflow.LocalActivityOptions{
		StartToCloseTimeout:    15 * time.Second,
		ScheduleToCloseTimeout: within,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: 200 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 15 * time.Second,
		},
	}
}

// writeStatus writes the resource's status. A failure is logged and left: the status is a picture of the state, not
// the state, and the next write brings it up to date.
func writeStatus(ctx workflow.Context, in plan.StatusInput) {
	ctx = workflow.WithLocalActivityOptions(ctx, localOptions(5*time.Minute))
	err := workflow.ExecuteLocalActivity(ctx, plan.ActivityStatus, in).Get(ctx, nil)
	if err != nil && !temporal.IsCanceledError(err) {
		workflow.GetLogger(ctx).Warn("status not written", "instance", in.Instance.String(), "error", err)
	}
}

// progress is the sentence for the status while the i-th command runs.
func progress(phase plan.Phase, cs []plan.CommandStatus, i int) string {
	what := "deploying"
	if phase == plan.PhaseDeleting {
		what = "undeploying"
	}
	if len(cs) == 0 {
		return what
	}
	return fmt.Sprintf("%s: %s %q, step %d of %d", what, cs[i].Kind, cs[i].Name, i+1, len(cs))
}

// commandsTable is the Markdown that the Temporal UI shows for a list of commands.
func commandsTable(cs []plan.CommandStatus) string {
	var b strings.Builder
	b.WriteString("| step | command | state | attempts | message |\n|---|---|---|---|---|\n")
	for i, c := range cs {
		b.WriteString(fmt.Sprintf("| %d | %s %s | %s | %s | %s |\n", i+1, c.Kind, c.Name, c.State, orDash(int64(c.Attempts)), cell(c.Message)))
	}
	return b.String()
}

// details is the Markdown that the Temporal UI shows for Maintain.
func (m *maintainer) details() string {
	var b strings.Builder
	phase, _, message := m.phase()
	b.WriteString(fmt.Sprintf("**%s**: %s\n\n", phase, message))
	b.WriteString(fmt.Sprintf("generation %d, revision %s, profile %s\n\n", m.st.Resource.Generation, short(m.st.Revision), m.st.Resource.Profile))
	if len(m.st.Commands) > 0 {
		b.WriteString(commandsTable(m.st.Commands))
		b.WriteString("\n")
	}
	if len(m.st.Rules) > 0 {
		b.WriteString("| rule | state | reactions | last object | message |\n|---|---|---|---|---|\n")
		for _, r := range m.st.Rules {
			b.WriteString(fmt.Sprintf("| %s | %s | %s | %s | %s |\n", r.Name, r.State, orDash(r.Reactions), r.Object, cell(r.Message)))
		}
	}
	return b.String()
}

// phase is the instance's phase with a reason for machines and a sentence for people.
func (m *maintainer) phase() (plan.Phase, string, string) {
	switch d := m.st.Deployed; {
	case m.st.Resource.Deleting && m.undeployError != "":
		return plan.PhaseStalled, "UndeployFailed", m.undeployError
	case m.st.Resource.Deleting:
		return plan.PhaseDeleting, "Deleting", "undeploying"
	case m.st.Paused:
		return plan.PhasePaused, "Paused", "paused by a person; resume with the update 'resume'"
	case m.st.PlanError != "":
		return plan.PhaseStalled, "NoPlan", m.st.PlanError
	case m.deploy != nil:
		return plan.PhaseDeploying, "Deploying", progress(plan.PhaseDeploying, m.st.Commands, 0)
	case d == nil:
		return plan.PhaseDeploying, "Starting", "starting"
	case d.Error != "":
		return plan.PhaseStalled, "DeployFailed", d.Error
	}
	for _, k := range workflow.DeterministicKeys(m.running) {
		if r := m.running[k]; r.resting {
			return plan.PhaseStalled, "ReactionFailed", r.trouble
		}
	}
	if len(m.st.Looping) > 0 {
		return plan.PhaseStalled, "RulesLoop", m.st.Looping[0].Why
	}
	return plan.PhaseReady, "Deployed", fmt.Sprintf("generation %d is deployed", m.st.Deployed.Generation)
}

// flushStatus writes the status now, after a write that is under way.
func (m *maintainer) flushStatus(ctx workflow.Context) {
	if workflow.Await(ctx, func() bool { return !m.status.writing }) != nil {
		return
	}
	m.status.dirty, m.status.urgent, m.status.writing = false, false, true
	writeStatus(ctx, m.statusInput())
	m.status.writing, m.changed = false, true
}

// statusInput is the whole status as Maintain knows it. While Deploy runs, the commands and the conditions are Deploy's
// to report.
func (m *maintainer) statusInput() plan.StatusInput {
	in := plan.StatusInput{Instance: m.in.Instance, RunID: workflow.GetInfo(m.ctx).WorkflowExecution.RunID, Rules: m.st.Rules}
	if m.childRunning {
		return in
	}
	in.Generation, in.Revision, in.Commands = m.observed(), m.st.Revision, m.st.Commands
	in.Phase, in.Reason, in.Message = m.phase()
	in.Inventory = []plan.ObjectRef{}
	for _, c := range workflow.DeterministicKeys(m.st.Inventory) {
		in.Inventory = append(in.Inventory, m.st.Inventory[c]...)
	}
	in.Releases = []plan.Release{}
	for _, c := range workflow.DeterministicKeys(m.st.Releases) {
		in.Releases = append(in.Releases, m.st.Releases[c])
	}
	return in
}

// observed is the generation that the status speaks of: the newest one that Maintain has taken up.
func (m *maintainer) observed() int64 {
	switch {
	case m.deploy != nil:
		return m.deploy.target.Generation
	case m.st.Resource.Deleting || m.st.Deployed == nil:
		return m.st.Resource.Generation
	}
	return m.st.Deployed.Generation
}

func short(s string) string { return s[:min(12, len(s))] }

func orDash(n int64) string {
	if n == 0 {
		return "–"
	}
	return fmt.Sprint(n)
}

// cell makes s fit into a cell of a Markdown table.
func cell(s string) string {
	return plan.Clip(strings.NewReplacer("|", "\\|", "\n", " ").Replace(s), 300)
}
