package watcher

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

const (
	// senders is how many signals are on their way at a time.
	senders = 16
	// A failed signal is tried again after minBackoff, and each time twice as long after that.
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
)

// sender holds the queues of all instances and, while this process leads, sends from them, each in its turn: an instance
// with a thousand changes, or one that Temporal refuses, holds up no other. An instance has one signal on its way at a
// time, so its signals arrive in order and everything that happens meanwhile coalesces.
//
// A process that doesn't lead has the queues too, empty: so it can take over at once, and then tells everything anew.
type sender struct {
	temporal signaler
	store    *virtual.Store
	// settled and tableSettled tell whether the store has everything of a kind or a table.
	settled      func(virtual.Kind) bool
	tableSettled func(string) bool
	// fenced tells that this process may no longer be the leader although nothing has ended its term yet.
	fenced           func() bool
	searchAttributes bool
	log              *slog.Logger
	complaints       rate.Sometimes
	workers          int

	mu   sync.Mutex
	wake *sync.Cond
	// leading: there is a term, and it isn't ending.
	leading bool
	// ring are the queues that are ready, in the order of their turns.
	ring        []*queue
	byUID       map[string]*queue
	byLabel     map[string]*queue
	byNamespace map[namespaceOf]map[*queue]struct{}
	byOperator  map[*operator]map[*queue]struct{}
	// live are the live queries of all operators, reading those of them that read a kind, readingAny those that read
	// all there is. asked are those that have an evaluation to be done, in the order of their turns.
	live       []*live
	reading    map[virtual.Kind][]*live
	readingAny []*live
	asked      []*live
	evaluable  *sync.Cond
}

type namespaceOf struct {
	op        *operator
	namespace string
}

func newSender(temporal signaler, store *virtual.Store, sources *sources, searchAttributes bool, log *slog.Logger) *sender {
	s := &sender{
		temporal:         temporal,
		store:            store,
		settled:          sources.settled,
		tableSettled:     sources.tableSettled,
		fenced:           func() bool { return false },
		searchAttributes: searchAttributes,
		log:              log,
		complaints:       rate.Sometimes{First: 3, Interval: 10 * time.Second},
		workers:          senders,
		byUID:            map[string]*queue{},
		byLabel:          map[string]*queue{},
		byNamespace:      map[namespaceOf]map[*queue]struct{}{},
		byOperator:       map[*operator]map[*queue]struct{}{},
		reading:          map[virtual.Kind][]*live{},
	}
	s.wake, s.evaluable = sync.NewCond(&s.mu), sync.NewCond(&s.mu)
	return s
}

// lead sends until ctx ends. Each term begins with nothing told.
func (s *sender) lead(ctx context.Context) {
	s.locked(func() {
		s.leading = true
		for _, l := range s.live {
			l.waiting, l.penalty = nil, 0
		}
		for _, q := range s.byUID {
			s.begin(q)
		}
	})
	patience := time.AfterFunc(resyncPatience, s.recheck)
	defer patience.Stop()
	defer context.AfterFunc(ctx, func() {
		s.locked(func() {
			s.leading = false
			s.wake.Broadcast()
			s.evaluable.Broadcast()
		})
	})()
	var workers sync.WaitGroup
	for range s.workers {
		workers.Go(func() {
			for q := s.next(); q != nil; q = s.next() {
				s.finish(q, s.turn(ctx, q))
			}
		})
	}
	for range evaluators {
		workers.Go(func() {
			for e := s.nextEvaluation(); e.queue != nil; e = s.nextEvaluation() {
				hash, err := s.evaluate(ctx, e)
				s.evaluated(ctx, e, hash, err)
			}
		})
	}
	workers.Wait()
	var gone []*queue
	s.locked(func() {
		s.ring, s.asked = nil, nil
		for _, q := range s.byUID {
			q.restart()
			if q.gone {
				gone = append(gone, q)
			}
		}
	})
	// Who leads now finds their workflows by the sweep.
	for _, q := range gone {
		s.drop(q)
	}
}

// begin has everything told of an instance. The mutex is held.
func (s *sender) begin(q *queue) {
	q.restart()
	s.askAll(q)
	s.kick(q)
}

// next waits for a queue's turn; nil: the term is over.
func (s *sender) next() *queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.ring) == 0 && s.leading {
		s.wake.Wait()
	}
	if !s.leading {
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
	switch {
	case !s.leading:
	case q.state == idle:
		q.state = ready
		s.ring = append(s.ring, q)
		s.wake.Signal()
	case q.state == sending:
		q.again = true
	}
}

// finish ends a queue's turn: it is done, has more to send, or has to wait.
func (s *sender) finish(q *queue, o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q.state = idle
	q.shrink()
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
	q.delays++
	this := q.delays
	time.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if q.delays == this {
			q.state = idle
			s.kick(q)
		}
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
