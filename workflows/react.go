package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// queue holds changes in the order of their first arrival, of each (rule, object) only the newest.
type queue struct {
	order   []string
	changes map[string]plan.Change
}

func newQueue() *queue { return &queue{changes: map[string]plan.Change{}} }

func keyOf(c plan.Change) string { return c.Rule + "|" + c.Key() }

func (q *queue) put(c plan.Change) {
	k := keyOf(c)
	if _, ok := q.changes[k]; !ok {
		q.order = append(q.order, k)
	}
	q.changes[k] = c
}

// putBack puts a change that could not be handled at the end, unless a newer one is there.
func (q *queue) putBack(c plan.Change) {
	if _, ok := q.changes[keyOf(c)]; !ok {
		q.put(c)
	}
}

func (q *queue) all() []plan.Change {
	out := make([]plan.Change, 0, len(q.order))
	for _, k := range q.order {
		out = append(out, q.changes[k])
	}
	return out
}

// take removes and returns the first change that free allows.
func (q *queue) take(free func(key string, c plan.Change) bool) (plan.Change, bool) {
	for i, k := range q.order {
		if c := q.changes[k]; free(k, c) {
			if i == 0 {
				q.order = q.order[1:]
			} else {
				q.order = slices.Delete(q.order, i, i+1)
			}
			delete(q.changes, k)
			return c, true
		}
	}
	return plan.Change{}, false
}

// reaction is a rule's action on one object, in progress or waiting to be tried again.
type reaction struct {
	rule   string
	cancel workflow.CancelFunc
	// resting: its action stalled, and it waits for its next try. It then holds no place, and a newer state of the
	// object ends the rest.
	resting bool
	// trouble is the sentence for people about why it stalled.
	trouble string
}

// react starts what the queue holds, as far as there is room: at most one reaction for a (rule, object), at most
// maxReactions in all, those at rest not counted.
func (m *maintainer) react() {
	active := 0
	ofRule := map[string]int{}
	for _, k := range workflow.DeterministicKeys(m.running) {
		if !m.running[k].resting {
			active++
			ofRule[m.running[k].rule]++
		} else if _, newer := m.queue.changes[k]; newer {
			m.running[k].cancel()
		}
	}
	for active < maxReactions {
		c, ok := m.queue.take(func(key string, c plan.Change) bool {
			return m.running[key] == nil && ofRule[c.Rule] < maxReactionsOfRule
		})
		if !ok {
			return
		}
		rule, ok := m.rule(c.Rule)
		if !ok {
			continue
		}
		category, differs := m.transition(c)
		if !differs {
			continue
		}
		if !senses(rule.Watch, category) {
			m.remember(c)
			continue
		}
		if category == plan.DidDelete && c.Hash != "" {
			// Recreated under its name: first its predecessor's end, then the new object.
			m.queue.put(c)
			old := m.st.Seen[c.Rule][c.Key()]
			c = plan.Change{Rule: c.Rule, Namespace: c.Namespace, Name: c.Name, UID: old.UID}
		}
		active++
		ofRule[c.Rule]++
		m.start(rule, c, category)
	}
}

// transition compares a change with what the rule last handled. A recreated object is reported as deleted to a rule
// that senses deletions, before it is reported as created.
func (m *maintainer) transition(c plan.Change) (plan.Category, bool) {
	seen, was := m.st.Seen[c.Rule][c.Key()]
	switch {
	case c.Hash == "":
		return plan.DidDelete, was
	case !was:
		return plan.DidCreate, true
	case seen.UID != c.UID:
		if r, ok := m.rule(c.Rule); ok && slices.Contains(r.Watch.Categories, plan.DidDelete) {
			return plan.DidDelete, true
		}
		return plan.DidCreate, true
	case seen.Hash == "": // its creation was taken up, but never handled to the end
		return plan.DidCreate, true
	}
	return plan.DidUpdate, seen.Hash != c.Hash
}

// senses tells whether a rule wants to hear of a transition.
func senses(w plan.Watch, c plan.Category) bool {
	if slices.Contains(w.Categories, c) {
		return true
	}
	return (c == plan.DidCreate || c == plan.DidUpdate) && slices.Contains(w.Categories, plan.DidChange)
}

// remember notes a state as handled.
func (m *maintainer) remember(c plan.Change) {
	if c.Hash == "" {
		delete(m.st.Seen[c.Rule], c.Key())
		return
	}
	m.note(c, plan.Seen{UID: c.UID, Hash: c.Hash})
}

func (m *maintainer) note(c plan.Change, s plan.Seen) {
	if m.st.Seen[c.Rule] == nil {
		m.st.Seen[c.Rule] = map[string]plan.Seen{}
	}
	m.st.Seen[c.Rule][c.Key()] = s
}

// start runs a rule's action for one change.
func (m *maintainer) start(rule plan.Rule, c plan.Change, category plan.Category) {
	ctx, cancel := workflow.WithCancel(m.ctx)
	k := keyOf(c)
	m.running[k] = &reaction{rule: rule.Name, cancel: cancel}
	workflow.GoNamed(ctx, "react "+k, func(ctx workflow.Context) {
		err := m.act(ctx, rule, c, category)
		switch {
		case err == nil:
			m.remember(c)
		case ctx.Err() != nil || temporal.IsCanceledError(err):
			m.attempted(c)
			m.queue.putBack(c)
		default:
			m.attempted(c)
			m.running[k].resting, m.running[k].trouble, m.changed = true, fmt.Sprintf("rule %q on %s: %s", rule.Name, objectName(rule, c), m.lastMessage(rule.Name)), true
			m.stalls[k]++
			m.markStatus(true)
			_ = workflow.NewTimerWithOptions(ctx, stallPause(m.stalls[k]), // cancelled: a newer state, or a retry
				workflow.TimerOptions{Summary: plan.Clip("try again: "+rule.Name+" on "+objectName(rule, c), 200)}).Get(ctx, nil)
			m.queue.putBack(c)
		}
		if m.running[k].resting {
			m.markStatus(true)
		}
		if err == nil {
			delete(m.stalls, k)
		}
		delete(m.running, k)
		m.changed = true
	})
}

// attempted notes that an object's creation was taken up without being handled to its end: if the object goes, that is
// a deletion which the rule must hear of.
func (m *maintainer) attempted(c plan.Change) {
	if _, was := m.st.Seen[c.Rule][c.Key()]; !was && c.Hash != "" {
		m.note(c, plan.Seen{UID: c.UID})
	}
}

// act runs the commands of a rule's action in order.
func (m *maintainer) act(ctx workflow.Context, rule plan.Rule, c plan.Change, category plan.Category) error {
	object := objectName(rule, c)
	for i, cmd := range rule.Action {
		id := fmt.Sprintf("%s/%s/%s", rule.Name, c.Name, activityID(i, cmd))
		why := fmt.Sprintf("%s because %s %s", summary(cmd), object, verbs[category])
		res, err := execute(ctx, id, why, plan.CommandInput{
			Instance: m.in.Instance, Revision: m.st.Revision, Profile: m.st.Profile.Name, Command: cmd, Releases: m.releases(),
			Event: &plan.Event{Rule: rule.Name, Category: category, APIVersion: rule.Watch.APIVersion, Kind: rule.Watch.Kind, Change: c},
		})
		if err != nil {
			if !temporal.IsCanceledError(err) {
				msg, attempts := explain(cmd, err)
				m.report(rule.Name, plan.StateFailed, object, msg, attempts)
			}
			return err
		}
		m.keepMade(rule.Name+"."+cmd.Name, res)
		if i == len(rule.Action)-1 {
			m.report(rule.Name, plan.StateSucceeded, object, res.Message, res.Attempts)
		}
	}
	return nil
}

// keepMade remembers what a rule's command made, so that it is undone with the resource.
func (m *maintainer) keepMade(name string, res plan.CommandResult) {
	made := plan.DeployResult{}
	if len(res.Objects) > 0 {
		made.Inventory = map[string][]plan.ObjectRef{name: res.Objects}
	}
	if res.Release != nil {
		made.Releases = map[string]plan.Release{name: *res.Release}
	}
	m.keep(made)
}

var verbs = map[plan.Category]string{
	plan.DidCreate: "appeared", plan.DidUpdate: "changed", plan.DidDelete: "was deleted",
}

// report puts a rule's last reaction into the status.
func (m *maintainer) report(rule string, state plan.State, object, message string, attempts int32) {
	now := workflow.Now(m.ctx)
	for i := range m.st.Rules {
		r := &m.st.Rules[i]
		if r.Name != rule {
			continue
		}
		urgent := r.State != state
		r.State, r.Object, r.Message, r.Attempts, r.Finished = state, object, message, attempts, &now
		if state == plan.StateSucceeded {
			r.Reactions++
		}
		m.markStatus(urgent)
	}
}

func (m *maintainer) lastMessage(rule string) string {
	for _, r := range m.st.Rules {
		if r.Name == rule {
			return r.Message
		}
	}
	return ""
}

// endRests has all stalled reactions tried again at once, or handed to the next run.
func (m *maintainer) endRests() {
	for _, k := range workflow.DeterministicKeys(m.running) {
		if m.running[k].resting {
			m.running[k].cancel()
		}
	}
}

// cancelReactions interrupts all reactions; they go back into the queue.
func (m *maintainer) cancelReactions() {
	for _, k := range workflow.DeterministicKeys(m.running) {
		m.running[k].cancel()
	}
}
