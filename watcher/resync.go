package watcher

import (
	"context"
	"crypto/rand"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// list is a resync on its way: everything that a profile's rules see, in parts. Only the worker whose turn it is
// touches what is in it.
type list struct {
	profile *plan.Profile
	id      string
	targets []target
	changes []plan.Change
	// sent is how many of changes are acknowledged, part how many parts.
	sent, part int
}

// resyncable tells whether a complete list can be made. A kind that is not yet seen completely would make the workflow
// believe that its objects were deleted; one that doesn't exist has none.
func (s *sender) resyncable(profile *plan.Profile) bool {
	for i := range profile.Rules {
		if !s.settled(kindOf(&profile.Rules[i])) {
			return false
		}
	}
	return true
}

// sendPart tells the next part of a resync.
func (s *sender) sendPart(ctx context.Context, q *queue, l *list) outcome {
	if l.id == "" {
		l.id = rand.Text()
		s.fill(q.instance, q.label, l)
	}
	end := min(l.sent+batch, len(l.changes))
	part := plan.Resync{ID: l.id, Part: l.part, Last: end == len(l.changes), Changes: l.changes[l.sent:end]}
	err := s.signal(ctx, q, plan.SignalResync, part)

	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		return s.lost(ctx, q, err)
	}
	if q.list != l {
		// The profile changed meanwhile: another list will follow.
		return outcome{sent: true, more: true}
	}
	l.sent, l.part = end, l.part+1
	if part.Last {
		clear(q.acked)
		s.acknowledge(q, l.targets, l.changes)
		q.unsynced, q.list = false, nil
	}
	return outcome{sent: true, more: q.list != nil || len(q.order) > 0}
}

// fill lists what the rules see now.
func (s *sender) fill(instance plan.Instance, label string, l *list) {
	for i := range l.profile.Rules {
		rule := &l.profile.Rules[i]
		add := func(object virtual.Object) bool {
			l.targets = append(l.targets, target{rule: rule, namespace: object.Namespace, name: object.Name})
			l.changes = append(l.changes, plan.Change{
				Rule:            rule.Name,
				Namespace:       object.Namespace,
				Name:            object.Name,
				UID:             object.UID,
				Hash:            object.Hash(),
				ResourceVersion: object.ResourceVersion,
			})
			return true
		}
		switch {
		case rule.Watch.Scope != plan.ScopeNamespace:
			s.store.ByInstance(label, kindOf(rule), add)
		case instance.Namespace != "":
			s.store.List(kindOf(rule), instance.Namespace, add)
		}
	}
}
