package watcher

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/specs/sense"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// A live query is evaluated anew for each instance of its operator when a table that it reads has changed. A table may
// change a thousand times a second and there may be 10,000 instances, so:
//
//   - a change only notes that the query is due, which costs the same for any number of instances;
//   - the instances are asked at most once per interval, and then a few at a time, so that nobody waits for the mutex;
//   - evaluators of their own run the statements, in turns of queries, so that neither signals nor other queries wait
//     for one that is slow or has many instances.
//
// What goes into the signals' queue is only that a query's rows differ from those that the workflow knows.

const (
	// queryInterval is how long a query of one instance is not evaluated again, where the rule has no debounce.
	queryInterval = 100 * time.Millisecond
	// notSyncedAgain is when a query is tried again that lacked a table.
	notSyncedAgain = 500 * time.Millisecond
	// evaluators is how many statements run at a time, perQuery how many of one query.
	evaluators = 4
	perQuery   = 2
	// maxPenalty is how long a query that exceeds its limits is left alone at most.
	maxPenalty = time.Minute
	// complaintsAgain is when an error of a query is logged once more.
	complaintsAgain = time.Hour
	// crowd is how many queues are marked without letting go of the mutex.
	crowd = 256
)

// live is a live query of a profile. The sender's mutex guards what changes.
type live struct {
	op           *operator
	profile      *profile
	rule         *sense.Rule
	index        int32
	slot         int // among the profile's live queries
	usesResource bool
	complaints   rate.Sometimes

	// due: all instances will be asked at the end of the interval that began at last.
	due  bool
	last time.Time
	// waiting are the queues for which it is to be evaluated, running is for how many it is being.
	waiting []*queue
	running int
	// penalty is how much longer its interval is, because it exceeds its limits.
	penalty time.Duration
}

// answer is how a live query of a queue stands.
type answer struct {
	// hash names the rows that were last found; empty: none were yet.
	hash string
	// tried: it has been evaluated, with or without success.
	tried bool
	// waiting: it is to be evaluated. last is when it was.
	waiting bool
	last    time.Time
}

// evaluation is a turn of a live query.
type evaluation struct {
	live  *live
	queue *queue
}

func (l *live) interval() time.Duration { return max(queryInterval, l.rule.Debounce.Std()) + l.penalty }

// touch takes in that something has changed that a live query reads. The mutex is held.
func (s *sender) touch(l *live) {
	if l.due || !s.leading {
		return
	}
	l.due = true
	time.AfterFunc(max(0, time.Until(l.last.Add(l.interval()))), func() { s.askEveryone(l) })
}

// askEveryone has a live query evaluated for all instances.
func (s *sender) askEveryone(l *live) {
	var queues []*queue
	s.locked(func() {
		l.due, l.last = false, time.Now()
		queues = members(s.byOperator[l.op])
	})
	s.crowds(queues, func(q *queue) { s.ask(q, l) })
}

// crowds calls fn with each queue, the mutex held, but not all the time.
func (s *sender) crowds(queues []*queue, fn func(*queue)) {
	for len(queues) > 0 {
		n := min(crowd, len(queues))
		s.locked(func() {
			for _, q := range queues[:n] {
				fn(q)
			}
		})
		queues = queues[n:]
	}
}

func members(set map[*queue]struct{}) []*queue {
	out := make([]*queue, 0, len(set))
	for q := range set {
		out = append(out, q)
	}
	return out
}

// askAll has all live queries of a queue evaluated. The mutex is held.
func (s *sender) askAll(q *queue) {
	if q.profile != nil {
		for _, l := range q.profile.live {
			s.ask(q, l)
		}
	}
}

// ask has a live query evaluated for a queue, once the interval is over. The mutex is held.
func (s *sender) ask(q *queue, l *live) {
	if q.profile != l.profile || q.gone || q.completed || !s.leading || q.answers[l.slot].waiting {
		return
	}
	a := &q.answers[l.slot]
	a.waiting = true
	if wait := time.Until(a.last.Add(l.interval())); !a.last.IsZero() && wait > 0 {
		s.askLater(q, a, l, wait)
		return
	}
	s.enqueue(q, l)
}

// askLater has a query evaluated after a pause, unless what is known of the queue is forgotten before. The mutex is held.
func (s *sender) askLater(q *queue, a *answer, l *live, wait time.Duration) {
	time.AfterFunc(wait, func() {
		s.locked(func() {
			if len(q.answers) > l.slot && a == &q.answers[l.slot] && q.profile == l.profile && s.leading {
				s.enqueue(q, l)
			}
		})
	})
}

func (s *sender) enqueue(q *queue, l *live) {
	l.waiting = append(l.waiting, q)
	s.line(l)
}

// line has a live query take its next turn, if it has something to evaluate and isn't in the line. The mutex is held.
func (s *sender) line(l *live) {
	if len(l.waiting) == 0 || l.running >= perQuery {
		return
	}
	for _, other := range s.asked {
		if other == l {
			return
		}
	}
	s.asked = append(s.asked, l)
	s.evaluable.Signal()
}

// nextEvaluation waits for a turn; the zero evaluation: the term is over.
func (s *sender) nextEvaluation() evaluation {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for len(s.asked) == 0 && s.leading {
			s.evaluable.Wait()
		}
		if !s.leading {
			return evaluation{}
		}
		l := s.asked[0]
		s.asked = s.asked[1:]
		if len(l.waiting) == 0 {
			continue
		}
		q := l.waiting[0]
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
		if len(l.waiting) == 0 {
			l.waiting = nil
		}
		if q.profile != l.profile || q.gone {
			s.line(l)
			continue
		}
		l.running++
		s.line(l)
		a := &q.answers[l.slot]
		a.waiting, a.last = false, time.Now()
		return evaluation{live: l, queue: q}
	}
}

// evaluate runs a live query for an instance and names its rows.
func (s *sender) evaluate(ctx context.Context, e evaluation) (hash string, err error) {
	i := e.queue.instance
	resource, _ := s.store.Get(virtual.Key{Kind: e.queue.op.kind, Namespace: i.Namespace, Name: i.Name})
	rows, err := s.store.Query(ctx, e.live.rule.Watch.SQL.Text, sense.Params(i, resource.JSON(), virtual.Object{}), virtual.Limits{})
	if err != nil {
		return "", err
	}
	return rows.Hash(), nil
}

// evaluated takes in the outcome of an evaluation. An error changes nothing of what the workflow knows.
func (s *sender) evaluated(ctx context.Context, e evaluation, hash string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, q := e.live, e.queue
	l.running--
	s.line(l)
	if ctx.Err() != nil || q.profile != l.profile || q.gone {
		return
	}
	a := &q.answers[l.slot]
	var unsynced *virtual.NotSyncedError
	var wrong *virtual.SQLError
	var limit *virtual.LimitError
	switch {
	case err == nil:
		a.tried, a.hash, l.penalty = true, hash, 0
		t := target{rule: l.index}
		if q.acked[t] != viewOf(l.change(a.hash)) {
			q.push(t)
			s.kick(q)
		}
	case errors.As(err, &unsynced):
		s.again(q, l, notSyncedAgain)
		return
	default:
		a.tried = true
		l.complaints.Do(func() {
			s.log.Warn("a live query fails", "rule", l.rule.Name, "at", l.rule.Watch.SQL.At, "instance", q.instance.String(), "error", err)
		})
		if errors.As(err, &limit) {
			l.penalty = min(max(2*l.penalty, time.Second), maxPenalty)
		}
		if !errors.As(err, &wrong) {
			s.again(q, l, l.interval()+time.Second)
		}
	}
	if q.unsynced {
		s.kick(q)
	}
}

// again has a query evaluated after a pause. The mutex is held.
func (s *sender) again(q *queue, l *live, after time.Duration) {
	if a := &q.answers[l.slot]; !a.waiting {
		a.waiting = true
		s.askLater(q, a, l, after)
	}
}

// change is what a rule's workflow is told of its rows.
func (l *live) change(hash string) plan.Change { return plan.Change{Rule: l.rule.Name, Hash: hash} }

// answered is what a queue's workflow is told of a live query; it has no hash if there is no answer yet.
func (s *sender) answered(q *queue, profile *profile, t target) plan.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range profile.live {
		if l.index == t.rule && q.profile == profile {
			return l.change(q.answers[l.slot].hash)
		}
	}
	return plan.Change{Rule: profile.rules[t.rule].Name}
}
