package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

const (
	// maxChain is how many reactions may lead each to the next, by what they write, before the last one is stopped.
	maxChain = 10
	// writesKept is for how long, and about how many at most, it is remembered who wrote what other rules watch: a
	// watching rule hears of it within seconds.
	writesKeptFor = time.Minute
	writesKept    = 200
	// unsettled is how long the results of writes may take to arrive after the cluster told of them.
	unsettled = 10 * time.Second
	// chainShown is how many of a chain's rules a message names.
	chainShown = 4
)

// wrote takes in what a reaction wrote. What the rule watches itself is handled by that; what others watch is kept, so
// that a circle of rules is found.
//
// It is asked only now who caused the reaction itself: the reaction may have begun before the result of the command
// that caused it had arrived here.
func (m *maintainer) wrote(rule string, c plan.Change, chain []string, wrote []plan.Change) (handled plan.Change) {
	if cause := m.cause(c); len(cause) > len(chain) {
		chain = cause
	}
	handled = c
	for _, w := range wrote {
		switch {
		case w.Rule != rule:
			m.written(w, append(slices.Clone(chain), rule))
		case w.Key() == c.Key():
			if w.Was == handled.Hash && w.UID == c.UID {
				w.Was = ""
				handled = w
			}
		default:
			// From now on its reactions run one after the other, or the next would begin before this is known.
			m.serial[rule] = true
			if seen, was := m.st.Seen[rule][w.Key()]; seen.Hash == w.Was && (!was || seen.UID == w.UID) && m.running[keyOf(w)] == nil {
				m.remember(w)
				m.noted[keyOf(w)] = workflow.Now(m.ctx).UnixNano()
			}
		}
	}
	return handled
}

// written keeps one state that a rule wrote and another one watches.
func (m *maintainer) written(w plan.Change, chain []string) {
	now := workflow.Now(m.ctx)
	if len(m.writes) >= writesKept {
		for _, k := range workflow.DeterministicKeys(m.writes) {
			if now.Sub(m.writes[k].At) > writesKeptFor {
				delete(m.writes, k)
			}
		}
	}
	if len(chain) > maxChain+1 {
		chain = chain[len(chain)-maxChain-1:]
	}
	m.writes[keyOf(w)] = plan.Written{Rule: w.Rule, Key: w.Key(), Hash: w.Hash, At: now, Chain: chain}
}

// cause is the chain of rules that led to this very state of the object; nil: somebody else made it.
func (m *maintainer) cause(c plan.Change) []string {
	w, ok := m.writes[keyOf(c)]
	if !ok || w.Hash != c.Hash || workflow.Now(m.ctx).Sub(w.At) > writesKeptFor {
		return nil
	}
	return w.Chain
}

// looping tells whether the loop breaker keeps a rule from reacting to a change, and stops it if the chain that led to
// the change is too long. A state that no rule wrote ends the stop.
func (m *maintainer) looping(rule plan.Rule, c plan.Change) bool {
	chain := m.cause(c)
	long := len(chain) >= maxChain
	if w := m.writes[keyOf(c)]; len(w.Chain) >= maxChain && workflow.Now(m.ctx).Sub(w.At) <= unsettled {
		// The cluster tells of a write before its result is here; then this is most probably the next link.
		long, chain = true, w.Chain
	}
	at := slices.IndexFunc(m.st.Looping, func(l plan.Loop) bool { return keyOf(l.Change) == keyOf(c) })
	switch {
	case at >= 0 && (len(chain) > 0 || m.st.Looping[at].Change.Hash == c.Hash):
		m.st.Looping[at].Change = c
		return true
	case at >= 0:
		m.st.Looping = slices.Delete(m.st.Looping, at, at+1)
		return false
	case !long:
		return false
	}
	others := []string{}
	for _, r := range chain[max(0, len(chain)-chainShown):] {
		others = append(others, fmt.Sprintf("%q", r))
	}
	why := fmt.Sprintf("rule %q is stopped on %s: rules write against each other (%s → %q), %d reactions each led to the next",
		rule.Name, objectName(rule, c), strings.Join(others, " → "), rule.Name, len(chain))
	m.st.Looping = append(m.st.Looping, plan.Loop{Change: c, Why: why})
	m.report(rule.Name, plan.StateLooping, objectName(rule, c), why, 0)
	m.markStatus(true)
	m.lookLater(keyOf(c))
	m.announce("RulesLoop", why+"; it goes on when the object changes otherwise, or with the update 'retry'")
	return true
}

// lookLater lets a stopped rule go on if the state that it was stopped at turns out to be somebody else's.
func (m *maintainer) lookLater(key string) {
	workflow.GoNamed(m.ctx, "look at the loop again", func(ctx workflow.Context) {
		options := workflow.TimerOptions{Summary: "look at the loop again"}
		if workflow.NewTimerWithOptions(ctx, 2*unsettled, options).Get(ctx, nil) != nil {
			return
		}
		for i, l := range m.st.Looping {
			if keyOf(l.Change) == key && len(m.cause(l.Change)) == 0 {
				m.st.Looping = slices.Delete(m.st.Looping, i, i+1)
				m.queue.putBack(l.Change)
				m.changed = true
				return
			}
		}
	})
}

// announce has a Warning written on the resource, beside the loop.
func (m *maintainer) announce(reason, message string) {
	workflow.GoNamed(m.ctx, "announce", func(ctx workflow.Context) {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			StartToCloseTimeout: 30 * time.Second, ScheduleToCloseTimeout: 10 * time.Minute,
			RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second},
			Summary:     plan.Clip(message, 200),
		})
		in := plan.AnnounceInput{Instance: m.in.Instance, Type: "Warning", Reason: reason, Message: plan.Clip(message, 1000)}
		if err := workflow.ExecuteActivity(ctx, plan.ActivityAnnounce, in).Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Warn("not announced", "reason", reason, "error", err)
		}
	})
}

// endLoops lets all stopped rules react again.
func (m *maintainer) endLoops() {
	for _, l := range m.st.Looping {
		m.queue.putBack(l.Change)
	}
	m.st.Looping = nil
	clear(m.writes)
}

// keepLoops drops the stops of rules that the plan no longer has.
func (m *maintainer) keepLoops() {
	m.st.Looping = slices.DeleteFunc(m.st.Looping, func(l plan.Loop) bool {
		_, ok := m.rule(l.Change.Rule)
		return !ok
	})
}
