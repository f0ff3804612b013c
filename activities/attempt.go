package activities

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/mainstay-dev/mainstay/specs"
	"github.com/mainstay-dev/mainstay/specs/plan"
)

// heartbeatEvery is how often an attempt tells Temporal that it lives, and hears of pause, reset and cancellation.
const heartbeatEvery = 2 * time.Second

// command does one command. It may be called again at any time, after a crash at any point: it must look first.
// Errors are judged by classify; Attempts in the result is filled in by the caller.
type command func(t *attempt, ctx context.Context) (plan.CommandResult, error)

// attempt is one try of one command.
type attempt struct {
	*Activities
	op  *specs.Operator
	in  plan.CommandInput
	log *slog.Logger
	// number counts from 1.
	number int32
	// rec are the API server's refusals in this attempt.
	rec   *record
	stop  <-chan struct{}
	doing atomic.Pointer[progress]

	mu sync.Mutex
	// wrote becomes CommandResult.Wrote.
	wrote plan.Changes
}

// progress is the detail of a heartbeat.
type progress struct {
	Phase string `json:"phase"`
	// Waiting says for what.
	Waiting string `json:"waiting,omitempty"`
	// Wrote is what attempts before this one wrote and this one up to now, for the attempt after it: only the last one
	// has a result.
	Wrote plan.Changes `json:"wrote,omitempty"`
}

func (t *attempt) phase(phase, waiting string) {
	t.doing.Store(&progress{Phase: phase, Waiting: plan.Clip(waiting, 256)})
}

// progress is what a heartbeat tells now.
func (t *attempt) progress() progress {
	p := *t.doing.Load()
	t.mu.Lock()
	defer t.mu.Unlock()
	p.Wrote = slices.Clone(t.wrote)
	return p
}

// command wraps a command into an activity: heartbeats, one attempt at a time per target, panics made errors, errors
// judged and shown in the resource's status.
func (a *Activities) command(op *specs.Operator, run command) func(context.Context, plan.CommandInput) (plan.CommandResult, error) {
	return func(parent context.Context, in plan.CommandInput) (plan.CommandResult, error) {
		info := activity.GetInfo(parent)
		if in.Revision != "" && in.Revision != op.Plan.Digest {
			return plan.CommandResult{}, otherRevision(op, in.Revision).application(info.Attempt)
		}
		t := &attempt{
			Activities: a, op: op, in: in, number: info.Attempt, rec: &record{}, stop: activity.GetWorkerStopChannel(parent),
			log: a.log.With("operator", in.Instance.Operator, "instance", in.Instance.String(), "command", in.Command.Name, "attempt", info.Attempt),
		}
		t.phase("starting", "")
		if activity.HasHeartbeatDetails(parent) {
			var before progress
			if err := activity.GetHeartbeatDetails(parent, &before); err == nil { // else it is of another version of Mainstay
				t.wrote = before.Wrote
			}
		}
		ctx, cancel := context.WithDeadline(withRecord(parent, t.rec), reporting(time.Now(), info.Deadline))
		defer cancel()
		defer t.heartbeat(parent)()

		res, err := t.exclusive(ctx, run)
		if err == nil {
			res.Attempts = t.number
			res.Message = plan.Clip(res.Message, maxMessage)
			res.Wrote = t.wrote
			return res, nil
		}
		if len(t.wrote) > 0 {
			activity.RecordHeartbeat(parent, t.progress())
		}
		return plan.CommandResult{}, t.failed(parent, err)
	}
}

// otherRevision says that the files which are meant are not here. The watcher of a newer revision supersedes what asked
// for them; a replica that still has the files may take it before.
func otherRevision(op *specs.Operator, asked string) *fault {
	err := fmt.Errorf("this process serves revision %.12s of operator %q, not %.12s", op.Plan.Digest, op.Plan.Name, asked)
	return &fault{Type: TypeRevision, Benign: true, Err: err, Hint: "run the same folder on all replicas"}
}

// reporting is the time at which an attempt must stop waiting, so that it can still say what it waited for: Temporal
// drops what comes after the deadline.
func reporting(now, deadline time.Time) time.Time {
	return deadline.Add(-min(5*time.Second, deadline.Sub(now)/10))
}

// heartbeat beats until the returned func is called.
func (t *attempt) heartbeat(ctx context.Context) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(heartbeatEvery)
		defer tick.Stop()
		for { // the first beat comes after a pause: most commands are over by then
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
				activity.RecordHeartbeat(ctx, t.progress())
			}
		}
	}()
	return func() { close(done); <-ended }
}

// exclusive runs the command when no other attempt at the same target runs in this process: one that Temporal has
// given up may still be inside an API call.
func (t *attempt) exclusive(ctx context.Context, run command) (res plan.CommandResult, err error) {
	key := t.in.Instance.WorkflowID() + "/" + t.in.Command.Kind + "/" + undoneOr(t.in.Command)
	if e := t.in.Event; e != nil {
		key += "/" + e.Rule + "/" + e.Change.Key()
	}
	wait, cancel := t.waiting(ctx)
	defer cancel()
	unlock, err := t.targets.lock(wait, key)
	if err != nil {
		return res, retryable(TypeUnavailable, fmt.Errorf("an earlier attempt has not ended yet: %w", err), "")
	}
	defer unlock()
	defer func() {
		if p := recover(); p != nil {
			t.log.Error("command panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = retryable(TypePanic, fmt.Errorf("panic: %v", p), "report this as a bug of Mainstay")
		}
	}()
	return run(t, ctx)
}

// undoneOr is the name of the deploy command whose work c does or takes back.
func undoneOr(c plan.Command) string {
	if c.Apply != nil && c.Apply.Undoes != "" {
		return c.Apply.Undoes
	}
	return c.Release()
}

// waiting is a context for waits: a shutdown of the worker ends it too, while API calls are let finish.
func (t *attempt) waiting(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-t.stop:
			cancel(errStopping)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// failed makes of a command's error what Temporal is to record, and shows it in the resource's status.
func (t *attempt) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		// Canceled, paused, reset or out of time: the context's cause says which, whatever the command made of it.
		cause := context.Cause(ctx)
		if temporal.IsCanceledError(cause) || errors.Is(cause, context.Canceled) {
			return context.Canceled
		}
		return cause
	}
	f := classify(err)
	if f.Type == TypeForbidden && !f.Terminal {
		t.cluster.denied(ctx, f, t.rec.all())
	}
	if f.Type != TypeStopping {
		t.report(ctx, f)
	}
	t.log.Debug("attempt failed", "type", f.Type, "terminal", f.Terminal, "error", f.message())
	return f.application(t.number)
}

// locks are mutexes by name that can be waited for with a context.
type locks struct {
	mu   sync.Mutex
	held map[string]*held
}

type held struct {
	free  chan struct{}
	users int
}

// lock waits for the name to be free. Error: the context's cause.
func (l *locks) lock(ctx context.Context, name string) (unlock func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[string]*held{}
	}
	h := l.held[name]
	if h == nil {
		h = &held{free: make(chan struct{}, 1)}
		h.free <- struct{}{}
		l.held[name] = h
	}
	h.users++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if h.users--; h.users == 0 {
			delete(l.held, name)
		}
	}
	select {
	case <-h.free:
		return func() { h.free <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}
