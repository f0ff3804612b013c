package watcher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

var leaseOptions = LeaseOptions{Namespace: "default", Name: "mainstay", Identity: "one"}

// leaseServer is a Lease in memory. It can be away, and it can hang.
type leaseServer struct {
	mu     sync.Mutex
	record *resourcelock.LeaderElectionRecord
	err    error
	hang   bool
}

// holder is a process's way to the Lease.
type holder struct {
	*leaseServer
	identity string
}

func (h holder) do(ctx context.Context, fn func() error) error {
	h.mu.Lock()
	hang := h.hang
	h.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return h.err
	}
	return fn()
}

func (h holder) Get(ctx context.Context) (r *resourcelock.LeaderElectionRecord, raw []byte, err error) {
	err = h.do(ctx, func() error {
		if h.record == nil {
			return apierrors.NewNotFound(schema.GroupResource{Resource: "leases"}, "mainstay")
		}
		copied := *h.record
		r = &copied
		raw, err = json.Marshal(r)
		return err
	})
	return r, raw, err
}

func (h holder) write(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return h.do(ctx, func() error { h.record = &r; return nil })
}

func (h holder) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return h.write(ctx, r)
}
func (h holder) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return h.write(ctx, r)
}
func (h holder) RecordEvent(string) {}
func (h holder) Identity() string   { return h.identity }
func (h holder) Describe() string   { return "a Lease" }

func (s *leaseServer) set(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}

func (s *leaseServer) holder() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record.HolderIdentity
}

// compete has a process compete for the Lease until stop.
func compete(t *testing.T, s *leaseServer, identity string, log *slog.Logger, lead func(context.Context)) (stop func()) {
	t.Helper()
	o := leaseOptions
	o.Identity = identity
	l, err := newLease(o, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	l.lock = holder{s, identity}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.run(ctx, lead) }()
	return func() { cancel(); <-done }
}

// terms records who leads.
type terms struct {
	mu   sync.Mutex
	who  map[string]bool
	both bool
}

func (r *terms) of(identity string) func(context.Context) {
	return func(ctx context.Context) {
		r.mark(identity, true)
		<-ctx.Done()
		r.mark(identity, false)
	}
}

func (r *terms) mark(identity string, leads bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.who == nil {
		r.who = map[string]bool{}
	}
	r.who[identity] = leads
	r.both = r.both || r.who["one"] && r.who["two"]
}

func (r *terms) leader() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, name := range []string{"one", "two"} {
		if r.who[name] {
			names = append(names, name)
		}
	}
	return strings.Join(names, "+")
}

func TestLease(t *testing.T) {
	t.Run("is given back at the end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, r := &leaseServer{}, &terms{}
			stopOne := compete(t, s, "one", quiet(), r.of("one"))
			time.Sleep(time.Second)
			stopTwo := compete(t, s, "two", quiet(), r.of("two"))
			time.Sleep(time.Minute)
			if r.leader() != "one" {
				t.Fatalf("%q leads", r.leader())
			}
			stopOne()
			if s.holder() != "" {
				t.Errorf("%q still has the lease", s.holder())
			}
			time.Sleep(5 * time.Second)
			if r.leader() != "two" || r.both {
				t.Errorf("%q leads; both once: %v", r.leader(), r.both)
			}
			stopTwo()
		})
	})
	for name, fail := range map[string]func(*leaseServer){
		"refused": func(s *leaseServer) { s.err = apierrors.NewServiceUnavailable("away") },
		"hanging": func(s *leaseServer) { s.hang = true },
	} {
		t.Run("survives an API server that is "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				s, r := &leaseServer{}, &terms{}
				stopOne := compete(t, s, "one", slog.New(slog.NewTextHandler(&log, nil)), r.of("one"))
				time.Sleep(10 * time.Second)
				s.set(func() { fail(s) })
				time.Sleep(9 * time.Second)
				if r.leader() != "one" {
					t.Errorf("%q leads after a short outage", r.leader())
				}
				time.Sleep(leaseOptionsDuration - 9*time.Second)
				if r.leader() != "" {
					t.Error("it leads although another may")
				}
				time.Sleep(time.Minute)
				s.set(func() { s.err, s.hang = nil, false })
				time.Sleep(20 * time.Second)
				if r.leader() != "one" {
					t.Error("it does not lead again")
				}
				stopOne()
				if n := strings.Count(log.String(), "this process leads"); n != 2 {
					t.Errorf("%d lines:\n%s", n, log.String())
				}
			})
		})
	}
	t.Run("goes to another when the leader hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, r := &leaseServer{}, &terms{}
			// The first one's way to the server is its own, and breaks.
			way := &leaseServer{}
			stopOne := compete(t, way, "one", quiet(), r.of("one"))
			time.Sleep(time.Second)
			way.set(func() { s.record = way.record })
			stopTwo := compete(t, s, "two", quiet(), r.of("two"))
			way.set(func() { way.hang = true })
			time.Sleep(40 * time.Second)
			if r.leader() != "two" || r.both {
				t.Errorf("%q leads; both once: %v", r.leader(), r.both)
			}
			stopOne()
			stopTwo()
		})
	})
	t.Run("is told once if it is forbidden", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			s := &leaseServer{err: apierrors.NewForbidden(schema.GroupResource{Resource: "leases"}, "mainstay", errors.New("no"))}
			stopOne := compete(t, s, "one", slog.New(slog.NewTextHandler(&log, nil)), func(context.Context) { t.Error("it leads") })
			time.Sleep(time.Minute)
			stopOne()
			if n := strings.Count(log.String(), "level=WARN"); n != 1 {
				t.Errorf("%d warnings:\n%s", n, log.String())
			}
		})
	})
}

const leaseOptionsDuration = 15 * time.Second

func TestLeaseOptions(t *testing.T) {
	for _, o := range []LeaseOptions{
		{}, {Namespace: "n", Name: "n"}, {Namespace: "n", Name: "n", Identity: "i", Duration: time.Second},
		{Namespace: "n", Name: "n", Identity: "i", RetryPeriod: 9 * time.Second},
	} {
		if err := o.validate(); err == nil {
			t.Errorf("%+v is fine", o)
		}
	}
	o := leaseOptions
	if err := o.validate(); err != nil || o.Duration != leaseOptionsDuration {
		t.Errorf("%+v: %v", o, err)
	}
}

// TestALeaderChange has two processes on one store: while the second follows it says nothing; when it leads it tells
// everything once, what went meanwhile is gone, and what is on its way of the first ends.
func TestALeaderChange(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "uid-a")
		for i := range 10 {
			b.put(services, "default", fmt.Sprint("s", i), fmt.Sprint("s", i), b.belongs("a"))
		}
		time.Sleep(time.Second)
		first := b.temporal.made()

		b.stop()
		if b.watcher.Leading() {
			t.Error("it leads although its term is over")
		}
		// As a follower it takes in what happens, and says and keeps nothing.
		b.remove(services, "default", "s0")
		for i := range 100 {
			b.put(services, "default", "s1", "s1", b.belongs("a"), fmt.Sprintf(`"annotations":{"n":"%d"}`, i))
		}
		b.put(demos, "default", "b", "uid-b")
		b.put(demos, "default", "brief", "uid-c")
		b.remove(demos, "default", "brief")
		time.Sleep(time.Minute)
		if n := len(b.temporal.made()) - len(first); n != 0 {
			t.Errorf("%d signals of a follower", n)
		}
		b.watcher.locked(func() {
			if q := b.watcher.byUID["uid-a"]; len(q.dirty)+len(q.acked) > 0 || len(b.watcher.byUID) != 2 {
				t.Errorf("a follower keeps %d dirty, %d acknowledged targets and %d queues", len(q.dirty), len(q.acked), len(b.watcher.byUID))
			}
		})

		for range 3 {
			before := len(b.temporal.made())
			b.lead()
			time.Sleep(time.Second)
			if !b.watcher.Leading() {
				t.Error("it doesn't lead")
			}
			want := []string{"services default/s1"}
			for i := 2; i < 10; i++ {
				want = append(want, fmt.Sprint("services default/s", i))
			}
			b.believes("a", "uid-a", want...)
			b.believes("b", "uid-b")
			if n := len(b.temporal.made()) - before; n != 4 { // the resource and one resync of each
				t.Errorf("%d signals: %q", n, b.temporal.made()[before:])
			}
			b.stop()
		}
		b.lead()
	})
}

func TestATermThatEndsCancelsWhatIsOnItsWay(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "uid-a")
		synctest.Wait()
		b.temporal.set(func(s *temporalServer) {
			s.hang = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		})
		b.put(services, "default", "s", "s", b.belongs("a"))
		synctest.Wait()
		began := time.Now()
		b.stop()
		if d := time.Since(began); d > 0 {
			t.Errorf("the term went on for %s", d)
		}
		b.temporal.set(func(s *temporalServer) { s.hang = nil })
		b.lead()
		time.Sleep(time.Second)
		b.believes("a", "uid-a", "services default/s")
	})
}

func TestAFencedLeaderIsSilent(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "uid-a")
		synctest.Wait()
		b.watcher.fenced = func() bool { return true }
		told := len(b.temporal.made())
		b.put(services, "default", "s", "s", b.belongs("a"))
		time.Sleep(time.Minute)
		if n := len(b.temporal.made()) - told; n != 0 {
			t.Errorf("%d signals", n)
		}
	})
}

func TestTheSweep(t *testing.T) {
	api := newAPIServer(t, demos, services, configMaps)
	api.put(demos, "default", "here", "uid-here")
	api.put(demos, "default", "anew", "uid-anew-2")
	temporal := newTemporal()
	resource := demoOperator().Plan.Resource
	id := func(name, uid string) string {
		return plan.Instance{Resource: resource, Namespace: "default", Name: name, UID: uid}.WorkflowID()
	}
	for _, w := range []string{id("here", "uid-here"), id("gone", "uid-gone"), id("anew", "12345678"), id("gone2", "uid-gon2"), "demos/other", id("here", "uid-here") + "/deploy/g1"} {
		temporal.workflows[w] = &workflowState{believes: map[string]string{}, last: map[string]plan.Change{}}
	}
	refused := 0
	temporal.refuse = func(_, signal string) error {
		if signal == "list" && refused < 2 {
			refused++
			return errors.New("visibility is away")
		}
		return nil
	}
	p := runWith(t, api.config(), temporal, demoOperator())
	for _, gone := range []string{id("gone", "uid-gone"), id("anew", "12345678"), id("gone2", "uid-gon2")} {
		p.until(gone+" is told", func() (told bool) {
			temporal.of(gone, func(w *workflowState) { told = w.resource.Gone })
			return told
		})
	}
	p.believes("here", "uid-here")
	for _, here := range []string{id("here", "uid-here"), id("anew", "uid-anew-2"), "demos/other", id("here", "uid-here") + "/deploy/g1"} {
		temporal.of(here, func(w *workflowState) {
			if w != nil && w.resource.Gone {
				t.Errorf("%s was told that its resource is gone", here)
			}
		})
	}
	want := "list WorkflowType='Maintain' AND TaskQueue='mainstay/demos.example.com' AND ExecutionStatus='Running'"
	if calls := strings.Join(temporal.made(), "\n"); !strings.Contains(calls, want) {
		t.Errorf("calls:\n%s", calls)
	}
}
