package watcher

import (
	"hash/maphash"
	"time"

	"golang.org/x/time/rate"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// Temporal allows a workflow run 10,000 signals. A burst is let through; after that an instance that never rests gets
// a signal every 200 ms, and its changes coalesce in between.
const (
	signalBurst = 1000
	signalRate  = rate.Limit(5)
)

// target is an object as a rule of the queue's profile sees it. A live query has neither namespace nor name.
type target struct {
	rule            int32
	namespace, name string
}

// view names how a rule sees an object: two views of a target are equal if sense.Same says so of the changes. It is a
// hash, because a queue keeps one for each object that its workflow knows of.
type view uint64

// The views that are none.
const (
	// unknown: the workflow may have learned of the target, but the answer was lost.
	unknown view = iota
	// absent: the object is gone, or not the rule's.
	absent
	someView
)

var viewSeed = maphash.MakeSeed()

func viewOf(c plan.Change) view {
	if c.Hash == "" {
		return absent
	}
	return max(someView, view(maphash.Comparable(viewSeed, plan.Change{
		UID: c.UID, Hash: c.Hash, Health: c.Health, Deleting: c.Deleting, Trouble: c.Trouble,
	})))
}

// queue is what one custom resource's workflow has yet to learn. There is one for each uid, so that a resource made
// anew under its old name and the one before it don't mix. The sender's mutex guards it.
type queue struct {
	op       *operator
	instance plan.Instance
	label    string
	bound    map[binding]bool

	// want is how the resource is, sent how its workflow last heard that it is; nil: not in this term.
	want plan.ResourceSignal
	sent *plan.ResourceSignal
	// gone: the resource is no longer there.
	gone bool
	// run is the workflow's run that took the last state of the resource.
	run string
	// completed: Temporal has this workflow's end on record; there is nobody to signal.
	completed bool

	// profile holds the rules that are matched; nil if the resource asks for one that doesn't exist.
	profile *profile
	// unsynced: a resync is due. list is the one on its way. After patience the rest doesn't wait for it; partial: then
	// what can be seen has been told for a start.
	unsynced bool
	list     *list
	patience time.Time
	partial  bool

	// dirty are the targets that changed, oldest first; resting those that are not told until they rest.
	dirty   map[target]struct{}
	order   []target
	resting resting
	// answers are how the profile's live queries stand.
	answers []answer
	// acked is what the workflow has acknowledged to know. Objects of which it knows nothing are not in it.
	acked map[target]view
	// most is how large acked was since it was made: a map never shrinks.
	most int

	state    state
	again    bool
	failures int
	limiter  *rate.Limiter
	// delays counts the pauses, so that a timer that comes too late finds that it does.
	delays int
}

// state is where a queue stands with the sender.
type state int

const (
	idle    state = iota
	ready         // in the ring
	sending       // a worker has it
	delayed       // a timer will bring it back
)

func newQueue(op *operator, instance plan.Instance) *queue {
	q := &queue{op: op, instance: instance, label: instance.Label(), bound: map[binding]bool{}}
	q.restart()
	return q
}

// restart forgets what this process has told: another one may have told something since.
func (q *queue) restart() {
	q.sent, q.run, q.completed = nil, "", false
	q.unsynced, q.list, q.patience, q.partial = true, nil, time.Now().Add(resyncPatience), false
	q.state, q.again, q.failures = idle, false, 0
	q.limiter = rate.NewLimiter(signalRate, signalBurst)
	q.delays++
	q.forget()
}

// become takes in the resource's state.
func (q *queue) become(signal plan.ResourceSignal) {
	if profile := q.op.profiles[signal.Profile]; profile != nil && profile != q.profile {
		// Other rules: what was acknowledged for the old ones says nothing.
		q.profile, q.unsynced, q.list, q.partial = profile, true, nil, false
		q.forget()
	}
	q.want = signal
}

// forget drops what is known of targets.
func (q *queue) forget() {
	q.dirty, q.order, q.acked, q.most = nil, nil, nil, 0
	q.resting.clear()
	q.answers = nil
	if q.profile != nil {
		q.answers = make([]answer, len(q.profile.live))
	}
}

// push adds a target to what changed.
func (q *queue) push(t target) {
	if _, there := q.dirty[t]; there {
		return
	}
	if q.dirty == nil {
		q.dirty = map[target]struct{}{}
	}
	q.dirty[t] = struct{}{}
	q.order = append(q.order, t)
}

// take removes targets, as many as one signal carries.
func (q *queue) take() []target {
	n := 0
	for size := 0; n < min(batch, len(q.order)); n++ {
		t := q.order[n]
		if size += sizeOf(q.profile.rules[t.rule].Name, t.namespace, t.name); size > maxSignal {
			break
		}
	}
	taken := q.order[:n:n]
	q.order = q.order[n:]
	if len(q.order) == 0 {
		// What a flood took is given back.
		q.dirty, q.order = nil, nil
	}
	for _, t := range taken {
		delete(q.dirty, t)
	}
	return taken
}

// acknowledge remembers what the workflow knows of a target.
func (q *queue) acknowledge(t target, v view) {
	if v == absent {
		delete(q.acked, t)
		return
	}
	if q.acked == nil {
		q.acked = map[target]view{}
	}
	q.acked[t] = v
	q.most = max(q.most, len(q.acked))
}

// shrink gives back what acked no longer needs.
func (q *queue) shrink() {
	if q.most < 1024 || len(q.acked) > q.most/4 {
		return
	}
	acked := make(map[target]view, len(q.acked))
	for t, v := range q.acked {
		acked[t] = v
	}
	q.acked, q.most = acked, len(acked)
}
