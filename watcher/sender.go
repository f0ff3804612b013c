package watcher

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

const (
	// senders is how many signals are on their way at a time.
	senders = 16
	// A failed signal is tried again after minBackoff, and each time twice as long after that.
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
)

// sender holds the queues of all instances and sends from them, each in its turn: an instance with a thousand changes,
// or one that Temporal refuses, holds up no other. An instance has one signal on its way at a time, so its signals
// arrive in order and everything that happens meanwhile coalesces.
type sender struct {
	temporal         signaler
	store            *virtual.Store
	settled          func(virtual.Kind) bool
	searchAttributes bool
	log              *slog.Logger
	complaints       rate.Sometimes
	workers          int

	mu   sync.Mutex
	wake *sync.Cond
	done bool
	// ring are the queues that are ready, in the order of their turns.
	ring        []*queue
	byUID       map[string]*queue
	byLabel     map[string]*queue
	byNamespace map[namespaceOf]map[*queue]struct{}
}

type namespaceOf struct {
	op        *plan.Operator
	namespace string
}

func newSender(temporal signaler, store *virtual.Store, settled func(virtual.Kind) bool, searchAttributes bool, log *slog.Logger) *sender {
	s := &sender{
		temporal:         temporal,
		store:            store,
		settled:          settled,
		searchAttributes: searchAttributes,
		log:              log,
		complaints:       rate.Sometimes{First: 3, Interval: 10 * time.Second},
		workers:          senders,
		byUID:            map[string]*queue{},
		byLabel:          map[string]*queue{},
		byNamespace:      map[namespaceOf]map[*queue]struct{}{},
	}
	s.wake = sync.NewCond(&s.mu)
	return s
}

// run sends until ctx ends.
func (s *sender) run(ctx context.Context) {
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.done = true
		s.wake.Broadcast()
	})()
	var workers sync.WaitGroup
	for range s.workers {
		workers.Go(func() {
			for {
				q := s.next()
				if q == nil {
					return
				}
				s.finish(q, s.turn(ctx, q))
			}
		})
	}
	workers.Wait()
}

// next waits for a queue's turn; nil: the sender is done.
func (s *sender) next() *queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.ring) == 0 && !s.done {
		s.wake.Wait()
	}
	if s.done {
		return nil
	}
	q := s.ring[0]
	s.ring[0] = nil
	s.ring = s.ring[1:]
	q.state, q.again = sending, false
	return q
}

// kick gives a queue a turn. The mutex is held.
func (s *sender) kick(q *queue) {
	switch q.state {
	case idle:
		q.state = ready
		s.ring = append(s.ring, q)
		s.wake.Signal()
	case sending:
		q.again = true
	}
}

// finish ends a queue's turn: it is done, has more to send, or has to wait.
func (s *sender) finish(q *queue, o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q.state = idle
	switch {
	case o.err != nil:
		q.failures++
		s.delay(q, backoff(q.failures))
		return
	case o.after > 0:
		s.delay(q, o.after)
		return
	case o.sent:
		q.failures = 0
	}
	if o.more || q.again {
		s.kick(q)
	}
}

// delay keeps a queue out of the ring for a while. The mutex is held.
func (s *sender) delay(q *queue, d time.Duration) {
	q.state = delayed
	time.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		q.state = idle
		s.kick(q)
	})
}

// backoff is how long to wait after a number of failures in a row: up to half of it is by chance, so that what failed
// together isn't tried again together.
func backoff(failures int) time.Duration {
	d := maxBackoff
	if failures < 8 {
		d = min(minBackoff<<(failures-1), maxBackoff)
	}
	return d/2 + rand.N(d/2+1)
}

// present takes in a custom resource that is there, and by what its objects were bound to it.
func (s *sender) present(op *plan.Operator, instance plan.Instance, signal plan.ResourceSignal, bound []binding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.byUID[instance.UID]
	if q == nil {
		q = newQueue(op, instance, time.Now())
		s.byUID[instance.UID] = q
		s.byLabel[q.label] = q
		if in := (namespaceOf{op, instance.Namespace}); instance.Namespace != "" {
			if s.byNamespace[in] == nil {
				s.byNamespace[in] = map[*queue]struct{}{}
			}
			s.byNamespace[in][q] = struct{}{}
		}
		time.AfterFunc(resyncPatience, func() { s.locked(func() { s.kick(q) }) })
	}
	for _, b := range bound {
		q.bound[b] = true
	}
	q.become(signal)
	if q.sent == nil || *q.sent != q.want || q.unsynced {
		s.kick(q)
	}
}

// gone takes in that a custom resource is no longer there.
func (s *sender) gone(uid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.byUID[uid]
	if q == nil {
		return
	}
	q.gone, q.unsynced, q.list = true, false, nil
	q.forget()
	s.detach(q)
	s.kick(q)
}

// detach keeps changes of objects from a queue. The mutex is held.
func (s *sender) detach(q *queue) {
	if s.byLabel[q.label] == q {
		delete(s.byLabel, q.label)
	}
	in := namespaceOf{q.op, q.instance.Namespace}
	delete(s.byNamespace[in], q)
	if len(s.byNamespace[in]) == 0 {
		delete(s.byNamespace, in)
	}
}

// drop forgets a custom resource. Its releases stay bound if another one has taken its name.
func (s *sender) drop(q *queue) {
	s.mu.Lock()
	delete(s.byUID, q.instance.UID)
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
func (s *sender) mark(q *queue, profile *plan.Profile, t target) {
	if q.profile == profile && !q.gone && !q.completed {
		q.push(t)
		s.kick(q)
	}
}

// recheck gives a turn to the instances whose resync may be possible now.
func (s *sender) recheck() {
	s.locked(func() {
		for _, q := range s.byUID {
			if q.unsynced {
				s.kick(q)
			}
		}
	})
}

func (s *sender) locked(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}
