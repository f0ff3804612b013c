package activities

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

func TestSQLFaults(t *testing.T) {
	b := newBench(t)
	for n := range 4 {
		b.ingress(fmt.Sprintf("i%d", n))
	}
	b.feed(ingressTable, secretTable)
	capped := sqlOf(t, map[string]any{"class": "x"}, classes)
	capped.SQL.MaxRows = 3
	tests := []struct {
		name     string
		c        plan.Command
		kind     string
		terminal bool
		want     []string
	}{
		{"syntax", sqlOf(t, nil, `UPDATE ingresses SET`), TypeSQL, true, []string{"operator.yaml:10:7", `command "change"`}},
		{"the second statement", sqlOf(t, nil, `SELECT 1`, `SELECT nothing FROM ingresses`), TypeSQL, true, []string{"operator.yaml:11:7", "statement 2", "nothing"}},
		{"a field that is none's", sqlOf(t, nil, `UPDATE ingresses SET uid = 'x'`), TypeSQL, true, []string{"uid"}},
		{"a parameter that isn't there", sqlOf(t, nil, `SELECT :nowhere`), TypeSQL, true, []string{"nowhere"}},
		{"a cap", capped, TypeSQL, true, []string{"3"}},
		{"not seen yet", sqlOf(t, nil, `SELECT * FROM services`), TypeNotReady, false, []string{"services"}},
		{"a template's fault", sqlOf(t, map[string]any{"a": "{{ .cr.spec.nothing }}"}, `SELECT :a`), TypeTemplate, true, []string{"parameter a of change"}},
		{"refused", sqlOf(t, nil, `UPDATE ingresses SET spec = json_set(spec, '$.rules[0].host', 'NO_HOST')`), TypeInvalid, true, []string{"operator.yaml:10:7", "Ingress " + b.ns}},
		{"a digest", sqlOf(t, nil, `INSERT INTO secrets (namespace, name, data) VALUES (:namespace, 'copy', json_object('a', 'sha256:0123456789abcdef'))`), TypeInvalid, true, []string{"data.a"}},
	}
	for _, tt := range tests {
		var f *fault
		writes := b.wire.during(nil, func() { f = b.fails((*attempt).sql, tt.c, tt.kind, tt.terminal) })
		for _, want := range tt.want {
			if !strings.Contains(f.Error(), want) {
				t.Errorf("%s: %v lacks %q", tt.name, f, want)
			}
		}
		if len(writes) > 0 && tt.name != "refused" {
			t.Errorf("%s: %s", tt.name, pathsOf(writes))
		}
	}
	at := b.attempt(sqlOf(t, nil, `SELECT x FROM ingresses`), &plan.Event{Rule: "my-rule"})
	if _, err := at.sql(context.Background()); err == nil || !strings.Contains(err.Error(), `rule "my-rule", command "change"`) {
		t.Errorf("%v", err)
	}
}

// What SQL knows of a Secret is digests; the values that it doesn't touch stay.
func TestSQLSecrets(t *testing.T) {
	b := newBench(t)
	b.applyRaw(fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: %s}, stringData: {a: hunter2, b: x}}", b.ns))
	b.feed(secretTable)
	c := sqlOf(t, map[string]any{"c": "eQ=="}, `UPDATE secrets SET data = json_remove(json_set(data, '$.c', :c), '$.b') WHERE name = 's' AND namespace = :namespace`)
	b.must((*attempt).sql, c)
	data, _, _ := unstructured.NestedStringMap(b.object("v1", "Secret", "s").Object, "data")
	if d := cmp.Diff(map[string]string{"a": "aHVudGVyMg==", "c": "eQ=="}, data); d != "" {
		t.Error(d)
	}
	copied := sqlOf(t, nil, `UPDATE secrets SET data = json_set(data, '$.d', data->>'a') WHERE name = 's' AND namespace = :namespace`)
	b.fails((*attempt).sql, copied, TypeInvalid, true)

	// A rule's templates get the live object, its statements the digests.
	event := plan.Event{Rule: "r", Category: plan.DidChange, APIVersion: "v1", Kind: "Secret", Change: plan.Change{Namespace: b.ns, Name: "s"}}
	at := b.attempt(sqlOf(t, nil, `SELECT 1`), &event)
	f, err := at.facts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if got, _, _ := unstructured.NestedString(f.object, "data", "a"); got != "aHVudGVyMg==" {
		t.Errorf("the template's object: %v", f.object)
	}
	params, err := at.params(f)
	if err != nil || strings.Contains(fmt.Sprint(params), "aHVudGVyMg") || !strings.Contains(fmt.Sprint(params["object"]), "sha256:") {
		t.Errorf("%v, %v", params["object"], err)
	}
}

// What a rule's command writes is told as the rules that watch it see it, also what an attempt wrote that failed.
func TestSQLWrote(t *testing.T) {
	b := newBench(t)
	b.op.Plan.Profiles[plan.DefaultProfile] = &plan.Profile{Rules: []plan.Rule{
		watches("own", plan.Watch{APIVersion: "v1", Kind: "ConfigMap", Scope: plan.ScopeNamespace}),
		watches("fields", plan.Watch{APIVersion: "v1", Kind: "ConfigMap", Scope: plan.ScopeCluster, Fields: []string{"data.watched"}}),
	}}
	b.applyRaw(fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: %s}, data: {watched: a}}", b.ns))
	f := b.feed(configTable)
	stored := func() virtual.Object {
		o, _ := f.store.Get(virtual.Key{Kind: configTable.Kind, Namespace: b.ns, Name: "c"})
		return o
	}
	before := stored()
	event := plan.Event{Rule: "own", Category: plan.DidChange, APIVersion: "v1", Kind: "ConfigMap", Change: plan.Change{Namespace: b.ns, Name: "c"}}
	at := b.attempt(sqlOf(t, nil, `UPDATE configmaps SET data = json_set(data, '$.other', 'b') WHERE name = 'c' AND namespace = :namespace`), &event)
	if _, err := at.sql(context.Background()); err != nil {
		t.Fatal(err)
	}
	f.has(b, refOf(b.object("v1", "ConfigMap", "c")), b.object("v1", "ConfigMap", "c").GetResourceVersion())
	rules := at.rules()
	want := rules[0].Change(stored())
	want.Was = rules[0].Change(before).Hash
	if d := cmp.Diff(plan.Changes{want}, at.wrote); d != "" {
		t.Errorf("what the watcher says isn't what the command says: %s", d)
	}
	drop := b.attempt(sqlOf(t, nil, `DELETE FROM configmaps WHERE name = 'c' AND namespace = :namespace`), &event)
	if _, err := drop.sql(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(drop.wrote) != 2 || drop.wrote[0].Hash != "" || drop.wrote[0].Was != want.Hash || drop.wrote[1].Rule != "fields" || drop.wrote[1].UID == "" {
		t.Errorf("%+v", drop.wrote)
	}
}

// The same of patches and applies, which compute nothing from a snapshot.
func TestPatchWrote(t *testing.T) {
	b := newBench(t)
	b.op.Plan.Profiles[plan.DefaultProfile] = &plan.Profile{Rules: []plan.Rule{watches("own", plan.Watch{Scope: plan.ScopeCluster, Namespace: b.ns})}}
	b.must((*attempt).kubeApply, apply(pair))
	ref := plan.ObjectRef{APIVersion: "v1", Kind: "Service", Namespace: b.ns, Name: "s"}
	event := plan.Event{Rule: "own", Category: plan.DidChange, APIVersion: "v1", Kind: "Service", Change: plan.Change{Namespace: b.ns, Name: "s"}}
	hash := func(u *unstructured.Unstructured) string {
		o, err := asStored(keyOf(ref), u.Object)
		if err != nil {
			t.Fatal(err)
		}
		return o.Hash()
	}
	runs := []struct {
		name string
		run  command
		c    plan.Command
	}{
		{"patch", (*attempt).kubePatch, patch("{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{name: more, port: 81}, {name: first, port: 80}]}}")},
		{"apply", (*attempt).kubeApply, apply(strings.Replace(pair, "port: 80", "port: 80, name: x", 1))},
	}
	runs[1].c.Apply.Conflicts = "force"
	for _, r := range runs {
		var theirs *unstructured.Unstructured
		var once sync.Once
		meddle := func(*http.Request) error {
			once.Do(func() { theirs = b.aside(ref, fmt.Sprintf(`{"metadata":{"labels":{"by":"%s"}}}`, r.name)) })
			return nil
		}
		at := b.attempt(r.c, &event)
		var res plan.CommandResult
		var err error
		b.wire.during(meddle, func() { res, err = r.run(at, context.Background()) })
		if err != nil || !res.Changed {
			t.Fatalf("%s: %+v, %v", r.name, res, err)
		}
		now := b.object("v1", "Service", "s")
		at.wrote = slices.DeleteFunc(at.wrote, func(c plan.Change) bool { return c.Name != "s" })
		if len(at.wrote) != 1 || at.wrote[0].Was != hash(theirs) || at.wrote[0].Hash != hash(now) || now.GetLabels()["by"] != r.name {
			t.Errorf("%s: %+v; theirs is %s, now %s", r.name, at.wrote, hash(theirs), hash(now))
		}
	}
}
