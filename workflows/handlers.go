package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// The names of Maintain's updates and queries.
const (
	UpdateRetry  = "retry"
	UpdateSync   = "sync"
	UpdatePause  = "pause"
	UpdateResume = "resume"

	QueryStatus  = "status"
	QueryPlan    = "plan"
	QueryRules   = "rules"
	QueryObjects = "objects"
	QueryWhy     = "why"
)

// Status is the answer to the query "status".
type Status struct {
	Phase      plan.Phase           `json:"phase"`
	Reason     string               `json:"reason"`
	Message    string               `json:"message"`
	Generation int64                `json:"generation"`
	Revision   string               `json:"revision"`
	Profile    string               `json:"profile"`
	Commands   []plan.CommandStatus `json:"commands,omitempty"`
	Rules      []plan.RuleStatus    `json:"rules,omitempty"`
	// Running and Pending count the reactions in progress and the changes that wait.
	Running int `json:"running"`
	Pending int `json:"pending"`
}

// RuleState is one entry of the answer to the query "rules".
type RuleState struct {
	plan.RuleStatus
	Watch plan.Watch `json:"watch"`
	// Objects that the rule has handled.
	Objects int `json:"objects"`
}

// Objects is the answer to the query "objects".
type Objects struct {
	Releases  map[string]plan.Release     `json:"releases,omitempty"`
	Inventory map[string][]plan.ObjectRef `json:"inventory,omitempty"`
	// Seen by rule, then by object.
	Seen map[string]map[string]plan.Seen `json:"seen,omitempty"`
}

// handle registers what people may ask for and ask.
func (m *maintainer) handle() error {
	update := func(name, description string, allowed func() error, do func()) error {
		return workflow.SetUpdateHandlerWithOptions(m.ctx, name, func(workflow.Context) (string, error) {
			do()
			m.changed = true
			m.markStatus(true)
			phase, _, message := m.phase()
			return fmt.Sprintf("%s: %s", phase, message), nil
		}, workflow.UpdateHandlerOptions{Description: description, Validator: func() error {
			if m.st.Resource.Gone {
				return errors.New("the resource is gone")
			}
			return allowed()
		}})
	}
	always := func() error { return nil }
	return errors.Join(
		update(UpdateRetry, "Try at once what has stalled.", func() error {
			if phase, _, _ := m.phase(); phase != plan.PhaseStalled {
				return fmt.Errorf("nothing has stalled: the phase is %s", phase)
			}
			return nil
		}, m.retry),
		update(UpdateSync, "Deploy again although nothing has changed.", func() error {
			if m.st.Resource.Deleting {
				return errors.New("the resource is being deleted")
			}
			return nil
		}, func() { m.again = true }),
		update(UpdatePause, "Begin no deploy and no reaction until resumed. A deletion is carried out all the same.", always,
			func() { m.st.Paused = true }),
		update(UpdateResume, "Go on after a pause.", always, func() { m.st.Paused = false }),
		m.query(QueryStatus, "The phase, the commands and the rules.", func() (any, error) {
			phase, reason, message := m.phase()
			return Status{phase, reason, message, m.st.Resource.Generation, m.st.Revision, m.st.Resource.Profile,
				m.st.Commands, m.st.Rules, len(m.running), m.queue.len()}, nil
		}),
		m.query(QueryPlan, "The plan in force: what is deployed, maintained and undeployed.", func() (any, error) { return m.st.Profile, nil }),
		m.query(QueryRules, "The rules with their last reactions.", func() (any, error) { return m.ruleStates(), nil }),
		m.query(QueryObjects, "The releases, the applied objects, and what the rules have handled.", func() (any, error) {
			return Objects{m.st.Releases, m.st.Inventory, m.st.Seen}, nil
		}),
		m.query(QueryWhy, "Why the resource is in its phase, and what happens next.", func() (any, error) { return m.why(), nil }),
	)
}

func (m *maintainer) query(name, description string, answer func() (any, error)) error {
	return workflow.SetQueryHandlerWithOptions(m.ctx, name, answer, workflow.QueryHandlerOptions{Description: description})
}

// retry ends the rests of all that has stalled.
func (m *maintainer) retry() {
	if m.undeployError != "" || m.st.PlanError != "" || m.st.Deployed != nil && m.st.Deployed.Error != "" {
		m.again = true
	}
	m.endRests()
	m.endLoops()
}

func (m *maintainer) ruleStates() []RuleState {
	out := []RuleState{}
	for _, st := range m.st.Rules {
		r, _ := m.rule(st.Name)
		out = append(out, RuleState{RuleStatus: st, Watch: r.Watch, Objects: len(m.st.Seen[st.Name])})
	}
	return out
}

// why tells in sentences what holds the instance where it is.
func (m *maintainer) why() []string {
	phase, _, message := m.phase()
	out := []string{fmt.Sprintf("%s: %s.", phase, message)}
	if d := m.st.Deployed; d != nil && d.Error != "" && m.deploy == nil {
		out = append(out, fmt.Sprintf("It stalled %d time(s) in a row; it is tried again %s after the last stall, at a change of the resource or of the operator, or with the update 'retry'.",
			d.Stalls, stallPause(d.Stalls).Round(time.Second)))
	}
	if m.deploy != nil && m.deploy.target != m.want() {
		out = append(out, fmt.Sprintf("The deploy of generation %d is being superseded by generation %d.", m.deploy.target.Generation, m.st.Resource.Generation))
	}
	if !m.st.Established && m.queue.len() > 0 {
		out = append(out, fmt.Sprintf("%d change(s) wait for the first deploy to succeed.", m.queue.len()))
	}
	for _, l := range m.st.Looping {
		out = append(out, l.Why+".")
	}
	resting := 0
	for _, k := range workflow.DeterministicKeys(m.running) {
		if m.running[k].resting {
			resting++
		}
	}
	if n := len(m.running); n > 0 {
		out = append(out, fmt.Sprintf("%d reaction(s) in progress, %d of them stalled and resting.", n, resting))
	}
	return out
}
