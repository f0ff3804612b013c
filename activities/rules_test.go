package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// inTemporal runs activities as a worker does.
func (b *bench) inTemporal() *testsuite.TestActivityEnvironment {
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetWorkerOptions(worker.Options{})
	b.Register(envRegistry{env}, b.op)
	return env
}

// envRegistry lets Register fill a test environment.
type envRegistry struct {
	*testsuite.TestActivityEnvironment
}

func (r envRegistry) RegisterDynamicActivity(any, activity.DynamicRegisterOptions) {}

func TestDecide(t *testing.T) {
	b := newBench(t)
	b.applyRaw(fmt.Sprintf("{apiVersion: v1, kind: Service, metadata: {name: s, namespace: %s, labels: {a: b}}, spec: {ports: [{port: 80}]}}", b.ns))
	b.ingress("i0")
	b.ingress("i1")
	f := b.feed(serviceTable, ingressTable, secretTable)
	query := func(text string) *plan.Query {
		q := sqlOf(t, nil, text).SQL.Statements[0]
		return &q
	}
	all := query(`SELECT name FROM ingresses WHERE namespace = :object_namespace AND :object_name = 's' ORDER BY name`)
	none := query(`SELECT name FROM ingresses WHERE name = :uid`)
	tests := []struct {
		name   string
		decide *plan.Decide
		act    bool
		rows   int
		why    string // or the error
	}{
		{"nothing to decide", nil, true, 0, "decides nothing"},
		{"rows", &plan.Decide{SQL: all}, true, 2, "2 rows"},
		{"no rows", &plan.Decide{SQL: none}, false, 0, "no rows"},
		{"when", &plan.Decide{When: `object.spec.ports[0].port == 80 && event.name == 's' && cr.spec.size == 'one' && instance.releases.app == 'demo-app'`}, true, 0, "when is true: object.spec"},
		{"not when", &plan.Decide{When: `object.spec.type == 'LoadBalancer'`}, false, 0, "when is false: object.spec.type == 'LoadBalancer'"},
		{"both", &plan.Decide{SQL: all, When: "size(rows) > 1 &&\n  rows[1].name == 'i1'"}, true, 2, "when is true: size(rows) > 1 && rows[1].name == 'i1' (2 rows)"},
		{"both, without rows", &plan.Decide{SQL: none, When: `size(rows) > 0`}, false, 0, "when is false: size(rows) > 0 (0 rows)"},
		{"a field that isn't there", &plan.Decide{When: `object.spec.nothing == 1`, WhenAt: "operator.yaml:9:13"}, false, 0, `operator.yaml:9:13: decide.when of rule "a field that isn't there"`},
		{"a query's fault", &plan.Decide{SQL: query(`SELECT nothing FROM ingresses`)}, false, 0, `operator.yaml:10:7: rule "a query's fault", decide.sql`},
		{"a query that writes", &plan.Decide{SQL: query(`DELETE FROM ingresses`)}, false, 0, "decide.sql"},
		{"a table that isn't there yet", &plan.Decide{SQL: query(`SELECT 1 FROM configmaps`)}, false, 0, "configmaps"},
	}
	var rules []plan.Rule
	for _, tt := range tests {
		r := watches(tt.name, plan.Watch{Scope: plan.ScopeNamespace})
		r.Decide = tt.decide
		rules = append(rules, r)
	}
	b.op.Plan.Profiles[plan.DefaultProfile] = &plan.Profile{Rules: rules}
	env := b.inTemporal()
	input := func(rule string) plan.DecideInput {
		return plan.DecideInput{
			Instance: b.instance, Revision: b.op.Plan.Digest, Profile: plan.DefaultProfile, Releases: map[string]string{"app": "demo-app"},
			Event: plan.Event{Rule: rule, Category: plan.DidChange, APIVersion: "v1", Kind: "Service", Change: plan.Change{Rule: rule, Namespace: b.ns, Name: "s"}},
		}
	}
	decide := func(in plan.DecideInput) (res plan.DecideResult, err error) {
		v, err := env.ExecuteLocalActivity(func(ctx context.Context, in plan.DecideInput) (plan.DecideResult, error) {
			return b.decide(ctx, b.op, in)
		}, in)
		if err == nil {
			err = v.Get(&res)
		}
		return res, err
	}
	for _, tt := range tests {
		for range 2 { // the second time the condition is compiled already
			res, err := decide(input(tt.name))
			why := res.Because
			if err != nil {
				why = err.Error()
			}
			if res.Act != tt.act || res.Rows != tt.rows || !strings.Contains(why, tt.why) {
				t.Errorf("%s: %+v, %v", tt.name, res, err)
			}
		}
	}
	gone := input("rows")
	gone.Event.Change.Name = "nobody"
	if res, err := decide(gone); err != nil || res.Act || res.Because != "the object is gone" {
		t.Errorf("%+v, %v", res, err)
	}
	old := input("rows")
	old.Revision = "another"
	if _, err := decide(old); err == nil {
		t.Error("decided by another revision's rules")
	}

	// A deleted object is decided on by its last state, an event of nothing without an object.
	u := b.object("v1", "Service", "s")
	b.remove("v1", "Service", "s")
	b.eventually(func() error {
		if _, ok := f.store.Get(keyOf(refOf(u))); ok {
			return fmt.Errorf("the store still has it")
		}
		return nil
	})
	last := input("when")
	last.Event.Category, last.Event.Change.UID = plan.DidDelete, plan.ShortUID(string(u.GetUID()))
	if res, err := decide(last); err != nil || !res.Act {
		t.Errorf("%+v, %v", res, err)
	}
	b.op.Plan.Profiles["timers"] = &plan.Profile{Rules: []plan.Rule{{
		Name: "t", Watch: plan.Watch{Categories: []plan.Category{plan.TimerDidFire}, Cron: "@hourly"}, Decide: &plan.Decide{When: "event.category == 'TimerDidFire' && event.name == ''"},
	}, {
		Name: "q", Watch: plan.Watch{Categories: []plan.Category{plan.QueryDidChange}, SQL: query(`SELECT name FROM ingresses ORDER BY name`)}, Decide: &plan.Decide{When: "rows[0].name == 'i0'"},
	}}}
	for rule, category := range map[string]plan.Category{"t": plan.TimerDidFire, "q": plan.QueryDidChange} {
		in := plan.DecideInput{Instance: b.instance, Profile: "timers", Event: plan.Event{Rule: rule, Category: category}}
		if res, err := decide(in); err != nil || !res.Act {
			t.Errorf("%s: %+v, %v", rule, res, err)
		}
	}
}

// The rows that a rule decided on are there for its templates, as they are when the command runs.
func TestRowsInTemplates(t *testing.T) {
	b := newBench(t)
	b.must((*attempt).kubeApply, apply(pair))
	b.ingress("i0")
	f := b.feed(serviceTable, ingressTable)
	q := sqlOf(t, nil, `SELECT name, json_extract(spec, '$.defaultBackend.service.port.number') AS port FROM ingresses ORDER BY name`).SQL.Statements[0]
	rule := watches("r", plan.Watch{Scope: plan.ScopeNamespace})
	rule.Decide = &plan.Decide{SQL: &q}
	b.op.Plan.Profiles[plan.DefaultProfile] = &plan.Profile{Rules: []plan.Rule{rule}}
	event := plan.Event{Rule: "r", Category: plan.DidChange, APIVersion: "v1", Kind: "Service", Change: plan.Change{Rule: "r", Namespace: b.ns, Name: "s"}}
	c := patch(`{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {size: "{{ range .rows }}{{ .name }}:{{ .port }} {{ end }}{{ .object.metadata.name }}"}}`)
	run := func(want string) {
		t.Helper()
		if _, err := b.attempt(c, &event).kubePatch(context.Background()); err != nil {
			t.Fatal(err)
		}
		b.wantSize("c", want)
	}
	run("i0:80 s")
	ref := b.ingress("i1")
	f.has(b, ref, b.object("networking.k8s.io/v1", "Ingress", "i1").GetResourceVersion())
	run("i0:80 i1:80 s")
	if _, err := b.attempt(patch(`{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {size: "{{ .rows }}"}}`), nil).kubePatch(context.Background()); err == nil || classify(err).Type != TypeTemplate {
		t.Errorf("a command of no rule has no rows: %v", err)
	}
}

func TestHold(t *testing.T) {
	b := newBench(t)
	env := b.inTemporal()
	b.applyRaw(fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: %s, finalizers: [example.com/theirs]}}", b.ns))
	u := b.object("v1", "ConfigMap", "c")
	in := plan.HoldInput{Instance: b.instance, Rule: "r", Object: refOf(u), UID: plan.ShortUID(string(u.GetUID()))}
	hold := func(in plan.HoldInput) {
		t.Helper()
		if _, err := env.ExecuteActivity(plan.ActivityHold, in); err != nil {
			t.Fatal(err)
		}
	}
	want := func(finalizers ...string) {
		t.Helper()
		got := slices.DeleteFunc(b.object("v1", "ConfigMap", "c").GetFinalizers(), func(f string) bool { return f == metav1.FinalizerDeleteDependents })
		if !slices.Equal(got, finalizers) {
			t.Errorf("got %v, want %v", got, finalizers)
		}
	}
	mine, other := plan.HoldFinalizer(b.instance, "r"), plan.HoldFinalizer(b.instance, "other")
	hold(in)
	want("example.com/theirs", mine)
	if writes := b.wire.during(nil, func() { hold(in) }); len(writes) > 0 {
		t.Errorf("the second time: %s", pathsOf(writes))
	}
	second := in
	second.Rule = "other"
	hold(second)
	want("example.com/theirs", mine, other)

	wrong := in
	wrong.UID, wrong.Remove = "another", true
	hold(wrong)
	want("example.com/theirs", mine, other)

	// While it is being deleted a finalizer can't be added, only taken off; and a change in between is not overwritten.
	if err := b.cluster.delete(context.Background(), b.object("v1", "ConfigMap", "c")); err != nil {
		t.Fatal(err)
	}
	late := in
	late.Rule = "late"
	hold(late)
	in.Remove = true
	hold(in)
	want("example.com/theirs", other)
	second.Remove = true
	hold(second)
	want("example.com/theirs")
	b.aside(refOf(u), `{"metadata":{"finalizers":null}}`)
	for _, remove := range []bool{true, false} {
		in.Remove = remove
		hold(in) // it is gone
	}
	in.Object.APIVersion, in.Object.Kind = "nowhere.example.com/v1", "Nothing"
	hold(in)
}

func TestAnnounceOnce(t *testing.T) {
	b := newBench(t)
	env := b.inTemporal()
	in := plan.AnnounceInput{Instance: b.instance, Type: "Warning", Reason: "RulesLoop", Message: "two rules write against each other"}
	for range 3 {
		if _, err := env.ExecuteActivity(plan.ActivityAnnounce, in); err != nil {
			t.Fatal(err)
		}
	}
	other := in
	other.Message = "two other rules"
	if _, err := env.ExecuteActivity(plan.ActivityAnnounce, other); err != nil {
		t.Fatal(err)
	}
	list, err := b.cluster.typed.EventsV1().Events(b.ns).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var notes []string
	for _, e := range list.Items {
		if e.Reason == "RulesLoop" && e.Regarding.Name == "demo" && e.Type == "Warning" {
			notes = append(notes, e.Note)
		}
	}
	slices.Sort(notes)
	if !slices.Equal(notes, []string{other.Message, in.Message}) {
		t.Errorf("%q", notes)
	}
	in.Instance.Namespace = "nowhere"
	if _, err := env.ExecuteActivity(plan.ActivityAnnounce, in); err != nil {
		t.Errorf("in a namespace that is gone: %v", err)
	}
}

// What a failed attempt wrote reaches the result of the one that succeeds.
func TestWroteOutlivesAttempts(t *testing.T) {
	at := offline(nil)
	at.wrote = plan.Changes{{Rule: "r", Name: "a", Hash: "h"}}
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetHeartbeatDetails(at.progress())
	a := at.Activities
	a.patched, a.resources = newLastSeen(), newLastSeen()
	run := a.command(at.op, func(t *attempt, _ context.Context) (plan.CommandResult, error) {
		t.left(step{key: virtual.Key{Kind: services, Namespace: "default", Name: "s"}, now: map[string]any{"metadata": map[string]any{"name": "s", "resourceVersion": "1"}}})
		return plan.CommandResult{Changed: true}, nil
	})
	env.RegisterActivityWithOptions(run, activity.RegisterOptions{Name: "test"})
	v, err := env.ExecuteActivity("test", at.in)
	var res plan.CommandResult
	if err != nil || v.Get(&res) != nil || len(res.Wrote) != 1 || res.Wrote[0].Name != "a" {
		t.Errorf("%+v, %v", res, err)
	}
}
