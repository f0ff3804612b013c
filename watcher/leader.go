package watcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// LeaseOptions say which Lease elects the process that signals. Namespace, Name and Identity are required.
type LeaseOptions struct {
	Namespace, Name string
	// Identity of this process among those that compete.
	Identity string
	// Duration is how long the others wait for a leader that is silent; default 15 s.
	Duration time.Duration
	// RenewDeadline is how long a leader tries to renew the Lease until it gives up; default 10 s, less than Duration.
	RenewDeadline time.Duration
	// RetryPeriod is how often the Lease is tried; default 2 s.
	RetryPeriod time.Duration
}

func (o *LeaseOptions) validate() error {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{{&o.Duration, 15 * time.Second}, {&o.RenewDeadline, 10 * time.Second}, {&o.RetryPeriod, 2 * time.Second}} {
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	switch {
	case o.Namespace == "" || o.Name == "" || o.Identity == "":
		return errors.New("the lease needs a namespace, a name and an identity")
	case o.RetryPeriod < 0 || o.RenewDeadline <= o.RetryPeriod*5/4 || o.Duration <= o.RenewDeadline:
		return errors.New("the lease needs a duration that is longer than its renew deadline, and that 1.25 × its retry period")
	}
	return nil
}

// lease makes this process the leader, again and again if it has to be.
//
// client-go elects. What is added here: an end of the term that doesn't depend on a request which may hang. The elector
// itself ends a term only after it has tried to give the Lease back, and then another process may lead already.
type lease struct {
	options LeaseOptions
	lock    resourcelock.Interface
	log     *slog.Logger

	mu sync.Mutex
	// renewed is when the request was made that last renewed the Lease; watchdog ends the term after it.
	renewed  time.Time
	watchdog *time.Timer
	problem  string
}

func newLease(o LeaseOptions, client coordinationv1.LeasesGetter, log *slog.Logger) (*lease, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	return &lease{options: o, log: log, lock: &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name},
		Client:     client,
		LockConfig: resourcelock.ResourceLockConfig{Identity: o.Identity},
	}}, nil
}

// run competes until ctx ends, and calls lead for each term. lead must return soon after its ctx ends; only then is the
// Lease given back.
func (l *lease) run(ctx context.Context, lead func(context.Context)) {
	for ctx.Err() == nil {
		if err := l.term(ctx, lead); err != nil {
			// The options are validated, so this is a mistake of ours; without a leader nothing works.
			l.log.Error("the leader can't be elected", "error", err)
			pause(ctx, l.options.Duration)
		}
	}
}

// term waits for the Lease, leads, and returns when that is over.
func (l *lease) term(ctx context.Context, lead func(context.Context)) error {
	t := &term{done: make(chan struct{})}
	// The elector ends after the leading, not with it: its end gives the Lease back.
	electing, end := context.WithCancel(logr.NewContext(context.WithoutCancel(ctx), logr.Discard()))
	defer end()
	defer context.AfterFunc(ctx, func() {
		if !t.close() {
			end()
		}
	})()
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:          &watchedLock{Interface: l.lock, lease: l},
		LeaseDuration: l.options.Duration, RenewDeadline: l.options.RenewDeadline, RetryPeriod: l.options.RetryPeriod,
		ReleaseOnCancel: true,
		Name:            l.options.Name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(held context.Context) {
				defer end()
				if !t.open() {
					return
				}
				defer close(t.done)
				leading, stop := context.WithCancel(ctx)
				defer stop()
				defer context.AfterFunc(held, stop)()
				defer l.guard(stop)()
				l.log.Info("this process leads", "lease", l.options.Name, "identity", l.options.Identity)
				lead(leading)
				l.log.Info("this process no longer leads", "lease", l.options.Name, "identity", l.options.Identity)
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return err
	}
	elector.Run(electing)
	if t.close() {
		<-t.done
	}
	return nil
}

// term tells whether there is a leading to wait for: the elector starts it in a goroutine and doesn't say when.
type term struct {
	mu           sync.Mutex
	begun, ended bool
	done         chan struct{}
}

// open begins the leading; false: it is too late.
func (t *term) open() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun = !t.ended
	return t.begun
}

// close sees to it that no leading begins any more, and tells whether one has.
func (t *term) close() (begun bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	return t.begun
}

// patience is how long after its last renewal a term ends: later than the elector gives up, and before another process
// can take the Lease.
func (l *lease) patience() time.Duration { return (l.options.Duration + l.options.RenewDeadline) / 2 }

// guard calls stop when the Lease has not been renewed for too long, until the guard is dismissed.
func (l *lease) guard(stop func()) (dismiss func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	timer := time.AfterFunc(time.Until(l.renewed.Add(l.patience())), stop)
	l.watchdog = timer
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		timer.Stop()
		l.watchdog = nil
	}
}

// renew takes in that a request made at a time has renewed the Lease.
func (l *lease) renew(made time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewed = made
	if l.watchdog != nil {
		l.watchdog.Reset(time.Until(made.Add(l.patience())))
	}
}

// expired tells that another process may lead. A process that was stopped for a while finds that before its timers do.
func (l *lease) expired() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.renewed) > l.patience()
}

// watchedLock tells the lease how the elector's requests go, and bounds them.
type watchedLock struct {
	resourcelock.Interface
	lease *lease
}

// Get implements resourcelock.Interface.
func (w *watchedLock) Get(ctx context.Context) (record *resourcelock.LeaderElectionRecord, raw []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, w.lease.options.RenewDeadline)
	defer cancel()
	record, raw, err = w.Interface.Get(ctx)
	if !apierrors.IsNotFound(err) {
		w.lease.report(err)
	}
	return record, raw, err
}

// Create implements resourcelock.Interface.
func (w *watchedLock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return w.write(ctx, record, w.Interface.Create)
}

// Update implements resourcelock.Interface.
func (w *watchedLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return w.write(ctx, record, w.Interface.Update)
}

func (w *watchedLock) write(ctx context.Context, record resourcelock.LeaderElectionRecord,
	send func(context.Context, resourcelock.LeaderElectionRecord) error) error {
	ctx, cancel := context.WithTimeout(ctx, w.lease.options.RenewDeadline)
	defer cancel()
	made := time.Now()
	err := send(ctx, record)
	if err == nil && record.HolderIdentity == w.Identity() {
		w.lease.renew(made)
	}
	w.lease.report(err)
	return err
}

// report tells once what is wrong with the Lease. That the API server is away is told by those who watch it.
func (l *lease) report(err error) {
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, context.Canceled) || isUnreachable(err) {
		return
	}
	problem := ""
	if err != nil {
		problem = fmt.Sprint(apierrors.ReasonForError(err))
	}
	l.mu.Lock()
	news := problem != "" && problem != l.problem
	l.problem = problem
	l.mu.Unlock()
	if news {
		l.log.Warn("the lease that elects the leader can't be had; trying again. Its namespace must exist, and get, create and update on leases be granted",
			"namespace", l.options.Namespace, "lease", l.options.Name, "error", err)
	}
}
