package workflows

import (
	"slices"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// transition compares a change with what the rule last handled, and says what happened in the one word that matters
// most to the rule; "" is a change that the rule doesn't sense. A recreated object is reported as deleted to a rule that
// senses deletions, before it is reported as created. differs is false where there is nothing to remember either.
func (m *maintainer) transition(rule plan.Rule, c plan.Change) (category plan.Category, differs bool) {
	seen, was := m.st.Seen[c.Rule][c.Key()]
	w := rule.Watch
	switch {
	case slices.Contains(w.Categories, plan.TimerDidFire):
		return plan.TimerDidFire, true
	case w.SQL != nil:
		return plan.QueryDidChange, c.Hash != "" && seen.Hash != c.Hash
	case c.Hash == "" && was && seen.UID != c.UID && older(c.ResourceVersion, seen.ResourceVersion):
		return "", false // the end of a predecessor of the object that is there
	case c.Hash == "":
		return sensed(w, plan.DidDelete), was
	case c.Trouble != "" && was && older(c.ResourceVersion, seen.ResourceVersion):
		return sensed(w, plan.DidFail), true // the trouble is news, the state isn't
	case was && older(c.ResourceVersion, seen.ResourceVersion):
		return "", false // a signal of a replica that did not know yet
	case was && seen.UID != c.UID && (slices.Contains(w.Categories, plan.DidDelete) || w.Hold):
		return sensed(w, plan.DidDelete), true
	}
	first := !was || seen.UID != c.UID || seen.Hash == "" // its creation was taken up, but never handled to the end
	if first {
		seen = plan.Seen{}
	}
	var what []plan.Category
	if c.Deleting && !seen.Deleting {
		what = append(what, plan.WillDelete)
	}
	if c.Trouble != "" {
		what = append(what, plan.DidFail)
	}
	if c.Health != seen.Health {
		switch {
		case c.Health == plan.Failed:
			what = append(what, plan.DidFail)
			if seen.Health == plan.Ready {
				what = append(what, plan.DidBecomeUnready)
			}
		case c.Health == plan.Ready:
			what = append(what, plan.DidBecomeReady)
		case seen.Health == plan.Ready:
			what = append(what, plan.DidBecomeUnready)
		}
	}
	switch {
	case first:
		what = append(what, plan.DidCreate)
	case seen.Hash != c.Hash:
		what = append(what, plan.DidUpdate)
	}
	differs = len(what) > 0 || c.Health != seen.Health
	return sensed(w, what...), differs
}

// sensed is the first of the categories that a rule wants to hear of.
func sensed(w plan.Watch, what ...plan.Category) plan.Category {
	for _, c := range what {
		if slices.Contains(w.Categories, c) ||
			(c == plan.DidCreate || c == plan.DidUpdate) && slices.Contains(w.Categories, plan.DidChange) {
			return c
		}
	}
	return ""
}

// older compares resource versions, which the API server makes as growing decimal numbers. What is no such number, or
// not there, is not older.
func older(a, b string) bool {
	if a == "" || b == "" || !decimal(a) || !decimal(b) {
		return false
	}
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a < b
}

func decimal(s string) bool {
	for _, r := range s {
		if r < '0' || r > '9' {
			return false
		}
	}
	return s[0] != '0'
}

// remember notes a state as handled. A timer has none.
func (m *maintainer) remember(c plan.Change) {
	switch r, ok := m.rule(c.Rule); {
	case ok && slices.Contains(r.Watch.Categories, plan.TimerDidFire):
	case c.Hash == "":
		delete(m.st.Seen[c.Rule], c.Key())
	default:
		seen := m.st.Seen[c.Rule][c.Key()]
		if c.Trouble != "" && older(c.ResourceVersion, seen.ResourceVersion) {
			return
		}
		m.note(c, plan.Seen{UID: c.UID, Hash: c.Hash, Health: c.Health, Deleting: c.Deleting, ResourceVersion: c.ResourceVersion,
			Held: seen.Held && seen.UID == c.UID})
	}
}

func (m *maintainer) note(c plan.Change, s plan.Seen) {
	if m.st.Seen[c.Rule] == nil {
		m.st.Seen[c.Rule] = map[string]plan.Seen{}
	}
	m.st.Seen[c.Rule][c.Key()] = s
}

// attempted notes that an object's creation was taken up without being handled to its end: if the object goes, that is
// a deletion which the rule must hear of.
func (m *maintainer) attempted(c plan.Change) {
	r, ok := m.rule(c.Rule)
	seen, was := m.st.Seen[c.Rule][c.Key()]
	if ok && (!was || r.Watch.Hold && seen.UID != c.UID) && c.Hash != "" && r.Watch.Kind != "" {
		m.note(c, plan.Seen{UID: c.UID})
	}
}
