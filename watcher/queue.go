package watcher

import (
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

// target is an object as a rule sees it.
type target struct {
	rule            *plan.Rule
	namespace, name string
}

// queue is what one custom resource's workflow has yet to learn. There is one for each uid, so that a resource made
// anew under its old name and the one before it don't mix. The sender's mutex guards it.
type queue struct {
	op       *plan.Operator
	instance plan.Instance
	label    string
	bound    map[binding]bool

	// want is how the resource is, sent how its workflow last heard that it is; nil: not in this process.
	want plan.ResourceSignal
	sent *plan.ResourceSignal
	// gone: the resource is no longer there.
	gone bool
	// run is the workflow's run that took the last state of the resource.
	run string
	// completed: Temporal has this workflow's end on record; there is nobody to signal.
	completed bool

	// profile holds the rules that are matched; nil if the resource asks for one that doesn't exist.
	profile *plan.Profile
	// unsynced: a resync is due. list is the one on its way. After patience the rest doesn't wait for it.
	unsynced bool
	list     *list
	patience time.Time

	// dirty are the targets that changed, oldest first.
	dirty map[target]bool
	order []target
	// acked are the hashes that the workflow has acknowledged; "": it may have learned of the target, but the answer
	// was lost.
	acked map[target]string

	state    state
	again    bool
	failures int
	limiter  *rate.Limiter
}

// state is where a queue stands with the sender.
type state int

const (
	idle    state = iota
	ready         // in the ring
	sending       // a worker has it
	delayed       // a timer will bring it back
)

func newQueue(op *plan.Operator, instance plan.Instance, now time.Time) *queue {
	return &queue{
		op:       op,
		instance: instance,
		label:    instance.Label(),
		bound:    map[binding]bool{},
		unsynced: true,
		patience: now.Add(resyncPatience),
		dirty:    map[target]bool{},
		acked:    map[target]string{},
		limiter:  rate.NewLimiter(signalRate, signalBurst),
	}
}

// become takes in the resource's state.
func (q *queue) become(signal plan.ResourceSignal) {
	if profile := q.op.Profiles[signal.Profile]; profile != nil && profile != q.profile {
		// Other rules: what was acknowledged for the old ones says nothing.
		q.profile, q.unsynced, q.list = profile, true, nil
		q.forget()
	}
	q.want = signal
}

// forget drops what is known of targets.
func (q *queue) forget() {
	clear(q.dirty)
	clear(q.acked)
	q.order = nil
}

// push adds a target to what changed.
func (q *queue) push(t target) {
	if !q.dirty[t] {
		q.dirty[t] = true
		q.order = append(q.order, t)
	}
}

// take removes up to n targets.
func (q *queue) take(n int) []target {
	n = min(n, len(q.order))
	taken := q.order[:n:n]
	q.order = q.order[n:]
	if len(q.order) == 0 {
		q.order = nil
	}
	for _, t := range taken {
		delete(q.dirty, t)
	}
	return taken
}
