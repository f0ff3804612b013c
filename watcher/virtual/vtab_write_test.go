package virtual

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// effect describes what a statement does: a line for each change.
func effect(t *testing.T, s *Store, text string, params map[string]any) string {
	t.Helper()
	e, err := s.Exec(t.Context(), text, params, Limits{})
	if err != nil {
		return fmt.Sprintf("%T: %v\n", err, err)
	}
	var b strings.Builder
	for _, row := range e.Rows.Values {
		fmt.Fprintf(&b, "row %v\n", row)
	}
	for _, c := range e.Changes {
		fmt.Fprintf(&b, "%s %s %s/%s %s@%s", c.Op, c.Resource.Table(), c.Key.Namespace, c.Key.Name, c.UID, c.ResourceVersion)
		if c.Status {
			b.WriteString(" status")
		}
		b.WriteString(difference(t, c.Before, c.After) + "\n")
	}
	return b.String()
}

// difference names the members in which two objects differ, with their new values.
func difference(t *testing.T, before, after []byte) string {
	t.Helper()
	parsed := [2]map[string]any{}
	for i, doc := range [][]byte{before, after} {
		if doc == nil {
			continue
		}
		v, err := parseJSON(string(doc))
		if err != nil {
			t.Fatal(err)
		}
		parsed[i] = v.(map[string]any)
		metadata, _ := parsed[i]["metadata"].(map[string]any)
		for name, v := range metadata {
			parsed[i]["metadata."+name] = v
		}
		delete(parsed[i], "metadata")
	}
	if after == nil {
		return ""
	}
	out := ""
	names := map[string]bool{}
	for _, p := range parsed {
		for name := range p {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !sameJSON(parsed[0][name], parsed[1][name]) {
			b, _ := Encode(map[string]any{"v": parsed[1][name]})
			out += " " + name + "=" + strings.TrimSuffix(strings.TrimPrefix(string(b), `{"v":`), "}")
		}
	}
	return out
}

func TestExec(t *testing.T) {
	const cannot = "; labels, annotations, spec, status, data and object can\n"
	for _, tt := range []struct {
		name, text, want string
		params           map[string]any
	}{
		{"select", "SELECT name FROM pods WHERE name = 'p0'", "row [p0]\n", nil},
		{"spec", "UPDATE pods SET spec = json_set(spec, '$.n', 9) WHERE name IN ('p4', 'p1')",
			"update pods a/p4 u4@14 spec={\"list\":[1,2.5,{\"a\":true}],\"n\":9}\nupdate pods b/p1 u1@11 spec={\"list\":[1,2.5,{\"a\":true}],\"n\":9}\n", nil},
		{"jsonb", "UPDATE pods SET spec = jsonb_set(spec, '$.n', 9) WHERE uid = 'u1'", "update pods b/p1 u1@11 spec={\"list\":[1,2.5,{\"a\":true}],\"n\":9}\n", nil},
		{"nothing", "UPDATE pods SET spec = json_set(spec, '$.n', spec->'n'), labels = labels, name = name, uid = 'u1' WHERE uid = 'u1'", "", nil},
		{"an equal number", "UPDATE pods SET spec = json_set(spec, '$.n', 1.0) WHERE uid = 'u1'", "", nil},
		{"another order", `UPDATE pods SET spec = '{"n":1, "list":[1,2.5,{"a":true}]}' WHERE uid = 'u1'`, "", nil},
		{"labels", "UPDATE pods SET labels = json_set(labels, '$.team', 'x'), annotations = json_object('a', 'b') WHERE uid = 'u1'",
			"update pods b/p1 u1@11 metadata.annotations={\"a\":\"b\"} metadata.labels={\"app\":\"app1\",\"mainstay.dev/instance\":\"demo1\",\"team\":\"x\",\"tier\":\"web\"}\n", nil},
		{"removed", "UPDATE pods SET labels = NULL, status = NULL WHERE uid = 'u1'", "update pods b/p1 u1@11 status metadata.labels=null status=null\n", nil},
		{"status", "UPDATE pods SET status = json_patch(status, '{\"phase\":\"Failed\"}') WHERE uid = 'u1'", "update pods b/p1 u1@11 status status={\"phase\":\"Failed\"}\n", nil},
		{"params", "UPDATE pods SET spec = :spec WHERE namespace = :ns AND name = :n", "update pods a/p2 u2@12 spec={\"x\":[1,\"y\"]}\n",
			map[string]any{"spec": map[string]any{"x": []any{1, "y"}}, "ns": "a", "n": "p2"}},
		{"object", "UPDATE pods SET object = json_set(object, '$.spec.n', 9, '$.metadata.finalizers', json_array('f')) WHERE uid = 'u1'",
			"update pods b/p1 u1@11 metadata.finalizers=[\"f\"] spec={\"list\":[1,2.5,{\"a\":true}],\"n\":9}\n", nil},
		{"object without identity", `UPDATE pods SET object = '{"spec":{"n":1},"status":{"phase":"Running"}}' WHERE uid = 'u1'`,
			"update pods b/p1 u1@11 metadata.labels=null spec={\"n\":1}\n", nil},
		{"object of another", `UPDATE pods SET object = json_set(object, '$.metadata.name', 'x') WHERE uid = 'u1'`,
			"*virtual.SQLError: metadata.name of pods can't be changed; it says which object it is\n", nil},
		{"object's kind", `UPDATE pods SET object = json_set(object, '$.kind', 'Service') WHERE uid = 'u1'`, "*virtual.SQLError: kind of pods can't be changed; it says which object it is\n", nil},
		{"object and section", "UPDATE pods SET object = json_set(object, '$.x', 1), spec = '{}' WHERE uid = 'u1'", "*virtual.SQLError: both object and a section of it are set; set one of them\n", nil},
		{"object is NULL", "UPDATE pods SET object = NULL WHERE uid = 'u1'", "*virtual.SQLError: column object of pods can't be NULL; use DELETE to delete\n", nil},
		{"uid", "UPDATE pods SET uid = 'x'", "*virtual.SQLError: column uid of pods can't be changed" + cannot, nil},
		{"kind", "UPDATE pods SET kind = 'Pot'", "*virtual.SQLError: column kind of pods can't be changed" + cannot, nil},
		{"name", "UPDATE pods SET name = NULL", "*virtual.SQLError: column name of pods can't be changed" + cannot, nil},
		{"ready", "UPDATE pods SET ready = 0", "*virtual.SQLError: column ready of pods can't be changed" + cannot, nil},
		{"instance", "UPDATE pods SET instance = 'x'", "*virtual.SQLError: column instance of pods can't be changed" + cannot, nil},
		{"owners", "UPDATE pods SET owners = '[]'", "*virtual.SQLError: column owners of pods can't be changed; set object, with other ownerReferences in its metadata\n", nil},
		{"hidden", `UPDATE pods SET "(field 0)" = 'x'`, "*virtual.SQLError: no such column: (field 0)\n", nil},
		{"hidden key", `UPDATE pods SET "(key)" = 'x'`, "*virtual.SQLError: no such column: (key)\n", nil},
		{"array", "UPDATE pods SET spec = '[]'", "*virtual.SQLError: column spec of pods must be a JSON object; make one of it with json_set or json_object\n", nil},
		{"number", "UPDATE pods SET spec = 1", "*virtual.SQLError: column spec of pods must be JSON: a number; make it with json_set, json_patch or json_object\n", nil},
		{"no JSON", "UPDATE pods SET spec = '{x' WHERE uid = 'u1'", "*virtual.SQLError: column spec of pods must be JSON: invalid JSON at byte 1: 'x' where a name is expected; make it with json_set, json_patch or json_object\n", nil},
		{"label that is a number", `UPDATE pods SET labels = '{"a":1}'`, "*virtual.SQLError: label \"a\" of pods is not a string; numbers and booleans need quotes there\n", nil},
		{"from", "UPDATE pods SET spec = json_set(spec, '$.n', x.n + 1) FROM (SELECT name nn, spec->>'n' n FROM pods) x WHERE x.nn = pods.name AND pods.name = 'p5'",
			"update pods b/p5 u5@15 spec={\"list\":[1,2.5,{\"a\":true}],\"n\":6}\n", nil},
		{"from many", "UPDATE services SET spec = json_object('n', x.n) FROM (SELECT namespace, max(spec->>'n') n FROM pods GROUP BY namespace) x WHERE x.namespace = services.namespace",
			"update services a/p0 s0@20 spec={\"n\":4}\n", nil},
		{"of itself", "UPDATE pods SET spec = json_object('n', (SELECT count(*) FROM pods p WHERE p.spec->>'n' = 1)) WHERE name IN ('p0', 'p1')",
			"update pods a/p0 u0@10 spec={\"n\":1}\nupdate pods b/p1 u1@11 spec={\"n\":1}\n", nil},
		{"delete", "DELETE FROM pods WHERE namespace = 'a' AND labels->>'app' = 'app2'", "delete pods a/p2 u2@12\n", nil},
		{"delete by join", "DELETE FROM pods WHERE EXISTS (SELECT 1 FROM services s WHERE s.name = pods.name)", "delete pods a/p0 u0@10\n", nil},
		{"delete nothing", "DELETE FROM pods WHERE name = 'none'", "", nil},
		{"insert", "INSERT INTO configmaps (namespace, name, labels, data) VALUES ('a', 'c', '{\"x\":\"y\"}', json_object('k', 'v'))",
			"insert configmaps a/c @ apiVersion=\"v1\" data={\"k\":\"v\"} kind=\"ConfigMap\" metadata.labels={\"x\":\"y\"} metadata.name=\"c\" metadata.namespace=\"a\"\n", nil},
		{"insert select", "INSERT INTO configmaps (namespace, name, data) SELECT namespace, name || '-info', json_object('n', CAST(spec->>'n' AS TEXT)) FROM pods WHERE namespace = 'a' ORDER BY name LIMIT 1",
			"insert configmaps a/p0-info @ apiVersion=\"v1\" data={\"n\":\"0\"} kind=\"ConfigMap\" metadata.name=\"p0-info\" metadata.namespace=\"a\"\n", nil},
		{"insert a copy", "INSERT INTO pods (object) SELECT json_set(object, '$.metadata.name', 'copy') FROM pods WHERE uid = 'u0'",
			"insert pods a/copy @ status apiVersion=\"v1\" kind=\"Pod\" metadata.labels={\"app\":\"app0\",\"mainstay.dev/instance\":\"demo0\",\"tier\":\"web\"} metadata.name=\"copy\" metadata.namespace=\"a\" spec={\"list\":[1,2.5,{\"a\":true}],\"n\":0} status={\"phase\":\"Running\"}\n", nil},
		{"insert for the cluster", "INSERT INTO namespaces (name) VALUES ('n')", "insert namespaces /n @ apiVersion=\"v1\" kind=\"Namespace\" metadata.name=\"n\"\n", nil},
		{"insert what is there", "INSERT INTO pods (namespace, name, spec) VALUES ('a', 'p0', '{\"n\":0}')", "", nil},
		{"insert what differs", "INSERT INTO pods (namespace, name, spec) VALUES ('a', 'p0', '{\"n\":1}')",
			"*virtual.ExistsError: v1 Pod a/p0 is there already, and differs: use INSERT OR IGNORE to leave it, or UPDATE to change it\n", nil},
		{"insert or ignore", "INSERT OR IGNORE INTO pods (namespace, name, spec) VALUES ('a', 'p0', '{\"n\":1}'), ('a', 'x', NULL), ('a', 'x', '{}')",
			"insert pods a/x @ apiVersion=\"v1\" kind=\"Pod\" metadata.name=\"x\" metadata.namespace=\"a\"\n", nil},
		{"insert twice", "INSERT INTO pods (namespace, name) SELECT 'a', 'x' FROM pods", "*virtual.SQLError: v1 Pod a/x is inserted twice; use SELECT DISTINCT, or GROUP BY\n", nil},
		{"insert or replace", "INSERT OR REPLACE INTO pods (namespace, name) VALUES ('a', 'x')", "*virtual.SQLError: INSERT OR REPLACE isn't available; use UPDATE, or INSERT OR IGNORE\n", nil},
		{"replace", "REPLACE INTO pods (namespace, name) VALUES ('a', 'x')", "*virtual.SQLError: REPLACE isn't available; use UPDATE, or INSERT OR IGNORE\n", nil},
		{"no name", "INSERT INTO pods (namespace) VALUES ('a')", "*virtual.SQLError: what is inserted into pods has no name; set the column name\n", nil},
		{"no namespace", "INSERT INTO pods (name) VALUES ('a')", "*virtual.SQLError: what is inserted into pods has no namespace; set the column namespace\n", nil},
		{"a namespace", "INSERT INTO nodes (namespace, name) VALUES ('a', 'a')", "*virtual.SQLError: nodes belong to no namespace; leave the column namespace out\n", nil},
		{"insert a uid", "INSERT INTO pods (namespace, name, uid) VALUES ('a', 'b', 'c')",
			"*virtual.SQLError: column uid of pods can't be set by INSERT; namespace, name, labels, annotations, spec, status, data and object can\n", nil},
		{"a bad name", "INSERT INTO pods (namespace, name) VALUES ('a', 'b/c')", "*virtual.SQLError: name \"b/c\" holds a character that no name may\n", nil},
		{"another kind", "INSERT INTO pods (namespace, name, kind) VALUES ('a', 'b', 'Service')",
			"*virtual.SQLError: kind of what is inserted into pods is Service, not Pod; insert it into the table of its kind\n", nil},
		{"upsert", "INSERT INTO pods (namespace, name) VALUES ('a', 'b') ON CONFLICT DO NOTHING",
			"*virtual.SQLError: ON CONFLICT isn't possible on virtual resources; use INSERT OR IGNORE, or an UPDATE and an INSERT … WHERE NOT EXISTS\n", nil},
		{"returning", "INSERT INTO pods (namespace, name) VALUES ('a', 'b') RETURNING name", "*virtual.SQLError: RETURNING isn't available; the effect of a statement says what it writes\n", nil},
		{"resources", "DELETE FROM resources", "*virtual.SQLError: resources can't be written: only the table of a kind can\n", nil},
		{"events", "DELETE FROM events", "*virtual.SQLError: table events may not be modified\n", nil},
		{"json_each", "DELETE FROM json_each", "*virtual.SQLError: table json_each may not be modified\n", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := fixture(t)
			// Twice: nothing was written, so the same happens again.
			for range 2 {
				if diff := cmp.Diff(tt.want, effect(t, s, tt.text, tt.params)); diff != "" {
					t.Errorf("%s\n%s", tt.text, diff)
				}
			}
		})
	}
}

func TestAStatementMayChangeSoMany(t *testing.T) {
	s := crowd(t)
	const text = "UPDATE pods SET spec = '{}' WHERE namespace = 'ns1'"
	if e, err := s.Exec(t.Context(), text, nil, Limits{Changes: 100}); err != nil || len(e.Changes) != 100 {
		t.Errorf("%v", err)
	}
	var limit *LimitError
	if _, err := s.Exec(t.Context(), text, nil, Limits{Changes: 99}); !errors.As(err, &limit) || limit.Limit != "changes" {
		t.Errorf("%v", err)
	}
	if _, err := s.Exec(t.Context(), "DELETE FROM pods", nil, Limits{}); !errors.As(err, &limit) || limit.Limit != "changes" || limit.Value != 500 {
		t.Errorf("%v", err)
	}
	// What changes nothing doesn't count.
	if e, err := s.Exec(t.Context(), "UPDATE pods SET labels = json_set(labels, '$.app', iif(name = 'p7', 'x', 'web'))", nil, Limits{Changes: 1}); err != nil || len(e.Changes) != 1 {
		t.Errorf("%v", err)
	}
}

func BenchmarkExecOfOneRow(b *testing.B) {
	s := crowd(b)
	b.ReportAllocs()
	for b.Loop() {
		e, err := s.Exec(b.Context(), "UPDATE pods SET labels = json_set(labels, '$.app', 'x') WHERE namespace = 'ns1' AND name = 'p11'", nil, Limits{})
		if err != nil || len(e.Changes) != 1 {
			b.Fatal(err)
		}
	}
}
