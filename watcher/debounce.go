package watcher

import (
	"container/heap"
	"time"
)

// restless is how many times its debounce a target that never rests is held back at most.
const restless = 10

// resting are the targets of a queue that changed and are told once they rest. Its zero value is ready.
type resting struct {
	targets map[target]*held
	order   restOrder
	// timer is the one that counts; one that comes too late finds another here.
	timer *time.Timer
}

// held is a target that rests: until is when it will have rested long enough, latest when it is told in any case, and wake where
// the order has it, which may be too early.
type held struct {
	target
	until, latest, wake time.Time
}

// restOrder is a heap: the first is to be looked at next.
type restOrder []*held

func (o restOrder) Len() int           { return len(o) }
func (o restOrder) Less(i, j int) bool { return o[i].wake.Before(o[j].wake) }
func (o restOrder) Swap(i, j int)      { o[i], o[j] = o[j], o[i] }
func (o *restOrder) Push(x any)        { *o = append(*o, x.(*held)) }
func (o *restOrder) Pop() any {
	last := len(*o) - 1
	x := (*o)[last]
	(*o)[last] = nil
	*o = (*o)[:last]
	return x
}

// add takes in that a target changed now. It tells whether it is the first one.
func (r *resting) add(t target, debounce time.Duration, now time.Time) (first bool) {
	if e := r.targets[t]; e != nil {
		e.until = minTime(now.Add(debounce), e.latest)
		return false
	}
	if r.targets == nil {
		r.targets = map[target]*held{}
	}
	e := &held{target: t, until: now.Add(debounce), latest: now.Add(restless * debounce)}
	e.wake = e.until
	r.targets[t] = e
	heap.Push(&r.order, e)
	return r.order[0] == e
}

// rested removes the targets that have rested long enough, and says when to look again; 0: there are no more.
func (r *resting) rested(now time.Time, fn func(target)) time.Duration {
	for len(r.order) > 0 {
		switch e := r.order[0]; {
		case e.wake.After(now):
			return e.wake.Sub(now)
		case e.until.After(now):
			e.wake = e.until
			heap.Fix(&r.order, 0)
		default:
			heap.Pop(&r.order)
			delete(r.targets, e.target)
			fn(e.target)
		}
	}
	r.clear()
	return 0
}

func (r *resting) clear() {
	if r.timer != nil {
		r.timer.Stop()
	}
	*r = resting{}
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// hold keeps a target back until it rests. The mutex is held.
func (s *sender) hold(q *queue, t target, debounce time.Duration) {
	if q.resting.add(t, debounce, time.Now()) {
		s.wakeRested(q, debounce)
	}
}

// wakeRested has a queue looked at when the next of its targets may have rested. The mutex is held.
func (s *sender) wakeRested(q *queue, d time.Duration) {
	if q.resting.timer != nil {
		q.resting.timer.Stop()
	}
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if q.resting.timer != timer {
			return
		}
		next := q.resting.rested(time.Now(), func(t target) {
			q.push(t)
			s.kick(q)
		})
		if next > 0 {
			s.wakeRested(q, next)
		}
	})
	q.resting.timer = timer
}
