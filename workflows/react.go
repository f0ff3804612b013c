package workflows

import (
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// reaction is a rule's action on one object, in progress or waiting to be tried again.
type reaction struct {
	rule   string
	cancel workflow.CancelFunc
	// next is the change that waited already when this began: of the object that was made anew under the name.
	next plan.Change
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
		} else if c, newer := m.queue.changes[k]; newer && c != m.running[k].next {
			m.running[k].cancel()
		}
	}
	if m.decisions >= maxDecisions {
		if active == 0 {
			m.breathe()
		}
		return
	}
	room := func(rule string) bool {
		return ofRule[rule] == 0 || ofRule[rule] < maxReactionsOfRule && !m.serial[rule]
	}
	free := func(key string) bool { return m.running[key] == nil }
	for active < maxReactions {
		c, ok := m.queue.take(room, free)
		if !ok {
			return
		}
		rule, ok := m.rule(c.Rule)
		if !ok {
			continue
		}
		category, differs := m.transition(rule, c)
		seen, was := m.st.Seen[c.Rule][c.Key()]
		// A rule that holds has to do so before anything happens, and to let go of what is no longer its object.
		held := was && seen.Held
		fresh := rule.Watch.Hold && c.Hash != "" && !c.Deleting && !(held && seen.UID == c.UID)
		if !differs && !fresh {
			continue
		}
		if category == "" && !fresh && !(held && c.Hash == "") {
			m.remember(c)
			continue
		}
		if c.Hash == "" && seen.UID != "" && seen.UID != c.UID {
			// The one that the rule knew is gone; another one came and went unseen.
			c.UID, c.ResourceVersion = seen.UID, seen.ResourceVersion
		}
		var next plan.Change
		if category == plan.DidDelete && c.Hash != "" {
			// Recreated under its name: first its predecessor's end, then the new object.
			m.queue.put(c)
			next = c
			c = plan.Change{Rule: c.Rule, Namespace: c.Namespace, Name: c.Name, UID: seen.UID}
		} else if category != "" && m.looping(rule, c) {
			continue
		}
		active++
		ofRule[c.Rule]++
		m.start(rule, c, category)
		m.running[keyOf(c)].next = next
	}
}

// start runs a rule's action for one change.
func (m *maintainer) start(rule plan.Rule, c plan.Change, category plan.Category) {
	ctx, cancel := workflow.WithCancel(m.ctx)
	k := keyOf(c)
	m.running[k] = &reaction{rule: rule.Name, cancel: cancel}
	workflow.GoNamed(ctx, "react "+k, func(ctx workflow.Context) {
		handled, err := m.act(ctx, rule, c, category)
		switch {
		case err == nil:
			m.remember(handled)
			if s, ok := m.st.Seen[c.Rule][c.Key()]; ok && rule.Watch.Hold && c.Hash != "" && !c.Deleting && s.UID == c.UID {
				s.Held = true
				m.note(c, s)
			}
		case ctx.Err() != nil || temporal.IsCanceledError(err):
			m.attempted(c)
			m.queue.putBack(c)
		default:
			m.attempted(c)
			m.running[k].resting, m.running[k].trouble, m.changed = true, fmt.Sprintf("rule %q on %s: %s", rule.Name, objectName(rule, c), m.lastMessage(rule.Name)), true
			m.stalls[k]++
			if m.stalls[k] == 1 {
				m.trouble(rule, c, m.running[k].trouble)
			}
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

// trouble tells the rules that sense failures of an object that another rule's action on it has stalled.
func (m *maintainer) trouble(rule plan.Rule, c plan.Change, why string) {
	for _, r := range m.st.Profile.Rules {
		seen, sees := m.st.Seen[r.Name][c.Key()]
		if r.Name == rule.Name || !sees || seen.Hash == "" || r.Watch.Kind != rule.Watch.Kind || r.Watch.APIVersion != rule.Watch.APIVersion ||
			!slices.Contains(r.Watch.Categories, plan.DidFail) {
			continue
		}
		key := r.Name + "|" + c.Key()
		if waiting, ok := m.queue.changes[key]; ok { // a newer state than the one that was handled
			waiting.Trouble = plan.Clip(why, 300)
			m.queue.changes[key] = waiting
			continue
		}
		m.queue.put(plan.Change{Rule: r.Name, Namespace: c.Namespace, Name: c.Name, UID: seen.UID, Hash: seen.Hash,
			Health: seen.Health, Deleting: seen.Deleting, ResourceVersion: seen.ResourceVersion, Trouble: plan.Clip(why, 300)})
	}
}

// act decides, and runs the commands of a rule's action in order. It returns the state that is handled by that: a later
// one than the change's where the action itself made it.
func (m *maintainer) act(ctx workflow.Context, rule plan.Rule, c plan.Change, category plan.Category) (plan.Change, error) {
	object := objectName(rule, c)
	if rule.Watch.Hold {
		remove := c.Hash == ""
		if !c.Deleting || remove {
			if err := m.hold(ctx, rule, c, remove); err != nil {
				return c, err
			}
		}
		if category == "" {
			return c, nil
		}
	}
	event := plan.Event{Rule: rule.Name, Category: category, APIVersion: rule.Watch.APIVersion, Kind: rule.Watch.Kind, Change: c}
	chain := m.cause(c)
	var wrote []plan.Change
	if yes, err := m.decide(ctx, rule, event, object); err != nil || !yes {
		if err == nil && category == plan.WillDelete && rule.Watch.Hold {
			err = m.hold(ctx, rule, c, true)
		}
		return c, err
	}
	for i, cmd := range rule.Action {
		id := fmt.Sprintf("%s/%s/%s", rule.Name, objectPart(c), activityID(i, cmd))
		why := fmt.Sprintf("%s because %s %s", summary(cmd), object, verbs[category])
		res, err := execute(ctx, id, why, plan.CommandInput{
			Instance: m.in.Instance, Revision: m.st.Revision, Profile: m.st.Profile.Name, Command: cmd, Releases: m.releases(),
			Event: &event,
		})
		if err != nil {
			m.wrote(rule.Name, c, chain, wrote)
			if !temporal.IsCanceledError(err) {
				msg, attempts := explain(cmd, err)
				m.report(rule.Name, plan.StateFailed, object, msg, attempts)
			}
			return c, err
		}
		m.decisions = 0 // an activity's result comes with another workflow task
		m.keepMade(rule.Name+"."+cmd.Name, res)
		wrote = append(wrote, res.Wrote...)
		if i == len(rule.Action)-1 {
			m.report(rule.Name, plan.StateSucceeded, object, res.Message, res.Attempts)
		}
	}
	if category == plan.WillDelete && rule.Watch.Hold {
		if err := m.hold(ctx, rule, c, true); err != nil {
			return c, err
		}
	}
	return m.wrote(rule.Name, c, chain, wrote), nil
}

// breathe ends the workflow task, so that the decisions made in it get into the history. Local activities that follow
// each other would all stay in one task, and the answer of a task has a limit.
func (m *maintainer) breathe() {
	if m.breathing {
		return
	}
	m.breathing = true
	workflow.GoNamed(m.ctx, "breathe", func(ctx workflow.Context) {
		_ = workflow.NewTimerWithOptions(ctx, time.Millisecond, workflow.TimerOptions{Summary: "record the decisions"}).Get(ctx, nil)
		m.decisions, m.breathing, m.changed = 0, false, true
	})
}

// decide asks whether the rule is to act; a rule that decides nothing always acts.
func (m *maintainer) decide(ctx workflow.Context, rule plan.Rule, event plan.Event, object string) (bool, error) {
	if rule.Decide == nil {
		return true, nil
	}
	m.decisions++
	options := localOptions(time.Minute)
	options.Summary = plan.Clip(fmt.Sprintf("decide %s because %s %s", rule.Name, object, verbs[event.Category]), 200)
	ctx = workflow.WithLocalActivityOptions(ctx, options)
	var verdict plan.DecideResult
	err := workflow.ExecuteLocalActivity(ctx, plan.ActivityDecide, plan.DecideInput{
		Instance: m.in.Instance, Revision: m.st.Revision, Profile: m.st.Profile.Name, Releases: m.releases(), Event: event,
	}).Get(ctx, &verdict)
	switch {
	case err == nil && !verdict.Act:
		m.report(rule.Name, plan.StateSkipped, object, verdict.Because, 0)
	case err != nil && !temporal.IsCanceledError(err):
		msg, attempts := reason(err)
		m.report(rule.Name, plan.StateFailed, object, plan.Clip("decide: "+msg, 1024), attempts)
	}
	return verdict.Act, err
}

// objectPart names a change's object in an activity's id.
func objectPart(c plan.Change) string {
	if c.Name == "" {
		return "-"
	}
	return c.Name
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
	plan.DidBecomeReady: "became ready", plan.DidBecomeUnready: "became unready", plan.DidFail: "failed",
	plan.WillDelete: "is being deleted", plan.QueryDidChange: "has other rows", plan.TimerDidFire: "fired",
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
