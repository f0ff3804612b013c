package workflows

import (
	"slices"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// queue holds the changes to be handled: of each (rule, object) only the newest, in the order of their first arrival,
// and by rule, so that a rule which has its hands full with 20,000 objects costs the others nothing.
type queue struct {
	// rules that have something waiting, the one whose turn it is first.
	rules   []string
	order   map[string][]string
	changes map[string]plan.Change
}

func newQueue() *queue {
	return &queue{order: map[string][]string{}, changes: map[string]plan.Change{}}
}

func keyOf(c plan.Change) string { return c.Rule + "|" + c.Key() }

func (q *queue) len() int { return len(q.changes) }

func (q *queue) put(c plan.Change) {
	k := keyOf(c)
	if old, ok := q.changes[k]; !ok {
		if len(q.order[c.Rule]) == 0 {
			q.rules = append(q.rules, c.Rule)
		}
		q.order[c.Rule] = append(q.order[c.Rule], k)
	} else if c.Trouble == "" && old.UID == c.UID {
		c.Trouble = old.Trouble // a newer state of the object doesn't undo that an action on it stalled
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
	out := make([]plan.Change, 0, len(q.changes))
	for _, rule := range q.rules {
		for _, k := range q.order[rule] {
			out = append(out, q.changes[k])
		}
	}
	return out
}

// drop forgets what waits for a rule.
func (q *queue) drop(rule string) {
	for _, k := range q.order[rule] {
		delete(q.changes, k)
	}
	delete(q.order, rule)
	q.rules = slices.DeleteFunc(q.rules, func(r string) bool { return r == rule })
}

// take removes and returns the first change of the first rule with room of which the object is free. The rules take
// turns.
func (q *queue) take(room func(rule string) bool, free func(key string) bool) (plan.Change, bool) {
	for i, rule := range q.rules {
		if !room(rule) {
			continue
		}
		order := q.order[rule]
		at := slices.IndexFunc(order, free)
		if at < 0 {
			continue
		}
		k := order[at]
		if at == 0 {
			order = order[1:]
		} else {
			order = slices.Delete(order, at, at+1)
		}
		q.rules = slices.Delete(q.rules, i, i+1)
		if len(order) > 0 {
			q.order[rule] = order
			q.rules = append(q.rules, rule)
		} else {
			delete(q.order, rule)
		}
		c := q.changes[k]
		delete(q.changes, k)
		return c, true
	}
	return plan.Change{}, false
}
