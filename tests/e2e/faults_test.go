//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/converter"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/tests/stack"
)

// full runs the faults in the numbers that are promised (make faults); else they are fewer, so that each change can be
// tested with them.
var full = os.Getenv("MAINSTAY_FAULTS") == "full"

func amount(few, all int) int {
	if full {
		return all
	}
	return few
}

// churn makes random changes to ConfigMaps until it is stopped, and knows how they must look in the end.
type churn struct {
	*scenario
	random *rand.Rand
	names  []string

	mu      sync.Mutex
	value   map[string]string // of those that are there
	deleted map[string]bool   // of those that were there and aren't
	steps   int
}

func newChurn(sc *scenario, objects int) *churn {
	h := &churn{scenario: sc, random: rand.New(rand.NewPCG(3, uint64(objects))), value: map[string]string{}, deleted: map[string]bool{}}
	for i := range objects {
		h.names = append(h.names, fmt.Sprintf("o%02d", i))
	}
	return h
}

// run changes something every pause or so until ctx ends.
func (h *churn) run(ctx context.Context, pause time.Duration) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := h.step(); err != nil && ctx.Err() == nil {
				h.Errorf("a change of the random history: %v", err)
				return
			}
		}
	}
}

// step creates, changes or deletes one object.
func (h *churn) step() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.steps++
	name, value := h.names[h.random.IntN(len(h.names))], fmt.Sprint("v", h.steps)
	api := h.Kube.CoreV1().ConfigMaps(h.namespace)
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"watched": "yes"}}, Data: map[string]string{"value": value}}
	_, there := h.value[name]
	switch {
	case !there:
		if _, err := api.Create(h.ctx, cm, metav1.CreateOptions{}); err != nil {
			return err
		}
	case h.random.IntN(4) == 0:
		if err := api.Delete(h.ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		delete(h.value, name)
		h.deleted[name] = true
		return nil
	default:
		if _, err := api.Update(h.ctx, cm, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	h.value[name] = value
	delete(h.deleted, name)
	return nil
}

// settled waits until each object's last state was handled, and each deletion.
func (h *churn) settled(within time.Duration, id string) {
	h.Helper()
	last := ""
	defer func() {
		if h.Failed() {
			h.explain(id, last)
		}
	}()
	h.eventually(within, "the last state of each object is handled", func() error {
		list, err := h.Kube.CoreV1().ConfigMaps(h.namespace).List(h.ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		seen := map[string]string{}
		for _, cm := range list.Items {
			seen[cm.Name] = cm.Data["value"]
		}
		for _, name := range slices.Sorted(maps.Keys(h.value)) {
			if got := seen["seen-"+name]; got != h.value[name] {
				last = name
				return fmt.Errorf("%s has %s, handled was %q", name, h.value[name], got)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(h.deleted)) {
			// An object that came and went unseen leaves nothing to handle.
			if got, handled := seen["seen-"+name]; handled && got != "deleted" {
				last = name
				return fmt.Errorf("%s is gone, handled was %q", name, got)
			}
		}
		return nil
	})
}

// explain logs what the workflow knows of an object.
func (h *churn) explain(id, name string) {
	key := h.namespace + "/" + name
	cm, err := h.Kube.CoreV1().ConfigMaps(h.namespace).Get(h.ctx, name, metav1.GetOptions{})
	h.Logf("%s is uid %s, version %s (%v)", name, cm.UID, cm.ResourceVersion, err)
	var objects struct {
		Seen map[string]map[string]plan.Seen
	}
	if v, err := h.Temporal.QueryWorkflow(h.ctx, id, "", "objects"); err == nil && v.Get(&objects) == nil {
		h.Logf("remembered: %+v", objects.Seen["copy"][key])
	}
	var why []string
	if v, err := h.Temporal.QueryWorkflow(h.ctx, id, "", "why"); err == nil && v.Get(&why) == nil {
		h.Logf("why: %q", why)
	}
	for _, r := range h.reactions(id)["copy "+key] {
		h.Logf("handled: %+v", r)
	}
}

// handled is one reaction that was carried out, as the workflow's history has it.
type handled struct {
	category  plan.Category
	uid, hash string
	version   string
}

// reactions reads from the histories of all runs of a Maintain what was handled, by rule and object, in order.
func (sc *scenario) reactions(id string) map[string][]handled {
	sc.Helper()
	out := map[string][]handled{}
	d, err := sc.Temporal.DescribeWorkflowExecution(sc.ctx, id, "")
	if err != nil {
		sc.Fatal(err)
	}
	run := d.WorkflowExecutionInfo.FirstRunId
	if run == "" {
		run = d.WorkflowExecutionInfo.Execution.RunId
	}
	for run != "" {
		events := sc.Temporal.GetWorkflowHistory(sc.ctx, id, run, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		scheduled := map[int64]*plan.Event{}
		run = ""
		for events.HasNext() {
			e, err := events.Next()
			if err != nil {
				sc.Fatal(err)
			}
			switch a := e.Attributes.(type) {
			case *historypb.HistoryEvent_ActivityTaskScheduledEventAttributes:
				var in plan.CommandInput
				if err := converter.GetDefaultDataConverter().FromPayloads(a.ActivityTaskScheduledEventAttributes.Input, &in); err == nil {
					scheduled[e.EventId] = in.Event
				}
			case *historypb.HistoryEvent_ActivityTaskCompletedEventAttributes:
				if ev := scheduled[a.ActivityTaskCompletedEventAttributes.ScheduledEventId]; ev != nil {
					key := ev.Rule + " " + ev.Change.Key()
					out[key] = append(out[key], handled{ev.Category, ev.Change.UID, ev.Change.Hash, ev.Change.ResourceVersion})
				}
			case *historypb.HistoryEvent_WorkflowExecutionContinuedAsNewEventAttributes:
				run = a.WorkflowExecutionContinuedAsNewEventAttributes.NewExecutionRunId
			}
		}
	}
	return out
}

// once checks that no state was handled twice in a row, and that what was created and is gone was handled as deleted.
func (h *churn) once(id string) {
	h.Helper()
	all := h.reactions(id)
	total := 0
	for _, key := range slices.Sorted(maps.Keys(all)) {
		steps := all[key]
		total += len(steps)
		for i := 1; i < len(steps); i++ {
			if steps[i].uid == steps[i-1].uid && steps[i].hash == steps[i-1].hash {
				h.Errorf("%s: handled twice for one state: %+v", key, steps[i])
			}
			if steps[i].uid != steps[i-1].uid && steps[i-1].category != plan.DidDelete {
				h.Errorf("%s: the deletion of %s was not handled: %+v", key, steps[i-1].uid, steps)
			}
		}
	}
	for name := range h.deleted {
		if steps := all["copy "+h.namespace+"/"+name]; len(steps) > 0 && steps[len(steps)-1].category != plan.DidDelete {
			h.Errorf("%s is gone, and last handled as %s", name, steps[len(steps)-1].category)
		}
	}
	h.Logf("%d changes of %d objects, %d reactions", h.steps, len(h.names), total)
	if total == 0 {
		h.Error("nothing was handled at all")
	}
}

// TestRandomHistoryThroughKills: creates, changes and deletes, while the operator and Temporal are killed again and
// again. It has a devstack of its own, in two halves.
func TestRandomHistoryThroughKills(t *testing.T) {
	kills, temporalKills := amount(12, 50), amount(1, 5)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	own, err := stack.Up(ctx, t.TempDir(), stack.Temporal, stack.Kubernetes)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Down()
	sc := newScenario(t, own, "kills", "ledger.txtar")
	sc.ctx = ctx
	sc.start()
	sc.create("demo", map[string]any{})
	st := sc.ready(time.Minute, "demo")

	h := newChurn(sc, 30)
	changing, stop := context.WithCancel(ctx)
	var changes sync.WaitGroup
	changes.Go(func() { h.run(changing, 40*time.Millisecond) })
	for i := range kills {
		<-time.After(300*time.Millisecond + time.Duration(h.random.IntN(2500))*time.Millisecond)
		sc.kill()
		if i%(kills/temporalKills) == 1 {
			own.Process(stack.Temporal).Kill()
			<-time.After(time.Duration(h.random.IntN(1000)) * time.Millisecond)
			if err := own.Start(ctx, stack.Temporal); err != nil {
				t.Fatal(err)
			}
		}
		sc.start()
	}
	stop()
	changes.Wait()
	id := sc.instance("demo", st.UID).WorkflowID()
	h.settled(2*time.Minute, id)
	h.once(id)
	sc.stop()
}

// TestTwoReplicas: the replica that leads is killed again and again under load.
func TestTwoReplicas(t *testing.T) {
	t.Parallel()
	rounds, every := amount(3, 9), 20*time.Second
	if !full {
		every = 8 * time.Second
	}
	sc := newScenario(t, shared, "replicas", "ledger.txtar")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	sc.ctx = ctx
	logs := [2]*logBuffer{{}, {}}
	var replicas [2]*stack.Process
	launch := func(i int) {
		p, err := sc.Mainstay(sc.operators, logs[i], "--lease-duration", "5s")
		if err != nil {
			t.Fatal(err)
		}
		replicas[i] = p
	}
	launch(0)
	launch(1)
	defer func() {
		for i, p := range replicas {
			p.Kill()
			if t.Failed() {
				t.Logf("log of replica %d:\n%s", i, logs[i].tail(6000))
			}
		}
	}()
	sc.create("demo", map[string]any{})
	st := sc.ready(time.Minute, "demo")
	holds := func(identity string, p *stack.Process) bool {
		return strings.Contains(identity, fmt.Sprintf("/%d/", p.Pid()))
	}
	leader := func() int {
		holder := ""
		sc.eventually(30*time.Second, "one replica leads", func() error {
			leases, err := sc.Kube.CoordinationV1().Leases(metav1.NamespaceAll).List(sc.ctx, metav1.ListOptions{})
			if err != nil {
				return err
			}
			for _, l := range leases.Items {
				for _, p := range replicas {
					if l.Spec.HolderIdentity != nil && holds(*l.Spec.HolderIdentity, p) {
						holder = *l.Spec.HolderIdentity
						return nil
					}
				}
			}
			return fmt.Errorf("no Lease is held by one of them")
		})
		if holds(holder, replicas[0]) {
			return 0
		}
		return 1
	}

	h := newChurn(sc, 30)
	changing, stop := context.WithCancel(ctx)
	var changes sync.WaitGroup
	changes.Go(func() { h.run(changing, 40*time.Millisecond) })
	for range rounds {
		<-time.After(every)
		i := leader()
		replicas[i].Kill()
		sc.eventually(30*time.Second, "the other replica leads", func() error {
			if now := leader(); now == i {
				return fmt.Errorf("the dead one still holds the Lease")
			}
			return nil
		})
		launch(i)
	}
	stop()
	changes.Wait()
	id := sc.instance("demo", st.UID).WorkflowID()
	h.settled(time.Minute, id)
	h.once(id)
}
