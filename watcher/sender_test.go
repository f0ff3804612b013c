package watcher

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/mainstay-dev/mainstay/specs"
	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

func TestStart(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "uid-a", `"generation":3`)
		b.workflow("a", "uid-a", func(w *workflowState) {
			if want := (plan.ResourceSignal{Generation: 3, Revision: "abc", Profile: "default"}); w.resource != want {
				t.Errorf("resource: %+v, want %+v", w.resource, want)
			}
			if w.input.Instance != b.instance("a", "uid-a") || w.input.State != nil {
				t.Errorf("input: %+v", w.input)
			}
			o := w.options
			if o.TaskQueue != "mainstay/demos.example.com" || o.StaticSummary != "demo default/a" ||
				o.WorkflowIDReusePolicy != enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY {
				t.Errorf("options: %+v", o)
			}
			if len(w.resyncs) != 1 || !w.resyncs[0].Last || w.resyncs[0].ID == "" || len(w.resyncs[0].Changes) != 0 {
				t.Errorf("a new resource needs an empty resync: %+v", w.resyncs)
			}
		})
	})
}

func TestResourceSignals(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		for i, step := range []struct {
			metadata string
			signals  int
			want     plan.ResourceSignal
		}{
			{`"generation":1`, 1, plan.ResourceSignal{Generation: 1, Profile: "default"}},
			{`"generation":1,"labels":{"x":"y"}`, 1, plan.ResourceSignal{Generation: 1, Profile: "default"}},
			{`"generation":2`, 2, plan.ResourceSignal{Generation: 2, Profile: "default"}},
			{`"generation":2,"annotations":{"mainstay.dev/profile":"other"}`, 3, plan.ResourceSignal{Generation: 2, Profile: "other"}},
			{`"generation":3,"deletionTimestamp":"2026-01-01T00:00:00Z"`, 4, plan.ResourceSignal{Generation: 3, Profile: "default", Deleting: true}},
		} {
			step.want.Revision = "abc"
			b.put(demos, "default", "a", "uid-a", step.metadata)
			b.workflow("a", "uid-a", func(w *workflowState) {
				if w.resource != step.want || w.resources != step.signals {
					t.Errorf("step %d: %+v after %d signals, want %+v after %d", i, w.resource, w.resources, step.want, step.signals)
				}
			})
		}
		b.remove(demos, "default", "a")
		b.workflow("a", "uid-a", func(w *workflowState) {
			if !w.resource.Gone || !w.completed {
				t.Errorf("gone: %+v", w.resource)
			}
		})
		if n := b.traces(); n != 0 {
			t.Errorf("%d traces of a gone resource are left", n)
		}
	})
}

func TestGoneStartsNothing(t *testing.T) {
	onBench(t, func(b *bench) {
		b.temporal.set(func(s *temporalServer) { s.refuse = func(string, string) error { return errors.New("away") } })
		b.put(demos, "default", "a", "uid-a")
		synctest.Wait()
		b.remove(demos, "default", "a")
		b.temporal.set(func(s *temporalServer) { s.refuse = nil })
		time.Sleep(time.Minute)
		b.temporal.of(b.instance("a", "uid-a").WorkflowID(), func(w *workflowState) {
			if w != nil {
				t.Error("a workflow was started for a resource that is gone")
			}
		})
		if b.traces() != 0 {
			t.Error("it is still remembered")
		}
	})
}

func TestMatch(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "uid-a")
		b.put(demos, "default", "b", "uid-b")
		b.believes("a", "uid-a")

		b.put(services, "default", "mine", "s1", b.belongs("a"))
		b.put(services, "default", "nobodys", "s2")
		b.put(services, "elsewhere", "far", "s3", b.belongs("a"))
		b.put(services, "default", "helms", "s4", `"annotations":{"meta.helm.sh/release-name":"b-app","meta.helm.sh/release-namespace":"default"}`)
		b.put(services, "default", "owned", "s5", `"ownerReferences":[{"apiVersion":"example.com/v1","kind":"Demo","name":"b","uid":"uid-b"}]`)
		b.put(configMaps, "default", "c", "c1")
		b.put(configMaps, "elsewhere", "c", "c2")
		b.believes("a", "uid-a", "services default/mine", "services elsewhere/far", "config default/c")
		b.believes("b", "uid-b", "services default/helms", "services default/owned", "config default/c")

		// It changes sides, and a profile without the rule on ConfigMaps forgets them.
		b.put(services, "default", "mine", "s1", b.belongs("b"))
		b.put(demos, "default", "a", "uid-a", `"annotations":{"mainstay.dev/profile":"other"}`)
		b.believes("a", "uid-a", "services elsewhere/far")
		b.believes("b", "uid-b", "services default/mine", "services default/helms", "services default/owned", "config default/c")

		b.remove(services, "default", "mine")
		b.believes("b", "uid-b", "services default/helms", "services default/owned", "config default/c")
	})
}

func TestReleasesFromStatus(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.put(services, "apps", "s", "s1", `"annotations":{"meta.helm.sh/release-name":"named","meta.helm.sh/release-namespace":"apps"}`)
		doc := `{"metadata":{"name":"a","namespace":"default","uid":"uid-a","resourceVersion":"7"},"status":{"releases":[{"name":"named","namespace":"apps"}]}}`
		if _, _, err := b.store.Put(virtual.Key{Kind: demos, Namespace: "default", Name: "a"}, []byte(doc)); err != nil {
			t.Fatal(err)
		}
		b.believes("a", "uid-a", "services apps/s")
	})
}

func TestAnUnchangedHashIsNoSignal(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "uid-a")
		b.put(services, "default", "s", "s1", b.belongs("a"))
		b.believes("a", "uid-a", "services default/s")
		calls := len(b.temporal.made())
		b.put(services, "default", "s", "s1", b.belongs("a"), `"generation":9`)
		synctest.Wait()
		if n := len(b.temporal.made()); n != calls {
			t.Errorf("%d signals for a new resourceVersion and generation", n-calls)
		}
		b.put(services, "default", "s", "s2", b.belongs("a"))
		synctest.Wait()
		if n := len(b.temporal.made()); n != calls+1 {
			t.Errorf("%d signals for a recreated object, want 1", n-calls)
		}
	})
}

func TestChangesCoalesceWhileASignalIsUnderWay(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "uid-a")
		synctest.Wait()
		open := make(chan struct{})
		b.temporal.set(func(s *temporalServer) { s.gate = func(string, string) { <-open } })
		b.put(services, "default", "first", "s0", b.belongs("a"))
		synctest.Wait()
		for i := range 4000 {
			b.put(services, "default", fmt.Sprintf("s%d", i%2700), fmt.Sprintf("s%d", i%2700), b.belongs("a"), fmt.Sprintf(`"annotations":{"n":"%d"}`, i))
		}
		b.put(services, "default", "brief", "sb", b.belongs("a"))
		b.remove(services, "default", "brief")
		synctest.Wait()
		close(open)
		b.workflow("a", "uid-a", func(w *workflowState) {
			var sizes []int
			for _, d := range w.dirties {
				sizes = append(sizes, len(d.Changes))
			}
			if fmt.Sprint(sizes) != "[1 2000 700]" {
				t.Errorf("signals of %v changes", sizes)
			}
			if len(w.believes) != 2701 {
				t.Errorf("%d objects are known", len(w.believes))
			}
			if w.believes["services default/s2699"] == "" {
				t.Error("an object is missing")
			}
		})
	})
}

func TestOneInstanceHoldsUpNoOther(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		bad := b.instance("bad", "uid-bad").WorkflowID()
		hang := b.instance("hang", "uid-hang").WorkflowID()
		forever := make(chan struct{})
		b.temporal.set(func(s *temporalServer) {
			s.refuse = func(id, _ string) error {
				if id == bad {
					return errors.New("refused")
				}
				return nil
			}
			s.gate = func(id, _ string) {
				if id == hang {
					<-forever
				}
			}
		})
		for _, name := range []string{"bad", "hang", "busy", "good"} {
			b.put(demos, "default", name, "uid-"+name)
		}
		for i := range 1000 {
			for _, name := range []string{"bad", "hang", "busy"} {
				b.put(services, "default", fmt.Sprintf("%s-%d", name, i), fmt.Sprintf("%s-%d", name, i), b.belongs(name))
			}
		}
		began := time.Now()
		b.put(services, "default", "s", "s", b.belongs("good"))
		b.believes("good", "uid-good", "services default/s")
		if d := time.Since(began); d > 0 {
			t.Errorf("it took %s", d)
		}
		close(forever)
		b.temporal.set(func(s *temporalServer) { s.refuse = nil })
		time.Sleep(maxBackoff)
		for _, name := range []string{"bad", "hang", "busy"} {
			b.workflow(name, "uid-"+name, func(w *workflowState) {
				if len(w.believes) != 1000 {
					t.Errorf("%s knows %d objects", name, len(w.believes))
				}
			})
		}
	})
}

func TestTurnsAreFair(t *testing.T) {
	onBench(t, func(b *bench) {
		b.stop()
		b.startWith(func(w *Watcher) { w.workers = 1 }, demoOperator())
		b.settle()
		for _, name := range []string{"a", "b", "c"} {
			b.put(demos, "default", name, "uid-"+name)
		}
		synctest.Wait()
		before := len(b.temporal.made())
		// While the only worker is at a gate, three get more to send than one signal takes.
		open := make(chan struct{})
		b.temporal.set(func(s *temporalServer) { s.gate = func(string, string) { <-open } })
		b.put(services, "default", "first", "first", b.belongs("a"))
		synctest.Wait()
		for i := range 3 * batch {
			for _, name := range []string{"a", "b", "c"} {
				b.put(services, "default", fmt.Sprintf("%s-%d", name, i), fmt.Sprintf("%s-%d", name, i), b.belongs(name))
			}
		}
		close(open)
		synctest.Wait()
		var order strings.Builder
		for _, call := range b.temporal.made()[before:] {
			order.WriteByte(call[len("dirty demos/default/")])
		}
		if got := order.String(); got != "abcabcabca" {
			t.Errorf("turns: %s", got)
		}
	})
}

func TestAResourceThatChangesWhileASignalIsUnderWay(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "uid-a", `"generation":1`)
		synctest.Wait()
		open := make(chan struct{})
		b.temporal.set(func(s *temporalServer) { s.gate = func(string, string) { <-open } })
		b.put(demos, "default", "a", "uid-a", `"generation":2`)
		synctest.Wait()
		b.put(demos, "default", "a", "uid-a", `"generation":3`)
		b.put(demos, "default", "a", "uid-a", `"generation":4`)
		close(open)
		b.workflow("a", "uid-a", func(w *workflowState) {
			if w.resource.Generation != 4 || w.resources != 3 {
				t.Errorf("generation %d after %d signals", w.resource.Generation, w.resources)
			}
		})
	})
}

func TestNothingIsLostWhenAnswersAre(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "uid-a")
		synctest.Wait()
		b.temporal.set(func(s *temporalServer) {
			s.lose = func(string, string) error { return errors.New("the answer is lost") }
		})
		b.put(services, "default", "s", "s1", b.belongs("a"))
		b.believes("a", "uid-a", "services default/s")
		// The workflow knows of it, and the sender doesn't know that. Then it is deleted.
		b.remove(services, "default", "s")
		b.temporal.set(func(s *temporalServer) { s.lose = nil })
		time.Sleep(maxBackoff)
		b.believes("a", "uid-a")
	})
}

func TestRetriesBackOff(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.temporal.set(func(s *temporalServer) { s.refuse = func(string, string) error { return errors.New("away") } })
		b.put(demos, "default", "a", "uid-a")
		time.Sleep(time.Minute)
		if n := len(b.temporal.made()); n < 8 || n > 25 {
			t.Errorf("%d attempts in a minute", n)
		}
		b.temporal.set(func(s *temporalServer) { s.refuse = nil })
		time.Sleep(maxBackoff)
		b.believes("a", "uid-a")
	})
}

func TestRestlessInstanceIsThrottled(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "uid-a")
		for i := range 3000 {
			b.put(services, "default", "s", "s1", b.belongs("a"), fmt.Sprintf(`"annotations":{"n":"%d"}`, i))
			synctest.Wait()
			time.Sleep(time.Millisecond)
		}
		if n := len(b.temporal.made()); n > signalBurst+20 {
			t.Errorf("%d signals in 3 seconds", n)
		}
		time.Sleep(time.Second)
		b.put(demos, "default", "a", "uid-a")
		b.workflow("a", "uid-a", func(w *workflowState) {
			object, _ := b.store.Get(virtual.Key{Kind: services, Namespace: "default", Name: "s"})
			if w.believes["services default/s"] != object.Hash() {
				t.Error("the last state did not arrive")
			}
		})
	})
}

func TestResync(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "uid-a")
		for i := range 2*listBatch + 3 {
			b.put(services, "default", fmt.Sprintf("s%d", i), fmt.Sprintf("s%d", i), b.belongs("a"))
		}
		b.put(services, "default", "lost", "lost", b.belongs("a"))
		synctest.Wait()

		// A new process, after changes that nobody watched.
		b.stop()
		b.store.OnChange(func(virtual.Change) {})
		b.remove(services, "default", "lost")
		b.put(services, "default", "found", "found", b.belongs("a"))
		b.workflow("a", "uid-a", func(w *workflowState) { w.resyncs = nil })
		b.start(demoOperator())
		b.settle(demos, services)
		synctest.Wait()
		b.workflow("a", "uid-a", func(w *workflowState) {
			if len(w.resyncs) != 0 || w.resources != 2 {
				t.Errorf("%d parts, %d resource signals; ConfigMaps are not yet known", len(w.resyncs), w.resources)
			}
		})
		b.put(services, "default", "found", "found", b.belongs("a"), `"annotations":{"a":"b"}`)
		b.settle(configMaps)
		b.workflow("a", "uid-a", func(w *workflowState) {
			if len(w.resyncs) != 3 {
				t.Fatalf("%d parts", len(w.resyncs))
			}
			for i, part := range w.resyncs {
				if part.Part != i || part.Last != (i == 2) || part.ID != w.resyncs[0].ID || len(part.Changes) > listBatch {
					t.Errorf("part %d: id %s, part %d, last %v, %d changes", i, part.ID, part.Part, part.Last, len(part.Changes))
				}
			}
			if len(w.believes) != 2*listBatch+4 || w.believes["services default/lost"] != "" || w.believes["services default/found"] == "" {
				t.Errorf("%d objects are believed in", len(w.believes))
			}
		})
	})
}

func TestAKindThatIsNotSyncedHoldsUpTheResyncOnly(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle(demos, services)
		b.put(demos, "default", "a", "uid-a")
		b.put(services, "default", "s", "s1", b.belongs("a"))
		synctest.Wait()
		b.workflow("a", "uid-a", func(w *workflowState) {
			if len(w.dirties)+len(w.resyncs) != 0 {
				t.Error("changes went ahead of the resync at once")
			}
		})
		time.Sleep(resyncPatience)
		b.workflow("a", "uid-a", func(w *workflowState) {
			if len(w.dirties) != 1 || len(w.resyncs) != 0 {
				t.Errorf("%d signals of changes, %d of a resync", len(w.dirties), len(w.resyncs))
			}
		})
		b.settle(configMaps)
		b.workflow("a", "uid-a", func(w *workflowState) {
			if len(w.resyncs) != 1 || len(w.resyncs[0].Changes) != 1 {
				t.Errorf("resyncs: %+v", w.resyncs)
			}
		})
	})
}

func TestATerminatedWorkflowStartsAnewWithEverything(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "uid-a")
		b.put(services, "default", "s1", "s1", b.belongs("a"))
		synctest.Wait()
		b.temporal.set(func(s *temporalServer) { clear(s.workflows) })
		b.put(services, "default", "s2", "s2", b.belongs("a"))
		time.Sleep(time.Second)
		b.believes("a", "uid-a", "services default/s1", "services default/s2")
		b.workflow("a", "uid-a", func(w *workflowState) {
			if w.resources != 1 || len(w.resyncs) != 1 {
				t.Errorf("%d resource signals, %d resyncs", w.resources, len(w.resyncs))
			}
		})
	})
}

func TestACompletedWorkflowStaysCompleted(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "uid-a")
		synctest.Wait()
		b.workflow("a", "uid-a", func(w *workflowState) { w.completed = true })
		b.put(services, "default", "s1", "s1", b.belongs("a"))
		b.put(demos, "default", "a", "uid-a", `"generation":5`)
		time.Sleep(time.Minute)
		calls := len(b.temporal.made())
		b.put(services, "default", "s2", "s2", b.belongs("a"))
		time.Sleep(time.Minute)
		if n := len(b.temporal.made()); n != calls || n > 6 {
			t.Errorf("%d signals to a completed workflow, %d at first", n, calls)
		}
	})
}

func TestRecreatedUnderItsOldName(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "old-0001")
		b.put(services, "default", "s", "s1", b.belongs("a"))
		b.believes("a", "old-0001", "services default/s")
		b.temporal.set(func(s *temporalServer) { s.refuse = func(string, string) error { return errors.New("away") } })
		b.remove(demos, "default", "a")
		b.put(demos, "default", "a", "new-0001")
		synctest.Wait()
		b.put(demos, "default", "a", "new-0002") // seen at a relist
		b.put(services, "default", "t", "t1", b.belongs("a"))
		b.temporal.set(func(s *temporalServer) { s.refuse = nil })
		time.Sleep(maxBackoff)
		b.workflow("a", "old-0001", func(w *workflowState) {
			if !w.resource.Gone || w.believes["services default/t"] != "" {
				t.Errorf("the old one: %+v", w)
			}
		})
		b.believes("a", "new-0002", "services default/s", "services default/t")
		if b.traces() != 1 {
			t.Errorf("%d instances are remembered", b.traces())
		}
	})
}

func TestAnUnknownProfileHasNoRules(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "uid-a", `"annotations":{"mainstay.dev/profile":"typo"}`)
		b.put(services, "default", "s", "s1", b.belongs("a"))
		time.Sleep(time.Minute)
		b.workflow("a", "uid-a", func(w *workflowState) {
			if w.resource.Profile != "typo" || len(w.resyncs)+len(w.dirties) > 0 {
				t.Errorf("profile %q, %d resyncs: it would take all objects for deleted", w.resource.Profile, len(w.resyncs))
			}
		})
	})
}

// TestBelievesEndAsTruth does things at random while Temporal fails at random; in the end every workflow must believe
// what is true.
func TestBelievesEndAsTruth(t *testing.T) {
	for seed := range uint64(10) {
		onBench(t, func(b *bench) {
			random := rand.New(rand.NewPCG(seed, 2))
			fail := rand.New(rand.NewPCG(seed, 3))
			b.settle()
			maybe := func(string, string) error {
				if fail.IntN(3) == 0 {
					return errors.New("by chance")
				}
				return nil
			}
			b.temporal.set(func(s *temporalServer) { s.refuse, s.lose = maybe, maybe })
			names := []string{"a", "b", "c"}
			uids := map[string]string{}
			for i := range 400 {
				name := names[random.IntN(len(names))]
				switch k := random.IntN(20); {
				case k == 0 && uids[name] != "":
					b.remove(demos, "default", name)
					delete(uids, name)
				case k <= 2:
					if uids[name] == "" {
						uids[name] = fmt.Sprintf("%08d", i)
					}
					profile := []string{"default", "other"}[random.IntN(2)]
					b.put(demos, "default", name, uids[name], fmt.Sprintf(`"annotations":{"mainstay.dev/profile":%q}`, profile))
				case k == 3:
					b.stop()
					b.start(demoOperator())
					b.settle()
				default:
					kind := []virtual.Kind{services, configMaps}[random.IntN(2)]
					object := fmt.Sprint(random.IntN(6))
					key := virtual.Key{Kind: kind, Namespace: "default", Name: object}
					if _, ok := b.store.Get(key); ok && random.IntN(2) == 0 {
						b.remove(kind, "default", object)
					} else {
						b.put(kind, "default", object, fmt.Sprint(i), b.belongs(name))
					}
				}
				if random.IntN(3) == 0 {
					time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
				}
			}
			b.temporal.set(func(s *temporalServer) { s.refuse, s.lose = nil, nil })
			time.Sleep(2 * maxBackoff)
			for name, uid := range uids {
				instance := b.instance(name, uid)
				want := map[string]string{}
				cr, _ := b.store.Get(virtual.Key{Kind: demos, Namespace: "default", Name: name})
				b.store.ByInstance(instance.Label(), services, func(o virtual.Object) bool {
					want["services default/"+o.Name] = o.Hash()
					return true
				})
				if strings.Contains(string(cr.JSON()), `"default"}`) {
					b.store.List(configMaps, "default", func(o virtual.Object) bool {
						want["config default/"+o.Name] = o.Hash()
						return true
					})
				}
				b.workflow(name, uid, func(w *workflowState) {
					if fmt.Sprint(w.believes) != fmt.Sprint(want) {
						t.Errorf("seed %d: %s believes %v, want %v", seed, name, w.believes, want)
					}
				})
			}
		})
	}
}

// BenchmarkReaction is the way from an object's new state to the signal's arrival at the client.
func BenchmarkReaction(b *testing.B) {
	store, err := virtual.Open(virtual.Options{InstanceLabel: plan.InstanceLabel})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	arrived := make(chan struct{}, 1)
	w, err := newWatcher(Options{Store: store, Operators: []*specs.Operator{demoOperator()}, Log: quiet()}, nil, arrival(arrived))
	if err != nil {
		b.Fatal(err)
	}
	for _, src := range w.sources.kinds {
		w.sources.settle(src)
	}
	go w.lead(b.Context())
	instance := plan.Instance{Operator: "demo", Resource: demoOperator().Plan.Resource, Namespace: "default", Name: "a", UID: "uid-a"}
	demo := `{"metadata":{"name":"a","namespace":"default","uid":"uid-a","resourceVersion":"1"}}`
	if _, _, err := store.Put(virtual.Key{Kind: demos, Namespace: "default", Name: "a"}, []byte(demo)); err != nil {
		b.Fatal(err)
	}
	<-arrived // resource
	<-arrived // resync
	w.locked(func() { w.byUID["uid-a"].limiter.SetLimit(1e9) })
	filler := strings.Repeat("x", 2500)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		doc := fmt.Appendf(nil, `{"metadata":{"name":"s","namespace":"default","uid":"s","resourceVersion":"%d","labels":{%q:%q}},"data":{"n":%d,"filler":%q}}`,
			i+2, plan.InstanceLabel, instance.Label(), i, filler)
		if _, _, err := store.Put(virtual.Key{Kind: services, Namespace: "default", Name: "s"}, doc); err != nil {
			b.Fatal(err)
		}
		<-arrived
	}
}

// arrival is a Temporal that only says that a signal came.
type arrival chan struct{}

func (a arrival) SignalWithStartWorkflow(context.Context, string, string, any, client.StartWorkflowOptions, any, ...any) (client.WorkflowRun, error) {
	a <- struct{}{}
	return nil, nil
}

func (a arrival) SignalWorkflow(context.Context, string, string, string, any) error {
	a <- struct{}{}
	return nil
}

func (a arrival) ListWorkflow(context.Context, *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	return &workflowservice.ListWorkflowExecutionsResponse{}, nil
}
