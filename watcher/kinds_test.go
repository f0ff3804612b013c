package watcher

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/mainstay-dev/mainstay/specs"
	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// process is a watcher that runs on an API server.
type process struct {
	*testing.T
	watcher  *Watcher
	store    *virtual.Store
	temporal *temporalServer
	log      *logBuffer
	// step is closed and replaced whenever something may have moved.
	mu   sync.Mutex
	step chan struct{}
}

// logBuffer collects log lines.
type logBuffer struct {
	mu    sync.Mutex
	b     bytes.Buffer
	moved func()
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.moved()
	return l.b.Write(p)
}

func (l *logBuffer) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

func runOn(t *testing.T, api *apiServer, operators ...*specs.Operator) *process {
	t.Helper()
	return runOnConfig(t, api.config(), operators...)
}

func runOnConfig(t *testing.T, config *rest.Config, operators ...*specs.Operator) *process {
	t.Helper()
	return runWith(t, config, newTemporal(), operators...)
}

func runWith(t *testing.T, config *rest.Config, temporal *temporalServer, operators ...*specs.Operator) *process {
	t.Helper()
	store, err := virtual.Open(virtual.Options{InstanceLabel: plan.InstanceLabel})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{T: t, store: store, temporal: temporal, step: make(chan struct{})}
	p.log = &logBuffer{moved: p.moved}
	p.temporal.moved = p.moved
	cluster, err := clusterOf(config)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(p.log, nil))
	if p.watcher, err = newWatcher(Options{Store: store, Operators: operators, Log: log}, cluster, p.temporal); err != nil {
		t.Fatal(err)
	}
	tell := p.watcher.changed
	store.OnChange(func(c virtual.Change) { tell(c); p.moved() })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.watcher.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(p.log.b.String())
		}
	})
	return p
}

func (p *process) moved() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.step)
	p.step = make(chan struct{})
}

// until waits for a condition, which is looked at whenever something moves.
func (p *process) until(what string, condition func() bool) {
	p.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for {
		p.mu.Lock()
		step := p.step
		p.mu.Unlock()
		if condition() {
			return
		}
		select {
		case <-step:
		case <-deadline.C:
			p.Fatalf("never: %s", what)
		}
	}
}

func (p *process) has(kind virtual.Kind, namespace, name string) bool {
	_, ok := p.store.Get(virtual.Key{Kind: kind, Namespace: namespace, Name: name})
	return ok
}

// id is that of the workflow of a Demo.
func (p *process) id(name, uid string) string {
	return plan.Instance{Resource: demoOperator().Plan.Resource, Namespace: "default", Name: name, UID: uid}.WorkflowID()
}

// believes waits until the workflow of a Demo believes in exactly these.
func (p *process) believes(name, uid string, want ...string) {
	p.Helper()
	p.believesOf(plan.Instance{Resource: demoOperator().Plan.Resource, Namespace: "default", Name: name, UID: uid}, want...)
}

func (p *process) believesOf(instance plan.Instance, want ...string) {
	p.Helper()
	p.until(fmt.Sprintf("%s believes %q", instance, want), func() (same bool) {
		p.temporal.of(instance.WorkflowID(), func(w *workflowState) {
			same = w != nil && len(w.resyncs) > 0 && len(w.believes) == len(want)
			for _, k := range want {
				same = same && w.believes[k] != ""
			}
		})
		return same
	})
}

func belongsTo(name string) map[string]any {
	i := plan.Instance{Resource: demoOperator().Plan.Resource, Namespace: "default", Name: name}
	return map[string]any{plan.InstanceLabel: i.Label()}
}

func TestFromClusterToWorkflow(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			api := newAPIServer(t, demos, services, configMaps)
			api.plain = plain
			api.put(demos, "default", "a", "uid-a")
			api.put(services, "default", "s1", "s1", "labels", belongsTo("a"))
			p := runOn(t, api, demoOperator())
			p.believes("a", "uid-a", "services default/s1")
			p.until("synced", p.watcher.Synced)
			api.put(services, "default", "s2", "s2", "labels", belongsTo("a"))
			api.put(configMaps, "default", "c", "c")
			p.believes("a", "uid-a", "services default/s1", "services default/s2", "config default/c")
			api.remove(services, "default", "s1")
			p.believes("a", "uid-a", "services default/s2", "config default/c")
			object, _ := p.store.Get(virtual.Key{Kind: services, Namespace: "default", Name: "s2"})
			if bytes.Contains(object.JSON(), []byte("managedFields")) {
				t.Errorf("stored: %s", object.JSON())
			}
			if _, _, err := p.store.WaitFor(t.Context(), virtual.Key{Kind: services, Namespace: "default", Name: "s1"}, fmt.Sprint(api.version)); err != nil {
				t.Error(err)
			}
			if p.log.count("level=WARN")+p.log.count("level=ERROR") > 0 {
				t.Error("it complains")
			}
		})
	}
}

func TestAKindThatAppearsLater(t *testing.T) {
	api := newAPIServer(t, demos, services, configMaps)
	api.put(demos, "default", "a", "uid-a")
	api.put(services, "default", "s", "s", "labels", belongsTo("a"))
	p := runOn(t, api, demoOperator(rule("widgets", widgets, plan.ScopeInstance)))
	p.believes("a", "uid-a", "services default/s")
	p.until("synced", p.watcher.Synced)
	var asked int
	api.with(func() { asked = len(api.asked) })
	p.until("it is asked for again and again", func() bool {
		api.mu.Lock()
		defer api.mu.Unlock()
		time.AfterFunc(50*time.Millisecond, p.moved)
		return len(api.asked) > asked
	})
	if n := p.log.count("doesn't exist"); n != 1 {
		t.Errorf("%d lines about one missing kind", n)
	}
	api.create(widgets)
	api.put(widgets, "default", "w", "w", "labels", belongsTo("a"))
	p.believes("a", "uid-a", "services default/s", "widgets default/w")

	// And goes again, with all its objects.
	api.with(func() { delete(api.kinds, widgets) })
	api.hangUp()
	p.believes("a", "uid-a", "services default/s")
}

func TestAKindThatCannotBeSeenIsNotTakenForEmpty(t *testing.T) {
	for name, break_ := range map[string]func(*apiServer){
		"forbidden":   func(s *apiServer) { s.create(widgets); s.forbidden[widgets] = true },
		"unavailable": func(s *apiServer) { s.broken[widgets] = true },
	} {
		t.Run(name, func(t *testing.T) {
			api := newAPIServer(t, demos, services, configMaps)
			api.put(demos, "default", "a", "uid-a")
			break_(api)
			p := runOn(t, api, demoOperator(rule("widgets", widgets, plan.ScopeInstance)))
			p.until("everything else is seen", func() bool {
				return p.store.Watches(demos) && p.store.Watches(services) && p.store.Watches(configMaps) && p.log.count("kind=\"later.example.com/v1 Widget\"") > 0
			})
			if p.watcher.Synced() {
				t.Error("it passes for synced")
			}
			id := plan.Instance{Resource: demoOperator().Plan.Resource, Namespace: "default", Name: "a", UID: "uid-a"}.WorkflowID()
			p.until("the resource is told", func() (told bool) {
				p.temporal.of(id, func(w *workflowState) { told = w != nil })
				return told
			})
			p.temporal.of(id, func(w *workflowState) {
				if len(w.resyncs) > 0 {
					t.Error("a resync without the kind tells of deletions that never were")
				}
			})
			if n := p.log.count("level=WARN"); n != 1 {
				t.Errorf("%d warnings", n)
			}
			api.with(func() { clear(api.forbidden); clear(api.broken) })
			if name == "unavailable" {
				api.create(widgets)
			}
			api.put(widgets, "default", "w", "w", "labels", belongsTo("a"))
			p.believes("a", "uid-a", "widgets default/w")
		})
	}
}

func TestAnOutage(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			api := newAPIServer(t, demos, services, configMaps)
			api.plain = plain
			for _, name := range []string{"a", "b"} {
				api.put(demos, "default", name, "uid-"+name)
			}
			api.put(services, "default", "kept", "kept", "labels", belongsTo("a"))
			api.put(services, "default", "lost", "lost", "labels", belongsTo("a"))
			api.put(services, "default", "anew", "anew1", "labels", belongsTo("a"))
			p := runOn(t, api, demoOperator())
			p.believes("a", "uid-a", "services default/kept", "services default/lost", "services default/anew")
			p.believes("b", "uid-b")
			before, _ := p.store.Get(virtual.Key{Kind: services, Namespace: "default", Name: "kept"})

			api.leave()
			p.until("the outage is told", func() bool { return p.log.count("can't be reached") > 0 })
			api.remove(services, "default", "lost")
			api.remove(demos, "default", "b")
			api.put(services, "default", "anew", "anew2", "labels", belongsTo("a"))
			api.put(services, "default", "found", "found", "labels", belongsTo("a"))
			api.with(func() { api.away = false })

			p.believes("a", "uid-a", "services default/kept", "services default/anew", "services default/found")
			p.until("the gone resource is told", func() (gone bool) {
				id := plan.Instance{Resource: demoOperator().Plan.Resource, Namespace: "default", Name: "b", UID: "uid-b"}.WorkflowID()
				p.temporal.of(id, func(w *workflowState) { gone = w.resource.Gone })
				return gone
			})
			p.temporal.of(plan.Instance{Resource: demoOperator().Plan.Resource, Namespace: "default", Name: "a", UID: "uid-a"}.WorkflowID(), func(w *workflowState) {
				for _, d := range w.dirties {
					for _, c := range d.Changes {
						if c.Name == "kept" {
							t.Errorf("told of what did not change: %+v", c)
						}
					}
				}
				if len(w.resyncs) != 1 {
					t.Errorf("%d resyncs; differences are enough", len(w.resyncs))
				}
			})
			if after, _ := p.store.Get(before.Key); after.ResourceVersion != before.ResourceVersion {
				t.Error("the object that stayed has changed")
			}
			if n := p.log.count("can't be reached"); n != 1 {
				t.Errorf("%d lines about one outage", n)
			}
			p.until("the end of it is told", func() bool { return p.log.count("reached again") == 1 })
		})
	}
}

func TestOwnersInBetweenAreFollowed(t *testing.T) {
	pods := virtual.Kind{Version: "v1", Kind: "Pod"}
	replicaSets := virtual.Kind{Group: "apps", Version: "v1", Kind: "ReplicaSet"}
	deployments := virtual.Kind{Group: "apps", Version: "v1", Kind: "Deployment"}
	nodes := virtual.Kind{Version: "v1", Kind: "Node"}
	owner := func(kind virtual.Kind, name, uid string) []any {
		return []any{map[string]any{"apiVersion": kind.APIVersion(), "kind": kind.Kind, "name": name, "uid": uid}}
	}
	api := newAPIServer(t, demos, services, configMaps, pods, replicaSets, deployments, nodes)
	api.put(demos, "default", "a", "uid-a")
	api.put(pods, "default", "p", "p", "ownerReferences", owner(replicaSets, "r", "r"))
	api.put(pods, "default", "static", "static", "ownerReferences", owner(nodes, "n", "n"))
	api.put(replicaSets, "default", "r", "r", "ownerReferences", owner(deployments, "d", "d"))
	api.put(deployments, "default", "d", "d", "labels", belongsTo("a"))
	p := runOn(t, api, demoOperator(rule("pods", pods, plan.ScopeInstance)))
	p.believes("a", "uid-a", "pods default/p")
	p.temporal.of(plan.Instance{Resource: demoOperator().Plan.Resource, Namespace: "default", Name: "a", UID: "uid-a"}.WorkflowID(), func(w *workflowState) {
		if len(w.resyncs) != 1 || len(w.resyncs[0].Changes) != 1 {
			t.Errorf("the resync did not wait for the owners: %+v", w.resyncs)
		}
	})
	if p.store.Watches(replicaSets) {
		t.Error("a kind of which there is metadata only passes for watched")
	}
	if p.has(nodes, "", "n") {
		t.Error("nodes are watched")
	}
	api.put(deployments, "default", "d", "d")
	p.believes("a", "uid-a")
}

func TestHelmsSecretsAreLeftOut(t *testing.T) {
	secrets := virtual.Kind{Version: "v1", Kind: "Secret"}
	api := newAPIServer(t, demos, services, configMaps, secrets)
	api.plain = true
	p := runOn(t, api, demoOperator(rule("secrets", secrets, plan.ScopeInstance)))
	p.until("synced", p.watcher.Synced)
	api.mu.Lock()
	defer api.mu.Unlock()
	asked := 0
	for _, a := range api.asked {
		if strings.HasPrefix(a, "/api/v1/secrets") {
			asked++
			if !strings.Contains(a, "fieldSelector=type%21%3Dhelm.sh%2Frelease.v1") {
				t.Errorf("asked for %s", a)
			}
		}
		if strings.Contains(a, "resourceVersion=0") {
			t.Errorf("a list from the past: %s", a)
		}
	}
	if asked == 0 {
		t.Error("nobody asked for Secrets")
	}
}

func TestNew(t *testing.T) {
	store, err := virtual.Open(virtual.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	if _, err := New(Options{Store: store}); err == nil {
		t.Error("it works without a cluster")
	}
	_, err = newWatcher(Options{Store: store, Operators: []*specs.Operator{demoOperator(), demoOperator()}, Log: quiet()}, nil, newTemporal())
	if err == nil {
		t.Error("two operators serve one kind")
	}
}
