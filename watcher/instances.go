package watcher

import (
	"errors"
	"time"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// present takes in a custom resource that is there, and by what its objects were bound to it.
func (s *sender) present(op *operator, instance plan.Instance, signal plan.ResourceSignal, bound []binding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.byUID[instance.UID]
	if q == nil {
		q = newQueue(op, instance)
		s.attach(q)
		if s.leading {
			time.AfterFunc(resyncPatience, func() { s.locked(func() { s.kick(q) }) })
		}
	}
	for _, b := range bound {
		q.bound[b] = true
	}
	before := q.profile
	q.become(signal)
	switch {
	case q.profile == nil:
	case q.profile != before:
		s.askAll(q)
	default:
		for _, l := range q.profile.live {
			if l.usesResource {
				s.ask(q, l)
			}
		}
	}
	if q.sent == nil || *q.sent != q.want || q.unsynced {
		s.kick(q)
	}
}

// gone takes in that a custom resource is no longer there.
func (s *sender) gone(uid string) {
	s.mu.Lock()
	q := s.byUID[uid]
	if q == nil {
		s.mu.Unlock()
		return
	}
	q.gone, q.unsynced, q.list = true, false, nil
	q.forget()
	s.detach(q)
	s.kick(q)
	leading := s.leading
	s.mu.Unlock()
	if !leading {
		s.drop(q)
	}
}

// attach has a queue found by what concerns it. The mutex is held.
func (s *sender) attach(q *queue) {
	s.byUID[q.instance.UID] = q
	s.byLabel[q.label] = q
	add(s.byOperator, q.op, q)
	if q.instance.Namespace != "" {
		add(s.byNamespace, namespaceOf{q.op, q.instance.Namespace}, q)
	}
}

// detach keeps changes of objects from a queue. The mutex is held.
func (s *sender) detach(q *queue) {
	if s.byLabel[q.label] == q {
		delete(s.byLabel, q.label)
	}
	remove(s.byOperator, q.op, q)
	remove(s.byNamespace, namespaceOf{q.op, q.instance.Namespace}, q)
}

func add[K comparable](sets map[K]map[*queue]struct{}, key K, q *queue) {
	if sets[key] == nil {
		sets[key] = map[*queue]struct{}{}
	}
	sets[key][q] = struct{}{}
}

func remove[K comparable](sets map[K]map[*queue]struct{}, key K, q *queue) {
	delete(sets[key], q)
	if len(sets[key]) == 0 {
		delete(sets, key)
	}
}

// drop forgets a custom resource. Its releases stay bound if another one has taken its name.
func (s *sender) drop(q *queue) {
	s.mu.Lock()
	if s.byUID[q.instance.UID] == q {
		delete(s.byUID, q.instance.UID)
	}
	heir := s.byLabel[q.label]
	var release []binding
	for b := range q.bound {
		if heir == nil || !heir.bound[b] {
			release = append(release, b)
		}
	}
	s.mu.Unlock()
	var errs []error
	for _, b := range release {
		errs = append(errs, b.apply(s.store, ""))
	}
	if err := errors.Join(errs...); err != nil {
		s.log.Error("a gone instance's objects can't be released", "instance", q.instance.String(), "error", err)
	}
}

// mark queues a target for an instance, if the rule is one of its profile's. The mutex is held.
func (s *sender) mark(q *queue, ref ruleRef, t target) {
	switch {
	case q.profile != ref.profile || q.gone || q.completed || !s.leading:
	case ref.rule.Debounce > 0:
		s.hold(q, t, ref.rule.Debounce.Std())
	default:
		q.push(t)
		s.kick(q)
	}
}
