package watcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/mainstay-dev/mainstay/specs"
	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

var (
	demos      = virtual.Kind{Group: "example.com", Version: "v1", Kind: "Demo"}
	services   = virtual.Kind{Version: "v1", Kind: "Service"}
	configMaps = virtual.Kind{Version: "v1", Kind: "ConfigMap"}
	widgets    = virtual.Kind{Group: "later.example.com", Version: "v1", Kind: "Widget"}
)

func rule(name string, kind virtual.Kind, scope plan.Scope) plan.Rule {
	return plan.Rule{Name: name, Watch: plan.Watch{
		Categories: []plan.Category{plan.DidChange}, APIVersion: kind.APIVersion(), Kind: kind.Kind, Scope: scope,
	}}
}

// operator serves Demos. Its default profile has a rule on the instance's Services and one on the namespace's
// ConfigMaps, its profile "other" one on the instance's Services.
func demoOperator(more ...plan.Rule) *specs.Operator {
	rules := append([]plan.Rule{
		rule("services", services, plan.ScopeInstance),
		rule("config", configMaps, plan.ScopeNamespace),
	}, more...)
	return &specs.Operator{Plan: &plan.Operator{
		Name:   "demo",
		Digest: "abc",
		Resource: plan.Resource{
			Group: demos.Group, Version: demos.Version, Kind: demos.Kind, Plural: "demos", Namespaced: true,
		},
		Profiles: map[string]*plan.Profile{
			plan.DefaultProfile: {Name: plan.DefaultProfile, Rules: rules, Deploy: []plan.Command{{
				Kind: plan.KindHelm, Name: "app", Helm: &plan.Helm{Chart: "app"},
			}}},
			"other": {Name: "other", Rules: []plan.Rule{rule("services", services, plan.ScopeInstance)}},
		},
	}}
}

// temporalServer stands for Temporal and for the Maintain workflows: it knows which run, and what they believe.
type temporalServer struct {
	mu        sync.Mutex
	workflows map[string]*workflowState
	calls     []string
	// refuse, if set, says which error a call meets. lose makes a call take effect and fail all the same.
	refuse, lose func(workflowID, signal string) error
	// gate, if set, is passed by each call while it is under way.
	gate func(workflowID, signal string)
	// hang, if set, is where a call waits as long as its context lets it.
	hang func(ctx context.Context) error
	// moved, if set, is told of each call's end.
	moved func()
}

type workflowState struct {
	resource  plan.ResourceSignal
	resources int
	completed bool
	// believes is what the workflow thinks is there: rule and key → hash.
	believes map[string]string
	// last is the last change of each.
	last    map[string]plan.Change
	told    int
	dirties []plan.Dirty
	resyncs []plan.Resync
	listed  map[string]string
	options client.StartWorkflowOptions
	input   plan.MaintainInput
}

func newTemporal() *temporalServer { return &temporalServer{workflows: map[string]*workflowState{}} }

func (s *temporalServer) call(ctx context.Context, id, signal string, arg any, start func() (*workflowState, error)) error {
	s.mu.Lock()
	gate, moved, hang := s.gate, s.moved, s.hang
	s.mu.Unlock()
	if hang != nil {
		return hang(ctx)
	}
	if moved != nil {
		defer moved()
	}
	if gate != nil {
		gate(id, signal)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, signal+" "+id)
	if s.refuse != nil {
		if err := s.refuse(id, signal); err != nil {
			return err
		}
	}
	w := s.workflows[id]
	if w == nil || w.completed {
		if start == nil {
			return serviceerror.NewNotFound("workflow execution already completed")
		}
		if w != nil {
			return serviceerror.NewWorkflowExecutionAlreadyStarted("completed", "", "")
		}
		var err error
		if w, err = start(); err != nil {
			return err
		}
		w.believes, w.last = map[string]string{}, map[string]plan.Change{}
		s.workflows[id] = w
	}
	w.take(arg)
	if s.lose != nil {
		return s.lose(id, signal)
	}
	return nil
}

func (w *workflowState) take(arg any) {
	change := func(changes []plan.Change) {
		for _, c := range changes {
			w.told++
			w.last[c.Rule+" "+c.Key()] = c
			if k := c.Rule + " " + c.Key(); c.Hash == "" {
				delete(w.believes, k)
			} else {
				w.believes[k] = c.Hash
			}
		}
	}
	switch a := arg.(type) {
	case plan.ResourceSignal:
		w.resource, w.resources = a, w.resources+1
		w.completed = a.Gone
	case plan.Dirty:
		w.dirties = append(w.dirties, a)
		change(a.Changes)
	case plan.Resync:
		w.resyncs = append(w.resyncs, a)
		if a.Part == 0 {
			w.listed = map[string]string{}
		}
		change(a.Changes)
		for _, c := range a.Changes {
			w.listed[c.Rule+" "+c.Key()] = c.Hash
		}
		if a.Last {
			w.believes = w.listed
		}
	}
}

func (s *temporalServer) SignalWithStartWorkflow(ctx context.Context, id, signal string, arg any,
	options client.StartWorkflowOptions, name any, args ...any) (client.WorkflowRun, error) {
	return nil, s.call(ctx, id, signal, arg, func() (*workflowState, error) {
		input, ok := args[0].(plan.MaintainInput)
		if !ok || name != plan.WorkflowMaintain || options.ID != id {
			return nil, errors.New("not a start of Maintain")
		}
		return &workflowState{options: options, input: input}, nil
	})
}

func (s *temporalServer) SignalWorkflow(ctx context.Context, id, _, signal string, arg any) error {
	return s.call(ctx, id, signal, arg, nil)
}

// ListWorkflow lists the running workflows two at a time, as a visibility store does that is late by nothing.
func (s *temporalServer) ListWorkflow(_ context.Context, r *workflowservice.ListWorkflowExecutionsRequest) (
	*workflowservice.ListWorkflowExecutionsResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, "list "+r.GetQuery())
	if s.refuse != nil {
		if err := s.refuse("", "list"); err != nil {
			return nil, err
		}
	}
	var running []string
	for _, id := range slices.Sorted(maps.Keys(s.workflows)) {
		if w := s.workflows[id]; !w.completed && id > string(r.GetNextPageToken()) {
			running = append(running, id)
		}
	}
	page := &workflowservice.ListWorkflowExecutionsResponse{}
	for _, id := range running[:min(2, len(running))] {
		page.Executions = append(page.Executions, &workflowpb.WorkflowExecutionInfo{Execution: &commonpb.WorkflowExecution{WorkflowId: id}})
		if len(running) > 2 {
			page.NextPageToken = []byte(id)
		}
	}
	return page, nil
}

// made are the calls so far.
func (s *temporalServer) made() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// of reads a workflow's state with fn; fn gets nil if there is none.
func (s *temporalServer) of(id string, fn func(*workflowState)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(s.workflows[id])
}

func (s *temporalServer) set(fn func(*temporalServer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(s)
}

// bench is a watcher without a cluster: tests write into its store.
type bench struct {
	*testing.T
	store    *virtual.Store
	temporal *temporalServer
	watcher  *Watcher
	version  int
	stop     func()
}

// onBench runs a test in a bubble of its own time.
func onBench(t *testing.T, run func(*bench), operators ...*specs.Operator) {
	synctest.Test(t, func(t *testing.T) {
		store, err := virtual.Open(virtual.Options{InstanceLabel: plan.InstanceLabel})
		if err != nil {
			t.Fatal(err)
		}
		b := &bench{T: t, store: store, temporal: newTemporal(), version: 1}
		if len(operators) == 0 {
			operators = []*specs.Operator{demoOperator()}
		}
		b.start(operators...)
		run(b)
		b.stop()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		// The database's and the sender's last timers run out.
		time.Sleep(time.Minute)
	})
}

// start makes a watcher on the store, as a new process would.
func (b *bench) start(operators ...*specs.Operator) {
	b.Helper()
	b.startWith(func(*Watcher) {}, operators...)
}

func (b *bench) startWith(change func(*Watcher), operators ...*specs.Operator) {
	b.Helper()
	w, err := newWatcher(Options{Store: b.store, Operators: operators, Log: quiet()}, nil, b.temporal)
	if err != nil {
		b.Fatal(err)
	}
	change(w)
	b.watcher = w
	for kind := range w.operators {
		b.store.List(kind, "", func(object virtual.Object) bool {
			w.changed(virtual.Change{Key: object.Key, Now: object})
			return true
		})
	}
	b.lead()
}

// lead begins a term.
func (b *bench) lead() {
	w := b.watcher
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.lead(ctx)
	}()
	b.stop = func() { cancel(); <-done }
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// settle has kinds seen completely; none: all.
func (b *bench) settle(kinds ...virtual.Kind) {
	for kind, src := range b.watcher.sources.kinds {
		if len(kinds) == 0 || slices.Contains(kinds, kind) {
			b.store.SetSynced(kind, true)
			b.watcher.sources.settle(src)
		}
	}
}

func (b *bench) put(kind virtual.Kind, namespace, name, uid string, metadata ...string) {
	b.Helper()
	b.version++
	key := virtual.Key{Kind: kind, Namespace: namespace, Name: name}
	members := append([]string{fmt.Sprintf(`"name":%q,"namespace":%q,"uid":%q,"resourceVersion":"%d"`, name, namespace, uid, b.version)}, metadata...)
	doc := fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{%s}}`, kind.APIVersion(), kind.Kind, strings.Join(members, ","))
	if _, _, err := b.store.Put(key, []byte(doc)); err != nil {
		b.Fatal(err)
	}
}

// putJSON puts an object with a content: members of the document beside those that name it.
func (b *bench) putJSON(kind virtual.Kind, namespace, name, uid, metadata, members string) {
	b.Helper()
	b.version++
	doc := fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{"name":%q,"namespace":%q,"uid":%q,"resourceVersion":"%d"%s}%s}`,
		kind.APIVersion(), kind.Kind, name, namespace, uid, b.version, metadata, members)
	if _, _, err := b.store.Put(virtual.Key{Kind: kind, Namespace: namespace, Name: name}, []byte(doc)); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) remove(kind virtual.Kind, namespace, name string) {
	b.Helper()
	if _, existed, err := b.store.Delete(virtual.Key{Kind: kind, Namespace: namespace, Name: name}); err != nil || !existed {
		b.Fatalf("delete: %v, %v", existed, err)
	}
}

// instance is a Demo of namespace "default".
func (b *bench) instance(name, uid string) plan.Instance {
	return plan.Instance{Operator: "demo", Resource: demoOperator().Plan.Resource, Namespace: "default", Name: name, UID: uid}
}

// belongs is the label that makes an object belong to a Demo.
func (b *bench) belongs(name string) string {
	return fmt.Sprintf(`"labels":{%q:%q}`, plan.InstanceLabel, b.instance(name, "").Label())
}

// workflow reads what a Demo's workflow knows once nothing moves any more.
func (b *bench) workflow(name, uid string, fn func(*workflowState)) {
	b.Helper()
	synctest.Wait()
	b.temporal.of(b.instance(name, uid).WorkflowID(), func(w *workflowState) {
		b.Helper()
		if w == nil {
			b.Fatalf("the workflow of %s was not started", name)
		}
		fn(w)
	})
}

// believes compares what a workflow believes with the names of rules and objects.
func (b *bench) believes(name, uid string, want ...string) {
	b.Helper()
	b.workflow(name, uid, func(w *workflowState) {
		b.Helper()
		missing := len(want) != len(w.believes)
		for _, k := range want {
			missing = missing || w.believes[k] == ""
		}
		if missing {
			b.Errorf("the workflow of %s believes %.500s, want %q", name, fmt.Sprint(w.believes), want)
		}
	})
}

// traces counts what the sender remembers of instances.
func (b *bench) traces() (n int) {
	synctest.Wait()
	b.watcher.locked(func() { n = max(len(b.watcher.byUID), len(b.watcher.byLabel), len(b.watcher.byNamespace)) })
	return n
}
