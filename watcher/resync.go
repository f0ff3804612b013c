package watcher

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/specs/sense"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// list is a resync on its way: everything that a profile's rules see, in parts. Only the worker whose turn it is
// touches what is in it.
type list struct {
	profile *profile
	id      string
	changes []plan.Change
	// acked is what the workflow knows when it has all of the list.
	acked map[target]view
	// sent is how many of changes are acknowledged, part how many parts.
	sent, part int
}

// resyncable tells whether a complete list can be made. A kind that is not yet seen completely would make the workflow
// believe that its objects were deleted; one that doesn't exist has none. Live queries are waited for with patience
// only: what a list doesn't say of one, the workflow doesn't take for gone. The mutex is held.
func (s *sender) resyncable(q *queue) bool {
	for _, kind := range q.profile.kinds {
		if !s.settled(kind) {
			return false
		}
	}
	for _, table := range q.profile.tables {
		if !s.tableSettled(table) {
			return false
		}
	}
	if time.Now().Before(q.patience) {
		for _, a := range q.answers {
			if !a.tried {
				return false
			}
		}
	}
	return true
}

// sendPart tells the next part of a resync.
func (s *sender) sendPart(ctx context.Context, q *queue, l *list) outcome {
	if l.id == "" {
		l.id = rand.Text()
		s.fill(q, l)
	}
	end := l.sent
	for size := 0; end < min(l.sent+listBatch, len(l.changes)); end++ {
		c := &l.changes[end]
		if size += sizeOf(c.Rule, c.Namespace, c.Name); size > maxSignal {
			break
		}
	}
	part := plan.Resync{At: time.Now().UnixNano(), ID: l.id, Part: l.part, Last: end == len(l.changes), Changes: l.changes[l.sent:end]}
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
		q.acked, q.most = l.acked, len(l.acked)
		q.unsynced, q.list = false, nil
	}
	return outcome{sent: true, more: q.list != nil || len(q.order) > 0}
}

// fill lists what the rules see now.
func (s *sender) fill(q *queue, l *list) {
	l.acked = map[target]view{}
	add := func(t target, c plan.Change) {
		l.changes = append(l.changes, c)
		l.acked[t] = viewOf(c)
	}
	for i, rule := range l.profile.rules {
		if rule.Watch.SQL != nil {
			t := target{rule: int32(i)}
			if c := s.answered(q, l.profile, t); c.Hash != "" {
				add(t, c)
			}
			continue
		}
		s.eachSeen(q, rule, func(o virtual.Object) {
			add(target{rule: int32(i), namespace: o.Namespace, name: o.Name}, rule.Change(o))
		})
	}
}

// pushSeen has everything told that the rules see now, where no complete list can be made of it. Deletions that nobody
// watched stay unknown until one can.
func (s *sender) pushSeen(q *queue, profile *profile) {
	var targets []target
	for i, rule := range profile.rules {
		s.eachSeen(q, rule, func(o virtual.Object) {
			targets = append(targets, target{rule: int32(i), namespace: o.Namespace, name: o.Name})
		})
	}
	s.locked(func() {
		if q.profile == profile && !q.gone {
			for _, t := range targets {
				q.push(t)
			}
		}
	})
}

// eachSeen calls fn with the objects that a rule sees for an instance.
func (s *sender) eachSeen(q *queue, rule *sense.Rule, fn func(virtual.Object)) {
	if rule.Kind == (virtual.Kind{}) {
		return // a timer
	}
	seen := func(o virtual.Object) bool {
		if rule.Sees(q.instance, q.label, o) {
			fn(o)
		}
		return true
	}
	switch rule.Watch.Scope {
	case plan.ScopeCluster:
		s.store.List(rule.Kind, rule.Watch.Namespace, seen)
	case plan.ScopeNamespace:
		if q.instance.Namespace != "" {
			s.store.List(rule.Kind, q.instance.Namespace, seen)
		}
	default:
		s.store.ByInstance(q.label, rule.Kind, seen)
	}
}
