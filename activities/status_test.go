package activities

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// ready, reconciling, stalled as one text: "True False False".
func threeOf(status map[string]any) string {
	list, _ := status["conditions"].([]any)
	return fmt.Sprint(conditionStatus(list, "Ready"), " ", conditionStatus(list, "Reconciling"), " ", conditionStatus(list, "Stalled"))
}

func TestConditions(t *testing.T) {
	now := time.Now()
	s := map[string]any{"url": "mine", "conditions": []any{map[string]any{"type": "Theirs", "status": "True"}}}
	steps := []struct {
		phase plan.Phase
		want  string
	}{
		{plan.PhaseDeploying, "False True False"},
		{plan.PhasePaused, "False False False"},
		{plan.PhaseReady, "True False False"},
		{plan.PhaseReady, "True False False"},
		{plan.PhaseDeploying, "Unknown True False"},
		{plan.PhaseDeploying, "Unknown True False"},
		{plan.PhaseStalled, "False False True"},
		{plan.PhaseDeploying, "False True False"},
		{plan.PhaseReady, "True False False"},
		{plan.PhasePaused, "True False False"},
		{plan.PhaseDeleting, "False True False"},
	}
	for i, step := range steps {
		mergeStatus(s, plan.StatusInput{Generation: int64(i), Phase: step.phase, Reason: "R", Message: "m"}, now.Add(time.Duration(i)*time.Hour))
		if got := threeOf(s); got != step.want {
			t.Errorf("step %d, %s: got %s, want %s", i, step.phase, got, step.want)
		}
	}
	if s["url"] != "mine" || conditionStatus(s["conditions"].([]any), "Theirs") != "True" {
		t.Errorf("others' fields: %v", s)
	}
	mergeStatus(s, plan.StatusInput{Generation: 1}, now)
	if s["observedGeneration"] != int64(10) || s["phase"] != "Deleting" {
		t.Errorf("went backwards: %v", s)
	}
	at := func() any { return s["conditions"].([]any)[1].(map[string]any)["lastTransitionTime"] }
	before := at()
	mergeStatus(s, plan.StatusInput{Generation: 20, Phase: plan.PhaseDeleting, Reason: "R"}, now.Add(100*time.Hour))
	if at() != before {
		t.Error("the transition time has changed without a transition")
	}
	// kstatus, which kubectl wait and others use, must agree.
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "a/v1", "kind": "K", "metadata": map[string]any{"name": "x", "generation": int64(20)}, "status": s}}
	if v := healthy(refOf(u), u); v.done {
		t.Error("kstatus calls a resource current that is being deleted")
	}
	mergeStatus(s, plan.StatusInput{Generation: 20, Phase: plan.PhaseReady, Reason: "R"}, now)
	if v := healthy(refOf(u), u); !v.done {
		t.Errorf("kstatus doesn't call a ready resource current: %+v", v)
	}
}

func TestMergeCommands(t *testing.T) {
	start := time.Date(2030, 1, 2, 3, 4, 5, 6000, time.UTC)
	later := start.Add(time.Hour)
	running := func(at *time.Time) []plan.CommandStatus {
		return []plan.CommandStatus{{Name: "a", Kind: "helm", State: plan.StateRunning, Started: at}}
	}
	s := map[string]any{}
	merge := func(cs []plan.CommandStatus) map[string]any {
		mergeStatus(s, plan.StatusInput{Commands: cs}, start)
		return s["commands"].([]any)[0].(map[string]any)
	}
	merge(running(&start))
	recordAttempt(s, "commands", "a", "helm", plan.StateRetrying, 3, "why")
	if c := merge(running(&start)); c["state"] != "Retrying" || c["attempts"] != int64(3) || c["message"] != "why" || c["startedAt"] == nil {
		t.Errorf("an attempt got lost: %v", c)
	}
	if c := merge(running(&later)); c["state"] != "Running" || c["attempts"] != nil {
		t.Errorf("a new run takes the old one's attempts: %v", c)
	}
	recordAttempt(s, "commands", "a", "helm", plan.StateRetrying, 4, "why")
	done := []plan.CommandStatus{{Name: "a", Kind: "helm", State: plan.StateSucceeded, Attempts: 5, Message: "ok", Started: &later}}
	if c := merge(done); c["state"] != "Succeeded" || c["attempts"] != int64(5) || c["message"] != "ok" {
		t.Errorf("the end: %v", c)
	}
	mergeStatus(s, plan.StatusInput{Commands: []plan.CommandStatus{}}, start)
	if len(s["commands"].([]any)) != 0 {
		t.Error("an empty list doesn't clear")
	}
}

// env runs the bench's activities as Temporal's worker would.
func (b *bench) env() *testsuite.TestActivityEnvironment {
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetTestTimeout(time.Minute)
	b.Register(registry{env}, b.op)
	return env
}

// registry is as much of a worker as Register needs.
type registry struct {
	*testsuite.TestActivityEnvironment
}

func (r registry) RegisterDynamicActivity(any, activity.DynamicRegisterOptions) {}

var _ worker.ActivityRegistry = registry{}

func (b *bench) status() map[string]any {
	b.Helper()
	s, _, _ := unstructured.NestedMap(b.object("test.mainstay.dev/v1", "Widget", "demo").Object, "status")
	return s
}

func TestStatusActivity(t *testing.T) {
	b := newBench(t)
	env := b.env()
	in := plan.StatusInput{
		Instance: b.instance, Generation: 1, Revision: "abc", Phase: plan.PhaseReady, Reason: "Deployed", Message: "generation 1 is deployed",
		Commands: []plan.CommandStatus{{Name: "app", Kind: "helm", State: plan.StateSucceeded, Attempts: 2}},
		Releases: []plan.Release{{Name: "demo-app", Namespace: b.ns, Revision: 1}}, RunID: "r/1",
	}
	var version string
	for range 2 {
		if _, err := env.ExecuteActivity(plan.ActivityStatus, in); err != nil {
			t.Fatal(err)
		}
		u := b.object("test.mainstay.dev/v1", "Widget", "demo")
		if version != "" && version != u.GetResourceVersion() {
			t.Error("the second write was none that was needed")
		}
		version = u.GetResourceVersion()
	}
	s := b.status()
	delete(s, "conditions")
	id := b.instance.WorkflowID()
	want := map[string]any{
		"observedGeneration": int64(1), "revision": "abc", "phase": "Ready",
		"commands": []any{map[string]any{"name": "app", "cmd": "helm", "state": "Succeeded", "attempts": int64(2)}},
		"releases": []any{map[string]any{"name": "demo-app", "namespace": b.ns, "revision": int64(1)}},
		"workflow": map[string]any{"id": id, "runId": "r/1", "url": "http://ui.example/namespaces/default/workflows/" + strings.ReplaceAll(id, "/", "%2F") + "/r%2F1"},
	}
	if d := cmp.Diff(want, s); d != "" {
		t.Error(d)
	}
	events, err := b.cluster.typed.EventsV1().Events(b.ns).List(context.Background(), metav1.ListOptions{})
	if err != nil || len(events.Items) != 1 || events.Items[0].Reason != "Deployed" || events.Items[0].Regarding.Name != "demo" {
		t.Errorf("events: %+v, %v", events, err)
	}
	in.Instance.UID = "another"
	in.Phase = plan.PhaseStalled
	if _, err := env.ExecuteActivity(plan.ActivityStatus, in); err != nil || b.status()["phase"] != "Ready" {
		t.Errorf("another uid: %v, %v", err, b.status())
	}
	in.Instance.Name = "none"
	if _, err := env.ExecuteActivity(plan.ActivityStatus, in); err != nil {
		t.Errorf("a resource that is gone: %v", err)
	}
}

func TestFinalizer(t *testing.T) {
	b := newBench(t)
	env := b.env()
	do := func(i plan.Instance, remove bool) []string {
		t.Helper()
		if _, err := env.ExecuteActivity(plan.ActivityFinalizer, plan.FinalizerInput{Instance: i, Remove: remove}); err != nil {
			t.Fatal(err)
		}
		if u := b.object("test.mainstay.dev/v1", "Widget", "demo"); u != nil {
			return u.GetFinalizers()
		}
		return nil
	}
	other := b.instance
	other.UID = "another"
	b.applyRaw(fmt.Sprintf("{apiVersion: test.mainstay.dev/v1, kind: Widget, metadata: {name: demo, namespace: %s, finalizers: [example.com/x]}}", b.ns))
	for i, step := range []struct {
		instance plan.Instance
		remove   bool
		want     []string
	}{
		{other, false, []string{"example.com/x"}},
		{b.instance, false, []string{"example.com/x", plan.Finalizer}},
		{b.instance, false, []string{"example.com/x", plan.Finalizer}},
		{other, true, []string{"example.com/x", plan.Finalizer}},
		{b.instance, true, []string{"example.com/x"}},
		{b.instance, true, []string{"example.com/x"}},
	} {
		if d := cmp.Diff(step.want, do(step.instance, step.remove)); d != "" {
			t.Errorf("step %d: %s", i, d)
		}
	}
	if err := b.cluster.delete(context.Background(), b.object("test.mainstay.dev/v1", "Widget", "demo")); err != nil {
		t.Fatal(err)
	}
	if got := do(b.instance, false); len(got) == 0 || got[len(got)-1] == plan.Finalizer {
		t.Errorf("added to what is being deleted: %v", got)
	}
	b.applyRaw(fmt.Sprintf("{apiVersion: test.mainstay.dev/v1, kind: Widget, metadata: {name: demo, namespace: %s}}", b.ns))
	gone := b.instance
	gone.Name = "none"
	do(gone, true)
	do(gone, false)
}

func TestPlanActivity(t *testing.T) {
	b := newBench(t)
	env := b.env()
	get := func(i plan.Instance) (plan.PlanResult, error) {
		v, err := env.ExecuteActivity(plan.ActivityPlan, plan.PlanInput{Instance: i})
		var res plan.PlanResult
		if err == nil {
			err = v.Get(&res)
		}
		return res, err
	}
	res, err := get(b.instance)
	want := plan.ResourceSignal{Generation: 1, Revision: "d1", Profile: plan.DefaultProfile}
	if err != nil || res.Resource != want || res.Profile == nil {
		t.Errorf("%+v, %v", res, err)
	}
	b.applyRaw(fmt.Sprintf("{apiVersion: test.mainstay.dev/v1, kind: Widget, metadata: {name: demo, namespace: %s, annotations: {%s: big}}}", b.ns, plan.ProfileAnnotation))
	if res, err = get(b.instance); err != nil || res.Profile != nil || !strings.Contains(res.Error, "one of: default") || res.Resource.Profile != "big" {
		t.Errorf("%+v, %v", res, err)
	}
	other := b.instance
	other.UID = "another"
	if res, err := get(other); err != nil || !res.Resource.Gone || res.Profile != nil {
		t.Errorf("%+v, %v", res, err)
	}
}

// An attempt as Temporal runs it: the error's shape, and what the resource's status tells of it.
func TestAttemptIsShown(t *testing.T) {
	b := helmBench(t)
	env := b.env()
	in := plan.CommandInput{Instance: b.instance, Command: app()}
	in.Command.Engine = "helm"
	in.Command.Helm.Namespace = "nowhere"
	_, err := env.ExecuteActivity(plan.KindHelm, in)
	var failed *temporal.ApplicationError
	var detail plan.Failure
	if !errors.As(err, &failed) || failed.Type() != TypeNotFound || failed.NonRetryable() || failed.Details(&detail) != nil || detail.Attempts != 1 {
		t.Fatalf("got %v, %+v", err, detail)
	}
	s := b.status()
	c := s["commands"].([]any)[0].(map[string]any)
	if c["state"] != "Retrying" || c["attempts"] != int64(1) || threeOf(s) != "False True " {
		t.Errorf("status: %v", s)
	}
	in.Event = &plan.Event{Rule: "rule", Category: plan.DidDelete, APIVersion: "v1", Kind: "Service", Change: plan.Change{Name: "x"}}
	in.Command.Helm.Chart = "none"
	if _, err = env.ExecuteActivity(plan.KindHelm, in); !errors.As(err, &failed) || failed.Type() != TypeChart || !failed.NonRetryable() {
		t.Fatalf("got %v", err)
	}
	r := b.status()["rules"].([]any)[0].(map[string]any)
	if r["state"] != "Failed" || r["name"] != "rule" || !strings.Contains(r["message"].(string), "chart") {
		t.Errorf("rule: %v", r)
	}
	in.Event = nil
	in.Command = app()
	in.Command.Engine = "helm"
	v, err := env.ExecuteActivity(plan.KindHelm, in)
	var res plan.CommandResult
	if err != nil || v.Get(&res) != nil || res.Attempts != 1 || !res.Changed {
		t.Fatalf("%+v, %v", res, err)
	}
}

// A panic is an error like others, and a cancellation is told to Temporal as such.
func TestAttemptEnds(t *testing.T) {
	b := newBench(t)
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivityWithOptions(b.Activities.command(b.op, func(*attempt, context.Context) (plan.CommandResult, error) {
		panic("a bug")
	}), activity.RegisterOptions{Name: "panics"})
	var failed *temporal.ApplicationError
	_, err := env.ExecuteActivity("panics", plan.CommandInput{Instance: b.instance, Command: app()})
	if !errors.As(err, &failed) || failed.Type() != TypePanic || failed.NonRetryable() {
		t.Errorf("got %v", err)
	}
	at := b.attempt(app(), nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := at.failed(ctx, errors.New("what it made of it")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	ctx, pause := context.WithCancelCause(context.Background())
	pause(activity.ErrActivityPaused)
	if err := at.failed(ctx, errors.New("what it made of it")); !errors.Is(err, activity.ErrActivityPaused) {
		t.Errorf("got %v", err)
	}
}
