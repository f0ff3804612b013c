package virtual

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fixture is a store with a handful of pods, services and a node.
func fixture(t testing.TB) *Store {
	t.Helper()
	s, err := Open(Options{InstanceLabel: label, Ready: func(o Object) (bool, bool) {
		return strings.HasSuffix(o.Name, "0"), o.Kind == pods
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for _, r := range BuiltIn() {
		s.Serve(r)
		s.SetSynced(r.Kind, true)
	}
	for i := range 6 {
		k := key(pods, []string{"a", "b"}[i%2], fmt.Sprint("p", i))
		doc := fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q,"namespace":%q,"uid":"u%d","resourceVersion":"%d",`+
			`"labels":{"app":"app%d","tier":"web",%q:"demo%d"}},"spec":{"n":%d,"list":[1,2.5,{"a":true}]},"status":{"phase":"Running"}}`,
			k.Name, k.Namespace, i, 10+i, i%3, label, i%2, i)
		if _, _, err := s.Put(k, []byte(doc)); err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, key(services, "a", "p0"), "s0", "20")
	put(t, s, key(Kind{Version: "v1", Kind: "Node"}, "", "n0"), "n0", "21")
	return s
}

func query(t testing.TB, s *Store, text string, params map[string]any) *Rows {
	t.Helper()
	rows, err := s.Query(t.Context(), text, params, Limits{})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return rows
}

func TestQuery(t *testing.T) {
	s := fixture(t)
	type row = []any
	for _, tt := range []struct {
		text   string
		params map[string]any
		want   []row
		reads  string
	}{
		{"SELECT api_version, kind, namespace, name, uid, resource_version, created_at, deleted_at, instance, ready FROM pods WHERE name = 'p0'", nil,
			[]row{{"v1", "Pod", "a", "p0", "u0", "10", nil, nil, "demo0", int64(1)}}, "pods"},
		{"SELECT ready FROM pods WHERE uid = 'u1' UNION ALL SELECT ready FROM services", nil, []row{{int64(0)}, {nil}}, "pods services"},
		{"SELECT spec, labels->'tier', spec->>'n', spec->'list'->1 FROM pods WHERE namespace = 'b' AND name = 'p3'", nil,
			[]row{{map[string]any{"n": int64(3), "list": []any{int64(1), 2.5, map[string]any{"a": true}}}, "web", int64(3), 2.5}}, "pods"},
		{"SELECT json_object('a', 1), jsonb('[1]'), x'0102', 'text', 1.5, NULL", nil,
			[]row{{map[string]any{"a": int64(1)}, []any{int64(1)}, "AQI=", "text", 1.5, nil}}, ""},
		{"SELECT object->'metadata'->>'uid' FROM nodes", nil, []row{{"n0"}}, "nodes"},
		{"SELECT name FROM pods WHERE labels MATCH 'app=app1,tier in (web)' ORDER BY name", nil, []row{{"p1"}, {"p4"}}, "pods"},
		{"SELECT name FROM pods WHERE labels MATCH 'app=app1' OR name = 'p0' ORDER BY name", nil, []row{{"p0"}, {"p1"}, {"p4"}}, "pods"},
		{"SELECT name FROM services WHERE labels MATCH '!app'", nil, []row{{"p0"}}, "services"},
		{"SELECT name FROM pods WHERE labels MATCH NULL", nil, nil, "pods"},
		{"SELECT name FROM pods WHERE instance = 'demo1' AND labels->>'app' = 'app1'", nil, []row{{"p1"}}, "pods"},
		{"SELECT kind, name FROM resources WHERE uid = 's0'", nil, []row{{"Service", "p0"}}, "resources"},
		{"SELECT kind FROM resources WHERE namespace = 'a' AND name = 'p0' ORDER BY kind", nil, []row{{"Pod"}, {"Service"}}, "resources"},
		{"SELECT name FROM resources WHERE kind = 'Node' AND api_version = 'v1'", nil, []row{{"n0"}}, "resources"},
		{"SELECT count(*) FROM resources WHERE instance = 'demo0'", nil, []row{{int64(3)}}, "resources"},
		{"SELECT category, kind, name, uid FROM events WHERE kind = 'Node'", nil, []row{{"ResourceDidCreate", "Node", "n0", "n0"}}, "events"},
		{`SELECT count(*) FROM "services.core"`, nil, []row{{int64(1)}}, "services"},
		{`SELECT count(*) FROM ingresses, "ingresses.networking.k8s.io"`, nil, []row{{int64(0)}}, "ingresses.networking.k8s.io"},
		{"SELECT :s, @i, $f, :n, :b, :j, :u", map[string]any{"s": "x", "i": 7, "f": 1.5, "n": nil, "b": true, "j": []string{"a"}, "u": uint8(3), "unused": 1},
			[]row{{"x", int64(7), 1.5, nil, int64(1), `["a"]`, int64(3)}}, ""},
		{"SELECT value FROM json_each(:list)", map[string]any{"list": []any{"x", int64(2)}}, []row{{"x"}, {int64(2)}}, ""},
		{"SELECT name FROM pods WHERE namespace = :ns AND name = :name", map[string]any{"ns": "a", "name": "p2"}, []row{{"p2"}}, "pods"},
	} {
		// The second time it is a cached statement.
		for range 2 {
			rows := query(t, s, tt.text, tt.params)
			if diff := cmp.Diff(tt.want, rows.Values); diff != "" {
				t.Errorf("%s: %s", tt.text, diff)
			}
			if got := strings.Join(rows.Reads, " "); got != tt.reads {
				t.Errorf("%s reads %q, want %q", tt.text, got, tt.reads)
			}
		}
	}
}

func TestErrorsOfStatements(t *testing.T) {
	s := fixture(t)
	for _, tt := range []struct {
		text   string
		params map[string]any
		offset int
		want   string
	}{
		{"SELECT nme FROM pods", nil, 7, "no such column: nme; did you mean name?"},
		{"SELECT p.replicas FROM pods p", nil, 7, "no such column: p.replicas; the columns are api_version, kind, namespace"},
		{"SELECT name FROM services WHERE x.name = 1", nil, 32, "no such column: x.name; no table in FROM has it there"},
		{"SELECT categry FROM events", nil, 7, "did you mean category?"},
		{"SELECT name FROM pod", nil, 17, "no such table: pod; did you mean pods?"},
		{"SELECT name\nFROM ingress", nil, 17, "no such table: ingress; did you mean ingresses?"},
		{"SELECT 1 FROM xyzzy", nil, 14, "no such table: xyzzy; there are "},
		{"SELECT name FROM pods WHER name = 1", nil, 27, "syntax error"},
		{"SELECT 'x", nil, 7, "a quote isn't closed"},
		{"SELECT 1; SELECT 2", nil, 10, "one statement is expected here, not several"},
		{"  DELETE FROM pods", nil, 2, "virtual resources are read-only here: DELETE isn't possible"},
		{"WITH x AS (SELECT 1) UPDATE pods SET spec = NULL", nil, -1, "pods are read-only here"},
		{"PRAGMA x", nil, 0, "PRAGMA isn't available"},
		{"SELECT :naem", map[string]any{"name": 1, "b": 2}, -1, "parameter :naem has no value; there are b, name"},
		{"SELECT :a", nil, -1, "parameter :a has no value; there are no parameters"},
		{"SELECT ?", nil, -1, "parameters have names here"},
		{"SELECT ?1", nil, -1, "parameters have names here"},
		{"SELECT name FROM pods WHERE labels MATCH 'app=('", nil, -1, "a selector is like"},
		{"SELECT name FROM pods WHERE name = 'x' OR labels MATCH 'a in'", nil, -1, "a selector is like"},
		{"SELECT name FROM pods WHERE name MATCH 'x'", nil, -1, "MATCH wants the column labels"},
		{"SELECT nosuch(1)", nil, 7, "no such function: nosuch"},
		{"SELECT json('{')", nil, -1, "malformed JSON"},
	} {
		_, err := s.Query(t.Context(), tt.text, tt.params, Limits{})
		var e *SQLError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.want) || e.Offset != tt.offset {
			t.Errorf("%s: %#v, want %q at %d", tt.text, err, tt.want, tt.offset)
		}
	}
}

func TestTablesThatAreNotThereYet(t *testing.T) {
	s := fixture(t)
	widgets := Resource{Kind: Kind{"example.com", "v1", "Widget"}, Plural: "widgets", Namespaced: true}
	ask := func(text string) string {
		_, err := s.Query(t.Context(), text, nil, Limits{})
		var not *NotSyncedError
		if errors.As(err, &not) {
			return not.Table
		}
		return fmt.Sprint(err)
	}
	if got := ask(`SELECT 1 FROM "widgets.example.com"`); got != "widgets.example.com" {
		t.Error(got)
	}
	s.Serve(widgets)
	if got := ask("SELECT 1 FROM pods, widgets"); got != "widgets.example.com" {
		t.Error(got)
	}
	if got := ask("SELECT 1 FROM resources"); got != "<nil>" {
		t.Error(got)
	}
	s.SetSynced(widgets.Kind, true)
	if got := ask("SELECT 1 FROM widgets"); got != "<nil>" {
		t.Error(got)
	}
	s.SetSynced(widgets.Kind, false)
	if got := ask("SELECT 1 FROM widgets"); got != "widgets.example.com" {
		t.Error(got)
	}
	s.Serve(widgets)
	if n := len(s.Resources()); n != len(BuiltIn())+1 {
		t.Errorf("%d resources", n)
	}
	empty := open(t)
	if _, err := empty.Query(t.Context(), "SELECT 1 FROM pods", nil, Limits{}); ask != nil && !errors.As(err, new(*NotSyncedError)) {
		t.Error(err)
	}
}

// TestTheWayToRows counts how many rows are looked at.
func TestTheWayToRows(t *testing.T) {
	s := crowd(t)
	for _, tt := range []struct {
		text string
		most uint
	}{
		{"SELECT name FROM pods WHERE namespace = 'ns1' AND name = 'p11'", 5},
		{"SELECT name FROM pods WHERE name = 'p11' AND namespace = 'ns1' AND labels->>'app' = 'web'", 5},
		{"SELECT name FROM pods WHERE uid = 'u11'", 5},
		{"SELECT name FROM resources WHERE uid = 'u11'", 5},
		{"SELECT name FROM pods WHERE uid IN ('u11', 'u12')", 8},
		{"SELECT name FROM pods WHERE namespace = 'ns1' LIMIT 3", 5},
		{"SELECT name FROM pods WHERE namespace = 'ns1'", 110},
		{"SELECT name FROM pods WHERE labels->>'app' = 'nothing'", 5},
		{"SELECT name FROM pods WHERE namespace = 'ns1' AND labels ->> 'app' = 'web'", 110},
		{"SELECT name FROM pods WHERE instance = 'nothing'", 5},
		{"SELECT name FROM pods ORDER BY namespace, name LIMIT 3", 5},
		{"SELECT a.name FROM pods a JOIN pods b ON b.namespace = a.namespace AND b.name = a.name", 3100},
		{"SELECT a.name FROM pods a JOIN pods b ON b.uid = a.uid WHERE a.namespace = 'ns1'", 310},
	} {
		query(t, s, tt.text, nil)
		c := s.sql.idle[len(s.sql.idle)-1]
		before := c.ticks
		query(t, s, tt.text, nil)
		if looked := c.ticks - before; looked > tt.most {
			t.Errorf("%s looks at %d rows", tt.text, looked)
		}
	}
}

func TestRowsHaveAHash(t *testing.T) {
	s := fixture(t)
	hash := func(text string) string { return query(t, s, text, nil).Hash() }
	const text = "SELECT name, spec, labels->>'app' FROM pods ORDER BY namespace, name"
	if a, b := hash(text), hash(text); a != b || len(a) != 11 {
		t.Errorf("%q and %q", a, b)
	}
	seen := map[string]string{}
	for _, text := range []string{
		"SELECT 1 WHERE 0", "SELECT 1", "SELECT 1 AS x", "SELECT '1' AS x", "SELECT NULL AS x", "SELECT 1.0 AS x", "SELECT jsonb('[1]') AS x",
		"SELECT '[1]' AS x", "SELECT jsonb('{\"a\":1}') AS x", "SELECT 1 AS x UNION ALL SELECT 1", "SELECT 12 a, 3 b", "SELECT 1 a, 23 b", "SELECT 3 a, 12 b",
		"SELECT jsonb('[[1],2]') AS x", "SELECT jsonb('[[1,2]]') AS x",
	} {
		if before, ok := seen[hash(text)]; ok {
			t.Errorf("%s and %s have the same hash", text, before)
		}
		seen[hash(text)] = text
	}
	if got := query(t, s, "SELECT 1 AS a, 'x' AS b", nil).Maps(); !cmp.Equal(got, []map[string]any{{"a": int64(1), "b": "x"}}) {
		t.Errorf("%v", got)
	}
}

// TestAStatementSeesOneState moves a token from object to object: each statement finds it in exactly one of them.
func TestAStatementSeesOneState(t *testing.T) {
	s := serving(t)
	kind := Kind{Version: "v1", Kind: "ConfigMap"}
	state := func(i int, data string) Object {
		o, err := NewObject(key(kind, "a", fmt.Sprint("c", i)), fmt.Appendf(nil, `{"metadata":{"name":"c%d","namespace":"a","uid":"c%d"},"data":{%s}}`, i, i, data))
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	const n = 50
	for i := range n {
		if _, _, err := s.PutObject(state(i, map[bool]string{true: `"token":"x"`}[i == 0])); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if err := s.Apply([]Object{state(i%n, ""), state((i+1)%n, `"token":"x"`)}); err != nil {
				t.Error(err)
			}
		}
	})
	var readers sync.WaitGroup
	until := time.Now().Add(300 * time.Millisecond)
	for _, text := range []string{
		"SELECT count(*) FROM configmaps WHERE data->>'token' = 'x'",
		"SELECT count(*) FROM configmaps a JOIN configmaps b USING (namespace, name) WHERE b.data->>'token' IS NOT NULL",
		"SELECT sum((SELECT count(data->>'token') FROM configmaps b WHERE b.uid = a.uid)) FROM configmaps a",
		"SELECT count(*) FROM resources WHERE data->>'token' = 'x'",
	} {
		readers.Go(func() {
			for time.Now().Before(until) {
				if rows := query(t, s, text, nil); rows.Values[0][0] != int64(1) {
					t.Errorf("%s: %v", text, rows.Values)
					return
				}
			}
		})
	}
	readers.Wait()
	cancel()
	writer.Wait()
}

func TestFindResource(t *testing.T) {
	among := append(BuiltIn(),
		Resource{Kind: Kind{"example.com", "v1", "Widget"}, Plural: "widgets"}, Resource{Kind: Kind{"other.org", "v1", "Widget"}, Plural: "widgets"},
		Resource{Kind: Kind{"serving.knative.dev", "v1", "Service"}, Plural: "services"}, Resource{Kind: Kind{"kafka.strimzi.io", "v1", "Kafka"}, Plural: "kafkas"})
	for table, want := range map[string]string{
		"services": "services", "Services.core": "services", "services.serving.knative.dev": "services.serving.knative.dev", "kafkas": "kafkas.kafka.strimzi.io",
		"deployments": "deployments.apps", "ingresses": "ingresses.networking.k8s.io", "events.core": "events.core", "events.events.k8s.io": "events.events.k8s.io",
		"widgets.example.com": "widgets.example.com", "networkpolicies": "networkpolicies.networking.k8s.io", "endpoints": "endpoints", "storageclasses": "storageclasses.storage.k8s.io",
		"widgets": `ambiguous table: widgets; it may be "widgets.example.com" or "widgets.other.org": write one of these, with the quotes`,
		"kafka":   "no such table: kafka; did you mean kafkas?"} {
		r, err := FindResource(table, among)
		got := r.Table()
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", table, got, want)
		}
	}
	tables := map[string]bool{}
	for _, r := range BuiltIn() {
		if tables[r.Table()] {
			t.Errorf("%s is there twice", r.Table())
		}
		tables[r.Table()] = true
		if found, err := FindResource(r.Table(), BuiltIn()); err != nil || found != r {
			t.Errorf("%s: %v, %v", r.Table(), found, err)
		}
	}
	if len(tables) < 55 {
		t.Errorf("only %d built-in tables", len(tables))
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		text  string
		write bool
		want  Info
	}{
		{"SELECT name, pods.spec->>'x' AS x FROM ingresses i JOIN pods USING (namespace, name) WHERE pods.labels->>'app' = :app AND i.labels->>'x/y' IN (@app, :z)", false,
			Info{Reads: []string{"ingresses.networking.k8s.io", "pods"}, Params: []string{"app", "z"}, Columns: []string{"name", "x"}, Labels: []string{"app", "x/y"}}},
		{"SELECT 1 FROM pods WHERE labels MATCH 'a=1,b in (2),c,d!=3,e in (1,2)'", false, Info{Reads: []string{"pods"}, Columns: []string{"1"}, Labels: []string{"a", "b"}}},
		{"SELECT count(*) FROM resources, events", false, Info{Reads: []string{"events", "resources"}, Columns: []string{"count(*)"}}},
		{"UPDATE pods SET spec = :s WHERE name IN (SELECT name FROM services)", true, Info{Reads: []string{"pods", "services"}, Writes: []string{"pods"}, Params: []string{"s"}}},
		{"WITH pods AS (SELECT 1 AS name) SELECT name FROM pods", false, Info{Columns: []string{"name"}}},
		{"SELECT labels->>'a' FROM pods", false, Info{Reads: []string{"pods"}, Columns: []string{"labels->>'a'"}}},
	} {
		got, err := Check(tt.text, func(table string) (Resource, error) { return FindResource(table, BuiltIn()) }, tt.write)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.text, diff)
		}
	}
	custom := errors.New("custom")
	if _, err := Check("SELECT 1 FROM x", func(string) (Resource, error) { return Resource{}, custom }, false); !errors.Is(err, custom) {
		t.Error(err)
	}
}

func TestSplit(t *testing.T) {
	for text, want := range map[string][]Part{
		"": nil, " ; -- x\n;/* y */ ": nil, "SELECT 1": {{"SELECT 1", 0}}, " SELECT 1 ; \n SELECT 2;": {{"SELECT 1", 1}, {"SELECT 2", 14}},
		`SELECT ';', "a;b", [c;d], ` + "`e;f`" + ` -- ; ' x` + "\n, 'it''s;'": {{`SELECT ';', "a;b", [c;d], ` + "`e;f`" + ` -- ; ' x` + "\n, 'it''s;'", 0}},
		"SELECT 1 /* ; */ + 2; SELECT 3 /* ;":                                 {{"SELECT 1 /* ; */ + 2", 0}, {"SELECT 3", 22}}, "/* a */ SELECT 1": {{"SELECT 1", 8}},
	} {
		got, err := Split(text)
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	if _, err := Split("SELECT 1; SELECT 'x; y"); err == nil || err.(*SQLError).Offset != 17 {
		t.Error(err)
	}
}

// TestFieldsMeanTheSame asks with and without hidden columns.
func TestFieldsMeanTheSame(t *testing.T) {
	for text, want := range map[string]int{
		"labels->>'a'": 1, "p.labels->>'a'": 1, "main.p.spec -> 'a' /* x */ ->> 'b.c/d'": 1, "SPEC->>'a' || status->>'b'": 1, "'x' || spec->>'a'": 0, "-spec->>'a'": 0,
		"~spec->>'a'": 0, "spec->>'a' COLLATE NOCASE": 0, "spec->'a'": 0, "spec->'a'->>0": 0, "spec->>'$.a'": 0, "spec->>'a''b'": 0, "spec->>''": 0, "object->>'a'": 0, "name->>'a'": 0,
		":spec->>'a'": 0, "'spec->>''a'''": 0, `"spec"->>'a'`: 0, "spec->>'a'->>'b'": 1, "spec->>:a": 0, "x->spec->>'a'": 0, "spec->>'a'+spec->>'b'": 1, "spec->>'a', spec->>'b'": 2,
	} {
		if got := fieldUses("SELECT " + text + " FROM p"); len(got) != want {
			t.Errorf("%s: %+v", text, got)
		}
	}
	s := fixture(t)
	for i := range 2 * maxFields {
		rows := query(t, s, fmt.Sprintf("SELECT spec->>'n' + 0, spec->>'none%d' FROM pods WHERE name = 'p4'", i), nil)
		if !cmp.Equal(rows.Values, [][]any{{int64(4), nil}}) {
			t.Fatalf("field %d: %v", i, rows.Values)
		}
	}
}

func TestAClosedStore(t *testing.T) {
	s := fixture(t)
	query(t, s, "SELECT 1", nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Query(t.Context(), "SELECT 1", nil, Limits{}); !errors.Is(err, errClosed) {
		t.Error(err)
	}
}

func FuzzQuery(f *testing.F) {
	for _, text := range statements() {
		f.Add(text, "p1")
	}
	for _, h := range hostileSQL {
		f.Add(h.text, "")
	}
	s := fixture(f)
	f.Fuzz(func(t *testing.T, text, param string) {
		begin := time.Now()
		params := map[string]any{"p": param, "a": param}
		limits := Limits{Time: 50 * time.Millisecond, Memory: 8 << 20, Rows: 1000, Bytes: 1 << 20}
		rows, err := s.Query(t.Context(), text, params, limits)
		switch {
		case err == nil:
			_ = rows.Hash()
			_ = rows.Maps()
		case !errors.As(err, new(*SQLError)) && !errors.As(err, new(*LimitError)) && !errors.As(err, new(*NotSyncedError)):
			t.Errorf("%T %v", err, err)
		}
		if _, err := s.Exec(t.Context(), text, params, limits); err != nil && strings.Contains(err.Error(), "engine failed") {
			t.Error(err)
		}
		if took := time.Since(begin); took > 8*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
