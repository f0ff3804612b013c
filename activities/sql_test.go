package activities

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

var (
	ingressTable = virtual.Resource{Kind: virtual.Kind{Group: "networking.k8s.io", Version: "v1", Kind: "Ingress"}, Plural: "ingresses", Namespaced: true}
	deployTable  = virtual.Resource{Kind: virtual.Kind{Group: "apps", Version: "v1", Kind: "Deployment"}, Plural: "deployments", Namespaced: true}
	configTable  = virtual.Resource{Kind: virtual.Kind{Version: "v1", Kind: "ConfigMap"}, Plural: "configmaps", Namespaced: true}
	secretTable  = virtual.Resource{Kind: virtual.Kind{Version: "v1", Kind: "Secret"}, Plural: "secrets", Namespaced: true}
	serviceTable = virtual.Resource{Kind: services, Plural: "services", Namespaced: true}
	widgetTable  = virtual.Resource{Kind: virtual.Kind{Group: widgets.Group, Version: "v1", Kind: "Widget"}, Plural: "widgets", Namespaced: true}
)

// sqlOf is a sql command, with the tables filled in as the loader does.
func sqlOf(t testing.TB, params map[string]any, statements ...string) plan.Command {
	t.Helper()
	c := plan.Command{Kind: plan.KindSQL, Name: "change", SQL: &plan.SQL{Params: params, MaxRows: plan.DefaultMaxRows}}
	for n, text := range statements {
		q := plan.Query{Text: text, At: fmt.Sprintf("operator.yaml:%d:7", n+10)}
		tables := append(virtual.BuiltIn(), widgetTable)
		info, err := virtual.Check(text, func(table string) (virtual.Resource, error) { return virtual.FindResource(table, tables) }, true)
		if err == nil { // a test may want a statement that is wrong
			q.Reads, q.Writes = info.Reads, info.Writes
		}
		c.SQL.Statements = append(c.SQL.Statements, q)
	}
	return c
}

const classes = `UPDATE ingresses SET spec = json_set(spec, '$.ingressClassName', :class) WHERE namespace = :namespace AND name <> 'left'`

func (b *bench) ingress(name string) plan.ObjectRef {
	b.Helper()
	b.applyRaw(fmt.Sprintf(`{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: %s, namespace: %s, labels: {a: b}},
		spec: {ingressClassName: old, rules: [{host: %s.example.com}], defaultBackend: {service: {name: s, port: {number: 80}}}}}`, name, b.ns, name))
	return plan.ObjectRef{APIVersion: "networking.k8s.io/v1", Kind: "Ingress", Namespace: b.ns, Name: name}
}

func TestSQLUpdatesLittle(t *testing.T) {
	b := newBench(t)
	for n := range 50 {
		b.ingress(fmt.Sprintf("i%02d", n))
	}
	b.ingress("left")
	b.feed(ingressTable)
	c := sqlOf(t, map[string]any{"class": "{{ .cr.spec.size }}"}, classes)
	var res plan.CommandResult
	writes := b.wire.during(nil, func() { res = b.must((*attempt).sql, c) })
	if len(writes) != 50 || !res.Changed || res.Message != "updated 50 of ingresses.networking.k8s.io" {
		t.Fatalf("%d writes, %+v", len(writes), res)
	}
	for _, w := range writes {
		meta, _ := w.Body["metadata"].(map[string]any)
		if meta["uid"] == nil || meta["resourceVersion"] == nil || len(meta) != 2 {
			t.Errorf("%s: preconditions: %v", w.Path, meta)
		}
		delete(w.Body, "metadata")
		if d := cmp.Diff(map[string]any{"spec": map[string]any{"ingressClassName": "one"}}, w.Body); d != "" || w.Method != http.MethodPatch {
			t.Errorf("%s %s: %s", w.Method, w.Path, d)
		}
	}
	for _, m := range b.object("networking.k8s.io/v1", "Ingress", "i07").GetManagedFields() {
		if fields := m.FieldsV1.GetRawString(); m.Manager == fieldManager && fields != `{"f:spec":{"f:ingressClassName":{}}}` {
			t.Errorf("more was taken over than was set: %s", fields)
		}
	}
	if writes = b.wire.during(nil, func() { res = b.must((*attempt).sql, c) }); len(writes) != 0 || res.Changed {
		t.Errorf("again: %v, %+v", pathsOf(writes), res)
	}
}

// Somebody changes an object after the snapshot was taken: nothing of that is lost, and the statement gets its way.
func TestSQLRunsAgain(t *testing.T) {
	b := newBench(t)
	ref := b.ingress("a")
	b.ingress("b")
	b.feed(ingressTable)
	c := sqlOf(t, map[string]any{"class": "new"}, `UPDATE ingresses SET spec = json_set(spec, '$.ingressClassName', :class, '$.rules[0].host', 'x.' || (spec->>'$.rules[0].host')) WHERE namespace = :namespace AND spec->>'ingressClassName' <> :class`)
	var once sync.Once
	meddle := func(r *http.Request) error {
		if strings.HasSuffix(r.URL.Path, "/a") {
			once.Do(func() {
				b.aside(ref, `{"metadata":{"labels":{"a":"theirs"}},"spec":{"rules":[{"host":"theirs.example.com"}]}}`)
			})
		}
		return nil
	}
	var res plan.CommandResult
	writes := b.wire.during(meddle, func() { res = b.must((*attempt).sql, c) })
	if res.Message != "updated 2 of ingresses.networking.k8s.io" || len(writes) != 3 {
		t.Errorf("%+v, %s", res, pathsOf(writes))
	}
	for name, want := range map[string]string{"a": "x.theirs.example.com", "b": "x.b.example.com"} {
		u := b.object("networking.k8s.io/v1", "Ingress", name)
		rules, _, _ := unstructured.NestedSlice(u.Object, "spec", "rules")
		if host := rules[0].(map[string]any)["host"]; host != want {
			t.Errorf("%s: host %v, want %s", name, host, want)
		}
		if name == "a" && u.GetLabels()["a"] != "theirs" {
			t.Errorf("their label is lost: %v", u.GetLabels())
		}
	}

	// Against somebody who never rests it gives up for this attempt, and says so.
	n := 0
	never := func(r *http.Request) error {
		n++
		b.aside(ref, fmt.Sprintf(`{"metadata":{"labels":{"a":"%d"}}}`, n))
		return nil
	}
	c = sqlOf(t, nil, `UPDATE ingresses SET labels = json_set(labels, '$.mine', 'yes') WHERE namespace = :namespace AND name = 'a'`)
	var f *fault
	writes = b.wire.during(never, func() { f = b.fails((*attempt).sql, c, TypeConflict, false) })
	if len(writes) != maxRuns || !strings.Contains(f.Error(), "Ingress "+b.ns+"/a") {
		t.Errorf("%d writes: %v", len(writes), f)
	}
}

// An attempt that is killed between two rows is taken up by the next: each object is written once.
func TestSQLKilledBetweenRows(t *testing.T) {
	b := newBench(t)
	for n := range 20 {
		b.ingress(fmt.Sprintf("i%02d", n))
	}
	b.feed(ingressTable)
	c := sqlOf(t, map[string]any{"class": "new"}, classes)
	var n atomic.Int32
	ctx, kill := context.WithCancel(context.Background())
	defer kill()
	cut := func(*http.Request) error {
		if n.Add(1) > 7 {
			kill()
			return errCut
		}
		return nil
	}
	b.wire.during(cut, func() {
		if _, err := b.attempt(c, nil).sql(ctx); err == nil {
			t.Error("the killed attempt came to its end")
		}
	})
	b.must((*attempt).sql, c)
	for n := range 20 {
		u := b.object("networking.k8s.io/v1", "Ingress", fmt.Sprintf("i%02d", n))
		class, _, _ := unstructured.NestedString(u.Object, "spec", "ingressClassName")
		if class != "new" || u.GetGeneration() != 2 {
			t.Errorf("%s: class %s, written %d times", u.GetName(), class, u.GetGeneration()-1)
		}
	}
}

func TestSQLStatus(t *testing.T) {
	b := newBench(t)
	b.applyRaw(fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: %s}, spec: {replicas: 0, selector: {matchLabels: {a: b}},
		template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: "x:1"}]}}}}`, b.ns))
	b.feed(deployTable, widgetTable)
	c := sqlOf(t, map[string]any{"replicas": 3},
		`UPDATE widgets SET spec = json_set(spec, '$.size', 'two'), status = json_object('url', 'http://x', 'n', :replicas) WHERE uid = :uid`,
		`UPDATE deployments SET spec = json_set(spec, '$.replicas', :replicas) WHERE name = 'd'`)
	var res plan.CommandResult
	writes := b.wire.during(nil, func() { res = b.must((*attempt).sql, c) })
	if got, want := pathsOf(writes), "PATCH demo, PATCH demo/status, PATCH d"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if want := "updated 2 of widgets.test.mainstay.dev, deployments.apps (2 statements)"; res.Message != want {
		t.Errorf("got %q, want %q", res.Message, want)
	}
	if d := cmp.Diff(map[string]any{"replicas": 3.0}, writes[2].Body["spec"]); d != "" {
		t.Error(d)
	}
	w := b.object("test.mainstay.dev/v1", "Widget", "demo")
	size, _, _ := unstructured.NestedString(w.Object, "spec", "size")
	status, _, _ := unstructured.NestedMap(w.Object, "status")
	if d := cmp.Diff(map[string]any{"url": "http://x", "n": int64(3)}, status); d != "" || size != "two" {
		t.Errorf("size %s, status: %s", size, d)
	}
	if writes = b.wire.during(nil, func() { b.must((*attempt).sql, c) }); len(writes) != 0 {
		t.Errorf("again: %s", pathsOf(writes))
	}
	c = sqlOf(t, nil, `UPDATE widgets SET status = json_set(status, '$.n', NULL) WHERE uid = :uid`)
	writes = b.wire.during(nil, func() { b.must((*attempt).sql, c) })
	if got := pathsOf(writes); got != "PATCH demo/status" {
		t.Errorf("the status alone: %s", got)
	}
}

// A kind without a status subresource has its status in the object itself; one with a scale has its replicas there too.
func TestSQLCustomKind(t *testing.T) {
	b := newBench(t)
	group := b.ns + ".example.com"
	gadgets := virtual.Resource{Kind: virtual.Kind{Group: group, Version: "v1", Kind: "Gadget"}, Plural: "gadgets", Namespaced: true}
	crd := strings.NewReplacer("test.mainstay.dev", group, "widget", "gadget", "Widget", "Gadget",
		"subresources: {status: {}}", "").Replace(widgetCRD)
	b.applyRaw(crd)
	b.Cleanup(func() { b.remove("apiextensions.k8s.io/v1", "CustomResourceDefinition", "gadgets."+group) })
	b.applyRaw(fmt.Sprintf("{apiVersion: %s/v1, kind: Gadget, metadata: {name: g, namespace: %s}, spec: {replicas: 1}}", group, b.ns))
	b.feed(gadgets)
	c := sqlOf(t, nil, `UPDATE gadgets SET spec = json_set(spec, '$.replicas', 2), status = json_object('a', 1)`)
	c.SQL.Statements[0].Writes = []string{gadgets.Table()}
	writes := b.wire.during(nil, func() { b.must((*attempt).sql, c) })
	if len(writes) != 1 {
		t.Errorf("%s", pathsOf(writes))
	}
	g := b.object(group+"/v1", "Gadget", "g")
	replicas, _, _ := unstructured.NestedInt64(g.Object, "spec", "replicas")
	a, _, _ := unstructured.NestedInt64(g.Object, "status", "a")
	if replicas != 2 || a != 1 {
		t.Errorf("%v", g.Object)
	}
}

func TestSQLInsertsAndDeletes(t *testing.T) {
	b := newBench(t)
	other := b.namespace("")
	f := b.feed(configTable)
	f.watch(b, configTable, other)
	c := sqlOf(t, map[string]any{"other": other},
		`INSERT INTO configmaps (namespace, name, labels, data) VALUES (:namespace, 'one', json_object('a', 'b'), json_object('k', 'v')), (:other, 'two', NULL, json_object('k', 'v'))`,
		`UPDATE configmaps SET data = json_set(data, '$.more', 'w') WHERE name = 'one' AND namespace = :namespace`)
	res := b.must((*attempt).sql, c)
	one := plan.ObjectRef{APIVersion: "v1", Kind: "ConfigMap", Namespace: b.ns, Name: "one"}
	if d := cmp.Diff([]plan.ObjectRef{one}, res.Objects); d != "" || res.Message != "updated 1, created 2 of configmaps (2 statements)" {
		t.Errorf("%+v: %s", res, d)
	}
	u := b.object("v1", "ConfigMap", "one")
	data, _, _ := unstructured.NestedStringMap(u.Object, "data")
	if d := cmp.Diff(map[string]string{"k": "v", "more": "w"}, data); d != "" {
		t.Errorf("the second statement doesn't see what the first one made: %s", d)
	}
	if d := cmp.Diff(map[string]string{"a": "b", plan.InstanceLabel: b.instance.Label()}, u.GetLabels()); d != "" {
		t.Error(d)
	}

	// What is there as it was asked for is right; what is there otherwise is a conflict.
	insert := func(more string) plan.Command {
		return sqlOf(t, nil, `INSERT INTO configmaps (namespace, name, data) VALUES (:namespace, 'one', json_object('k', 'v'`+more+`))`)
	}
	for _, hide := range []bool{false, true} {
		release := func() {}
		if hide {
			release = f.stop()
			if _, _, err := f.store.Delete(keyOf(one)); err != nil {
				t.Fatal(err)
			}
		}
		writes := b.wire.during(nil, func() {
			if res, err := b.run((*attempt).sql, insert(`, 'more', 'w'`), 30*time.Second); err != nil || res.Changed {
				t.Errorf("hidden from the store %t: %+v, %v", hide, res, err)
			}
		})
		if !hide && len(writes) > 0 {
			t.Errorf("%s", pathsOf(writes))
		}
		release()
	}
	b.aside(one, `{"data":{"k":"x"}}`)
	f.has(b, one, b.object("v1", "ConfigMap", "one").GetResourceVersion())
	if fault := b.fails((*attempt).sql, insert(""), TypeConflict, false); !strings.Contains(fault.Error(), "one") {
		t.Errorf("%v", fault)
	}

	drop := sqlOf(t, nil, `DELETE FROM configmaps WHERE namespace = :namespace AND name = 'one'`)
	var body map[string]any
	writes := b.wire.during(nil, func() { res = b.must((*attempt).sql, drop) })
	if len(writes) == 1 {
		body, _ = writes[0].Body["preconditions"].(map[string]any)
	}
	if body["uid"] != string(u.GetUID()) || body["resourceVersion"] == nil || res.Message != "deleted 1 of configmaps" {
		t.Errorf("%+v, %v", res, writes)
	}
	b.eventually(func() error {
		if b.object("v1", "ConfigMap", "one") != nil {
			return fmt.Errorf("it is still there")
		}
		return nil
	})
	if writes = b.wire.during(nil, func() { res = b.must((*attempt).sql, drop) }); len(writes) != 0 || res.Changed {
		t.Errorf("again: %+v, %v", res, pathsOf(writes))
	}
}

// A row that was changed between the snapshot and its deletion is judged anew.
func TestSQLDeletesWhatItSaw(t *testing.T) {
	b := newBench(t)
	b.applyRaw(fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: %s}, data: {old: x}}", b.ns))
	b.feed(configTable)
	ref := plan.ObjectRef{APIVersion: "v1", Kind: "ConfigMap", Namespace: b.ns, Name: "c"}
	var once sync.Once
	rescue := func(*http.Request) error {
		once.Do(func() { b.aside(ref, `{"data":{"old":null}}`) })
		return nil
	}
	c := sqlOf(t, nil, `DELETE FROM configmaps WHERE namespace = :namespace AND data->>'old' IS NOT NULL`)
	b.wire.during(rescue, func() {
		if res := b.must((*attempt).sql, c); res.Changed {
			t.Errorf("%+v", res)
		}
	})
	if b.object("v1", "ConfigMap", "c") == nil {
		t.Error("deleted although it no longer matches")
	}
}

// A statement sees what the one before it wrote, however late the watch brings it.
func TestSQLWaitsForItsOwnWrites(t *testing.T) {
	b := newBench(t)
	b.applyRaw(fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: %s}, data: {v: a}}", b.ns))
	f := b.feed(configTable)
	c := sqlOf(t, nil, `UPDATE configmaps SET data = json_set(data, '$.v', data->>'v' || 'b') WHERE name = 'c' AND namespace = :namespace`,
		`UPDATE configmaps SET data = json_set(data, '$.v', data->>'v' || 'c') WHERE name = 'c' AND namespace = :namespace`)
	release := f.stop()
	open := sync.OnceFunc(func() { time.AfterFunc(300*time.Millisecond, release) })
	writes := b.wire.during(func(*http.Request) error { open(); return nil }, func() { b.must((*attempt).sql, c) })
	data, _, _ := unstructured.NestedStringMap(b.object("v1", "ConfigMap", "c").Object, "data")
	if len(writes) != 2 || data["v"] != "abc" {
		t.Errorf("%v after %s", data, pathsOf(writes))
	}
	// A command before it has written, too.
	release = f.stop()
	b.must((*attempt).kubeApply, apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: d}, data: {v: x}}"))
	time.AfterFunc(300*time.Millisecond, release)
	if res := b.must((*attempt).sql, sqlOf(t, nil, `SELECT name FROM configmaps WHERE name = 'd' AND instance = :instance`)); res.Message != "1 row" {
		t.Errorf("%+v", res)
	}
}
