package watcher

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-dev/mainstay/specs"
	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/specs/sense"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// watching is an operator with one rule, changed by fn.
func watching(kind virtual.Kind, scope plan.Scope, fn func(*plan.Rule)) *specs.Operator {
	op := demoOperator()
	r := rule("r", kind, scope)
	fn(&r)
	op.Plan.Profiles[plan.DefaultProfile].Rules = []plan.Rule{r}
	return op
}

func TestFields(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "uid-a")
		mine := "," + b.belongs("a")
		b.putJSON(services, "default", "s", "s1", mine, `,"spec":{"ports":[80]},"status":{"x":1}`)
		b.believes("a", "uid-a", "r default/s")
		calls := len(b.temporal.made())
		b.putJSON(services, "default", "s", "s1", mine, `,"spec":{"ports":[80],"type":"LoadBalancer"},"status":{"x":2}`)
		synctest.Wait()
		if n := len(b.temporal.made()); n != calls {
			t.Errorf("%d signals for fields that the rule doesn't name", n-calls)
		}
		b.putJSON(services, "default", "s", "s1", mine, `,"spec":{"ports":[81],"type":"LoadBalancer"}`)
		synctest.Wait()
		if n := len(b.temporal.made()); n != calls+1 {
			t.Errorf("%d signals for one that it names, want 1", n-calls)
		}
	}, watching(services, plan.ScopeInstance, func(r *plan.Rule) { r.Watch.Fields = []string{"spec.ports"} }))
}

func TestNarrowRules(t *testing.T) {
	for name, test := range map[string]struct {
		scope plan.Scope
		watch plan.Watch
		want  []string // for the Demo default/a
	}{
		"namespace":                {plan.ScopeNamespace, plan.Watch{}, []string{"default/a", "default/x"}},
		"cluster":                  {plan.ScopeCluster, plan.Watch{}, []string{"default/a", "default/x", "far/a", "far/x"}},
		"selector":                 {plan.ScopeNamespace, plan.Watch{Selector: "tier in (web,db)"}, []string{"default/x"}},
		"name":                     {plan.ScopeNamespace, plan.Watch{Name: "a"}, []string{"default/a"}},
		"another namespace":        {plan.ScopeCluster, plan.Watch{Namespace: "far"}, []string{"far/a", "far/x"}},
		"all of it":                {plan.ScopeCluster, plan.Watch{Namespace: "far", Name: "x", Selector: "tier=web"}, []string{"far/x"}},
		"nothing can be in both":   {plan.ScopeNamespace, plan.Watch{Namespace: "far"}, nil},
		"instance with a selector": {plan.ScopeInstance, plan.Watch{Selector: "tier=web"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			onBench(t, func(b *bench) {
				put := func() {
					for _, ns := range []string{"default", "far"} {
						b.put(configMaps, ns, "a", ns+"-a")
						b.put(configMaps, ns, "x", ns+"-x", `"labels":{"tier":"web"}`)
					}
				}
				var want []string
				for _, k := range test.want {
					want = append(want, "r "+k)
				}
				// By a resync first, then by changes, then by changes of many queues.
				put()
				b.put(demos, "default", "a", "uid-a")
				b.settle()
				b.believes("a", "uid-a", want...)
				for range 2 {
					for _, ns := range []string{"default", "far"} {
						b.remove(configMaps, ns, "a")
						b.remove(configMaps, ns, "x")
					}
					b.believes("a", "uid-a")
					put()
					b.believes("a", "uid-a", want...)
					for i := range few {
						b.put(demos, "default", fmt.Sprint("more", i), fmt.Sprint("more", i))
					}
				}
			}, watching(configMaps, test.scope, func(r *plan.Rule) {
				r.Watch.Namespace, r.Watch.Name, r.Watch.Selector = test.watch.Namespace, test.watch.Name, test.watch.Selector
			}))
		})
	}
}

func TestAnObjectThatStopsMatchingIsGone(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "uid-a")
		b.put(configMaps, "default", "c", "1234567890abcdef", `"labels":{"tier":"web"}`)
		b.believes("a", "uid-a", "r default/c")
		b.put(configMaps, "default", "c", "1234567890abcdef", `"labels":{"tier":"db"}`)
		b.believes("a", "uid-a")
		b.workflow("a", "uid-a", func(w *workflowState) {
			if c := w.last["r default/c"]; c.UID != "1234567890abc" || c.Hash != "" || c.ResourceVersion == "" {
				t.Errorf("told %+v", c)
			}
		})
		told := len(b.temporal.made())
		b.put(configMaps, "default", "c", "1234567890abcdef", `"labels":{"tier":"none"}`)
		b.remove(configMaps, "default", "c")
		synctest.Wait()
		if n := len(b.temporal.made()); n != told {
			t.Errorf("%d signals of what is not the rule's", n-told)
		}
	}, watching(configMaps, plan.ScopeNamespace, func(r *plan.Rule) { r.Watch.Selector = "tier=web" }))
}

func TestHealthAndDeletion(t *testing.T) {
	deployments := virtual.Kind{Group: "apps", Version: "v1", Kind: "Deployment"}
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "uid-a")
		synctest.Wait()
		step := func(metadata string, ready int, signals int, want plan.Change) {
			t.Helper()
			before := len(b.temporal.made())
			b.putJSON(deployments, "default", "d", "d1", `,"generation":1,`+b.belongs("a")+metadata, fmt.Sprintf(
				`,"spec":{"replicas":1},"status":{"observedGeneration":1,"replicas":1,"updatedReplicas":1,"readyReplicas":%d,"availableReplicas":%d,"conditions":[{"type":"Available","status":"True"}]}`, ready, ready))
			b.workflow("a", "uid-a", func(w *workflowState) {
				t.Helper()
				c := w.last["r default/d"]
				if c.Health != want.Health || c.Deleting != want.Deleting || c.Hash == "" {
					t.Errorf("told %+v, want %+v", c, want)
				}
			})
			if n := len(b.temporal.made()) - before; n != signals {
				t.Errorf("%d signals, want %d", n, signals)
			}
		}
		step("", 0, 1, plan.Change{Health: plan.Unready})
		step(`,"annotations":{"a":"b"}`, 0, 0, plan.Change{Health: plan.Unready}) // its state is not the rule's concern
		step("", 1, 1, plan.Change{Health: plan.Ready})
		step("", 0, 1, plan.Change{Health: plan.Unready})
		step(`,"deletionTimestamp":"2026-01-01T00:00:00Z"`, 0, 1, plan.Change{Health: plan.Unready, Deleting: true})
	}, watching(deployments, plan.ScopeInstance, func(r *plan.Rule) {
		r.Watch.Categories = []plan.Category{plan.DidBecomeReady, plan.DidBecomeUnready, plan.WillDelete}
	}))
}

// TestViews holds that a view tells apart exactly what sense tells apart.
func TestViews(t *testing.T) {
	changes := []plan.Change{
		{Name: "a", UID: "u", Hash: "h"}, {Name: "b", UID: "u", Hash: "h", ResourceVersion: "7"}, {UID: "v", Hash: "h"}, {UID: "u", Hash: "i"},
		{UID: "u", Hash: "h", Health: plan.Ready}, {UID: "u", Hash: "h", Deleting: true}, {UID: "u", Hash: "h", Trouble: "t"},
	}
	for _, a := range changes {
		for _, b := range changes {
			if (viewOf(a) == viewOf(b)) != sense.Same(a, b) {
				t.Errorf("%+v and %+v", a, b)
			}
		}
	}
	if viewOf(plan.Change{UID: "u"}) != absent {
		t.Error("a change without a hash is none of an object that is there")
	}
}

func TestDebounce(t *testing.T) {
	second := plan.Duration(time.Second)
	op := watching(services, plan.ScopeInstance, func(r *plan.Rule) { r.Debounce = second })
	rules := &op.Plan.Profiles[plan.DefaultProfile].Rules
	*rules = append(*rules, rule("at once", configMaps, plan.ScopeNamespace))
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "uid-a")
		synctest.Wait()
		began := time.Now()
		// Changes of s come every 400 ms for 3 s, of t for ever.
		for i := range 50 {
			if i < 8 {
				b.put(services, "default", "s", "s1", b.belongs("a"), fmt.Sprintf(`"annotations":{"n":"%d"}`, i))
			}
			b.put(services, "default", "t", "t1", b.belongs("a"), fmt.Sprintf(`"annotations":{"n":"%d"}`, i))
			if i == 3 {
				b.put(configMaps, "default", "c", "c1")
				b.believes("a", "uid-a", "at once default/c")
			}
			time.Sleep(400 * time.Millisecond)
			if time.Since(began) < 3800*time.Millisecond-time.Millisecond {
				b.workflow("a", "uid-a", func(w *workflowState) {
					if w.believes["r default/s"] != "" {
						t.Fatalf("told of after %s, without a rest", time.Since(began))
					}
				})
			}
			if time.Since(began) == 4*time.Second {
				b.believes("a", "uid-a", "at once default/c", "r default/s")
			}
			if time.Since(began) == 10400*time.Millisecond {
				// The restless one is told at ten times its debounce.
				b.believes("a", "uid-a", "at once default/c", "r default/s", "r default/t")
			}
		}
		time.Sleep(time.Second)
		b.workflow("a", "uid-a", func(w *workflowState) {
			if n := len(w.dirties); n != 4 { // c, s, t at 10 s, t at the end
				t.Errorf("%d signals", n)
			}
			object, _ := b.store.Get(virtual.Key{Kind: services, Namespace: "default", Name: "t"})
			if w.believes["r default/t"] != object.Hash() {
				t.Error("the last state was not told")
			}
		})
		b.watcher.locked(func() {
			if q := b.watcher.byUID["uid-a"]; len(q.resting.targets)+len(q.resting.order) > 0 {
				t.Error("something rests for ever")
			}
		})
	}, op)
}

func TestAFloodLeavesNothingBehind(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "uid-a")
		b.put(services, "default", "kept", "kept", b.belongs("a"))
		for i := range 20_000 {
			b.put(services, "default", fmt.Sprintf("s%d", i), fmt.Sprintf("s%d", i), b.belongs("a"))
		}
		time.Sleep(time.Minute) // the queue is throttled
		b.workflow("a", "uid-a", func(w *workflowState) {
			if len(w.believes) != 20_001 {
				t.Fatalf("%d objects are believed in", len(w.believes))
			}
		})
		for i := range 20_000 {
			b.remove(services, "default", fmt.Sprintf("s%d", i))
		}
		time.Sleep(time.Minute)
		b.believes("a", "uid-a", "services default/kept")
		b.watcher.locked(func() {
			if q := b.watcher.byUID["uid-a"]; q.dirty != nil || q.order != nil || q.most > 1024 {
				t.Errorf("%d dirty, %d in order, a map for %d", len(q.dirty), len(q.order), q.most)
			}
		})
	})
}
