package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// listing is a resync of which not all parts have come.
type listing struct {
	id   string
	next int
	// present holds the keys by rule and object.
	present map[string]bool
}

// takeList takes one part of a resync. Its changes count at once, since hashes tell what is new. When the last part of
// a complete list has come, what Maintain remembers and the list lacks was deleted while nobody watched.
func (m *maintainer) takeList(r plan.Resync) {
	if m.listing == nil || m.listing.id != r.ID {
		m.listing = nil
		if r.Part == 0 {
			m.listing = &listing{id: r.ID, present: map[string]bool{}}
		}
	}
	for _, c := range r.Changes {
		m.queue.put(c)
		if m.listing != nil {
			m.listing.present[keyOf(c)] = true
		}
	}
	if m.listing == nil {
		return
	}
	if m.listing.next != r.Part {
		m.listing = nil
		return
	}
	m.listing.next++
	if !r.Last {
		return
	}
	present := m.listing.present
	m.listing = nil
	defer clear(m.noted)
	for _, rule := range workflow.DeterministicKeys(m.st.Seen) {
		if r, ok := m.rule(rule); ok && r.Watch.Kind == "" {
			continue // a live query that could not be evaluated has not gone
		}
		for _, key := range workflow.DeterministicKeys(m.st.Seen[rule]) {
			ns, name := splitKey(key)
			gone := plan.Change{Rule: rule, Namespace: ns, Name: name, UID: m.st.Seen[rule][key].UID}
			// What a rule has made since the list was sent can't be in it.
			if !present[keyOf(gone)] && (r.At == 0 || m.noted[keyOf(gone)] < r.At) {
				m.queue.put(gone)
			}
		}
	}
	// A change that was still waiting for an object which is gone by now must not be handled as if it were there.
	for _, c := range m.queue.all() {
		if r, ok := m.rule(c.Rule); ok && r.Watch.Kind != "" && c.Hash != "" && !present[keyOf(c)] {
			m.queue.put(plan.Change{Rule: c.Rule, Namespace: c.Namespace, Name: c.Name, UID: c.UID})
		}
	}
}

func splitKey(key string) (namespace, name string) {
	for i := range key {
		if key[i] == '/' {
			return key[:i], key[i+1:]
		}
	}
	return "", key
}
