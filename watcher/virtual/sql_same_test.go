package virtual

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

var (
	deployments = Kind{Group: "apps", Version: "v1", Kind: "Deployment"}
	namespaces  = Kind{Version: "v1", Kind: "Namespace"}
)

// strange are objects of which many members are what one doesn't expect.
func strange() map[Key]string {
	all := map[Key]string{}
	add := func(k Key, metadata, rest string) {
		ns := ""
		if k.Namespace != "" {
			ns = fmt.Sprintf(`"namespace":%q,`, k.Namespace)
		}
		all[k] = fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{"name":%q,%s"uid":"uid-%s-%s-%s"%s}%s}`,
			k.APIVersion(), k.Kind.Kind, k.Name, ns, strings.ToLower(k.Kind.Kind), k.Namespace, k.Name, metadata, rest)
	}
	for i := range 24 {
		labels := fmt.Sprintf(`,"labels":{"app":"app-%d","app.kubernetes.io/name":"n%d","tier":"%s"}`, i%4, i%3, []string{"web", "db", "", "über", "42", "042", "4.5e1"}[i%7])
		meta := fmt.Sprintf(`,"resourceVersion":"%d","creationTimestamp":"2026-01-%02dT00:00:00Z"`, 100+i, 1+i)
		switch i % 6 {
		case 0:
			labels = ""
		case 1:
			meta += `,"annotations":{"note":"it's \"quoted\" \\ \n \u00e9 \ud83d\ude00","example.com/number":"7"}`
		case 2:
			meta += `,"deletionTimestamp":"2026-02-01T00:00:00Z","ownerReferences":[{"kind":"Deployment","name":"d1","uid":"uid-deployment-a-d1"},{"kind":"X","name":"y","uid":"z"}]`
		}
		spec := []string{
			`{"nodeName":"n1","replicas":3,"ports":[{"port":80,"name":"http"},{"port":443}],"on":true}`,
			`{"nodeName":"N1","replicas":"3","ports":[],"on":false,"nested":{"deep":{"er":[1,[2,[3]]]}}}`,
			`{"nodeName":null,"replicas":3.5,"big":9223372036854775807,"bigger":9223372036854775808,"neg":-9223372036854775808}`,
			`{"a.b":{"c":1},"$":2,"[0]":3,"":4,"x y":5,"\"":6,"nodeName":"","escaped\u0041":7}`,
			`{"small":1e-7,"large":1.5e300,"zero":0,"e":1E3,"nodeName":"n\u0001x","arr":["a",null,true,1.25,{"k":"v"}]}`,
			`{}`, `{"nodeName":"日本語","replicas":0,"list":[3,1,2],"text":"100%_x"}`, `{"nodeName":["n1"],"replicas":{"min":1},"on":"true"}`,
		}[i%8]
		rest := `,"spec":` + spec
		if i%3 == 0 {
			rest += fmt.Sprintf(`,"status":{"phase":"%s","ready":%d,"conditions":[{"type":"Ready","status":"%t"}]}`, []string{"Running", "Pending", "running"}[i%3], i%2, i%2 == 0)
		}
		if i%5 == 0 {
			rest += `,"data":{"key":"value","list":"[1,2]","object":"{\"a\":1}"}`
		}
		add(key(pods, []string{"a", "b", "ab"}[i%3], fmt.Sprintf("p%d", i)), meta+labels, rest)
		if i < 8 {
			add(key(deployments, []string{"a", "b"}[i%2], fmt.Sprintf("d%d", i)), meta+labels, fmt.Sprintf(`,"spec":{"replicas":%d,"template":{"spec":{"nodeName":"n1"}}}`, i))
			add(key(namespaces, "", []string{"a", "b", "ab", "c"}[i%4]), labels, "")
		}
	}
	return all
}

// statements are some that both are asked; of those that aren't ordered the rows are compared as sets.
func statements() []string {
	all := []string{
		"SELECT * FROM pods", "SELECT * FROM namespaces", "SELECT * FROM deployments WHERE namespace = 'a'",
		"SELECT name FROM pods WHERE namespace = 'a' AND name = 'p3'", "SELECT name FROM pods WHERE namespace IN ('a', 'b', 'none') ORDER BY namespace DESC, name",
		"SELECT name FROM pods WHERE (namespace, name) IN (VALUES ('a','p0'), ('b','p1'), ('b','p0'))",
		"SELECT name FROM pods WHERE namespace = 'a' OR name = 'p1'", "SELECT name FROM pods WHERE namespace = 'A' COLLATE NOCASE",
		"SELECT name FROM pods WHERE name = 'P1' COLLATE NOCASE", "SELECT name FROM pods ORDER BY name COLLATE NOCASE DESC LIMIT 5",
		"SELECT name FROM namespaces WHERE namespace IS NULL", "SELECT name FROM namespaces WHERE namespace = ''", "SELECT name FROM namespaces WHERE name = 'a'",
		"SELECT name FROM namespaces ORDER BY namespace, name", "SELECT name FROM pods WHERE namespace = NULL", "SELECT name FROM pods WHERE name = 5",
		"SELECT name FROM pods WHERE uid = 'uid-pod-a-p0'", "SELECT name FROM pods WHERE uid IN ('uid-pod-a-p0', 'uid-deployment-a-d0', 'uid-pod-b-p1')",
		"SELECT name FROM pods WHERE uid = x'00'", "SELECT name FROM pods WHERE uid IS NULL", "SELECT name FROM pods WHERE instance IS NULL AND ready IS NULL LIMIT 3 OFFSET 2",
		"SELECT p.name, d.name FROM pods p JOIN deployments d ON d.uid = p.owners->0->>'uid'",
		"SELECT p.name, d.name FROM pods p LEFT JOIN deployments d ON d.namespace = p.namespace AND d.name = replace(p.name, 'p', 'd') ORDER BY 1, 2",
		"SELECT p.name FROM pods p WHERE NOT EXISTS (SELECT 1 FROM deployments d WHERE d.namespace = p.namespace AND d.labels->>'app' = p.labels->>'app')",
		"SELECT p.name FROM pods p WHERE EXISTS (SELECT 1 FROM deployments d WHERE d.labels->>'app' = p.labels->>'app' AND d.spec->>'replicas' > 2)",
		"SELECT n.name, count(p.name) FROM namespaces n LEFT JOIN pods p ON p.namespace = n.name GROUP BY n.name ORDER BY 1",
		"SELECT namespace, count(*), sum(spec->>'replicas'), avg(spec->>'replicas'), min(name), max(name), total(spec->>'zero') FROM pods GROUP BY namespace ORDER BY namespace",
		"SELECT labels->>'app', count(*) FROM pods GROUP BY labels->>'app' HAVING count(*) > 2 ORDER BY 1", "SELECT DISTINCT labels->>'tier' FROM pods ORDER BY 1",
		"SELECT group_concat(name, ',') FROM (SELECT name FROM pods ORDER BY namespace, name)",
		"SELECT name, row_number() OVER (PARTITION BY namespace ORDER BY name), lag(name) OVER (ORDER BY namespace, name) FROM pods ORDER BY namespace, name",
		"SELECT name, sum(spec->>'replicas') OVER (ORDER BY namespace, name ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM deployments ORDER BY namespace, name",
		"WITH x AS (SELECT namespace, labels->>'app' app FROM pods) SELECT app, count(*) FROM x GROUP BY app ORDER BY app",
		"WITH x AS MATERIALIZED (SELECT name, labels FROM pods) SELECT labels->>'app' FROM x WHERE labels->>'app' = 'app-1' ORDER BY name",
		"WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r WHERE n < 10) SELECT n, (SELECT count(*) FROM pods WHERE spec->>'replicas' >= n) FROM r",
		`WITH x AS (SELECT '{"app":"app-1"}' AS labels) SELECT s.name FROM pods s WHERE EXISTS (SELECT 1 FROM x WHERE labels->>'app' = s.labels->>'app')`,
		`SELECT (SELECT labels->>'app' FROM (SELECT '{"app":"inner"}' AS labels)) FROM pods`, "SELECT (SELECT labels->>'app' FROM (SELECT labels FROM pods ORDER BY name LIMIT 1)) FROM pods",
		`SELECT labels->>'app' FROM (SELECT labels FROM pods WHERE labels->>'app' = 'app-2')`, "SELECT labels->>'app' AS labels FROM pods ORDER BY labels",
		"SELECT name FROM pods WHERE labels->>'app' = 'app-1' AND namespace = 'b'", "SELECT name FROM pods WHERE labels ->> 'app' IN ('app-1', 'app-3') ORDER BY namespace, name",
		"SELECT name FROM pods WHERE 'app-1' = labels->>'app'", "SELECT name FROM pods WHERE labels->>'app' LIKE 'APP-%'", "SELECT name FROM pods WHERE labels->>'app' > 'app-1'",
		"SELECT name FROM pods WHERE labels->>'app' IS NULL", "SELECT name FROM pods WHERE labels->>'app' IS NOT 'app-1'", "SELECT name FROM pods WHERE labels->>'app' || 'x' = 'app-1x'",
		"SELECT name FROM pods WHERE labels->>'app' COLLATE NOCASE = 'APP-1'", "SELECT name FROM pods WHERE labels->>'tier' = 42",
		"SELECT name FROM pods WHERE labels->>'tier' = '42'", "SELECT name FROM pods WHERE labels->>'tier' = 42.0", "SELECT name FROM pods WHERE CAST(labels->>'tier' AS INTEGER) = 42", "SELECT name FROM pods WHERE labels->>'tier' = ''",
		"SELECT name FROM pods WHERE labels->>'tier' = 'über'", "SELECT name FROM pods WHERE labels->>'app.kubernetes.io/name' = 'n1' ORDER BY name", "SELECT name FROM pods WHERE labels->>'$.app' = 'app-1'",
		`SELECT name FROM pods WHERE labels->>'$."app.kubernetes.io/name"' = 'n2'`, "SELECT labels->'app', labels->'none', labels->>'none' FROM pods ORDER BY namespace, name",
		"SELECT name FROM pods WHERE annotations->>'example.com/number' = 7", "SELECT name FROM pods WHERE annotations->>'example.com/number' = '7'", "SELECT annotations->>'note' FROM pods",
		"SELECT name FROM pods WHERE name = spec->>'nodeName'", "SELECT p.name FROM pods p, pods q WHERE p.labels->>'tier' = q.spec->>'replicas'", "SELECT name FROM pods WHERE resource_version = spec->>'replicas'",
		"SELECT p.name FROM pods p JOIN deployments d ON p.resource_version > d.spec->>'replicas' WHERE d.name = 'd3'", "SELECT name FROM pods WHERE ready = spec->>'on'", "SELECT name FROM pods WHERE spec->>'on' = 1",
		"SELECT name FROM pods WHERE spec->>'on'", "SELECT name FROM pods WHERE NOT spec->>'on'", "SELECT name FROM pods WHERE spec->'on' = 'true'", "SELECT -spec->>'replicas' FROM pods", "SELECT 1 - spec->>'replicas' FROM pods ORDER BY namespace, name",
		"SELECT spec->'nested'->'deep'->'er'->1->1->>0 FROM pods", "SELECT spec->'nested'->'deep'->>'er' FROM pods", "SELECT json_array(spec->'nested'->'deep'->>'er', spec->'nested'->'deep') FROM pods ORDER BY namespace, name",
		"SELECT spec->'a.b'->>'c', spec->>'$', spec->>'[0]', spec->>'x y' FROM pods", "SELECT spec->>'replicas'->>'min', spec->'replicas'->>'min' FROM pods", "SELECT typeof(spec->>'replicas'), count(*) FROM pods GROUP BY 1 ORDER BY 1",
		"SELECT name, value->>'port' FROM pods, json_each(spec->'ports')", "SELECT name, value->>'port' FROM pods, json_each(pods.spec, '$.ports') ORDER BY 1, 2", "SELECT name, key, atom FROM pods, json_tree(pods.spec) WHERE atom IS NOT NULL",
		"SELECT p.name, e.key, e.value FROM pods p, json_each(p.labels) e ORDER BY p.namespace, p.name, e.key", "SELECT name FROM pods WHERE EXISTS (SELECT 1 FROM json_each(spec, '$.ports') WHERE value->>'port' = 443)",
		"SELECT p.name, json_extract(p.status, '$.conditions[0].type', '$.phase') FROM pods p ORDER BY p.namespace, p.name", "SELECT name FROM pods WHERE status->'conditions'->0->>'status' = 'true'", "SELECT name FROM pods WHERE status->>'$.conditions[#-1].type' = 'Ready'",
		"SELECT json_object('n', name, 's', json(spec)) FROM pods ORDER BY namespace, name", "SELECT json_group_array(name) FROM (SELECT name FROM pods WHERE namespace = 'a' ORDER BY name)", "SELECT json_group_object(name, labels->>'app') FROM (SELECT * FROM deployments ORDER BY name)",
		"SELECT json_set(spec, '$.replicas', 9) FROM pods ORDER BY namespace, name", "SELECT json_patch(spec, '{\"replicas\":null,\"x\":{\"y\":[1]}}') FROM deployments ORDER BY namespace, name", "SELECT json_remove(spec, '$.replicas', '$.template') FROM deployments",
		"SELECT json_type(spec, '$.replicas'), json_type(spec, '$.none'), json_array_length(spec, '$.ports') FROM pods ORDER BY namespace, name", "SELECT data->>'list', data->'list', json(data->>'list')->>1, data->>'object' FROM pods WHERE data IS NOT NULL",
		"SELECT object->'metadata'->>'name', object->>'kind', object->'spec'->>'replicas' FROM deployments ORDER BY 1", "SELECT name FROM pods WHERE object->'metadata'->'labels'->>'app' = labels->>'app' ORDER BY name",
		"SELECT CASE WHEN deleted_at IS NOT NULL THEN 'leaving' WHEN status IS NULL THEN 'unknown' ELSE status->>'phase' END s, count(*) FROM pods GROUP BY s ORDER BY s", "SELECT coalesce(status->>'phase', 'none'), iif(deleted_at, 1, 2) FROM pods",
		"SELECT name FROM pods WHERE created_at BETWEEN '2026-01-05' AND '2026-01-10' ORDER BY created_at DESC", "SELECT name FROM pods WHERE name GLOB 'p1[0-3]' ORDER BY name", "SELECT name FROM pods WHERE spec->>'text' LIKE '%\\%\\_x' ESCAPE '\\'", "SELECT name FROM pods WHERE spec->>'nodeName' LIKE 'n1'",
		"SELECT name FROM pods UNION SELECT name FROM deployments ORDER BY 1", "SELECT namespace FROM pods EXCEPT SELECT namespace FROM deployments", "SELECT namespace FROM pods INTERSECT SELECT name FROM namespaces ORDER BY 1", "SELECT 'p', name FROM pods UNION ALL SELECT 'd', name FROM deployments",
		"SELECT length(spec->>'nodeName'), upper(spec->>'nodeName'), hex(spec->>'text'), instr(spec->>'nodeName', '本') FROM pods", "SELECT spec->>'big', spec->>'neg', spec->>'small', spec->>'large', spec->>'e' FROM pods ORDER BY namespace, name", "SELECT spec->>'big' + 0 = 9223372036854775807 FROM pods",
		"SELECT name, p.name, p.* FROM deployments p WHERE name = 'd1'", "SELECT count(*) FROM pods a, deployments b", "SELECT count(*) FROM pods a JOIN pods b USING (namespace, name)", "SELECT a.name FROM pods a NATURAL JOIN (SELECT namespace, 'p0' AS name FROM pods)",
		"VALUES (1, 'a', NULL, 1.5, x'')", "SELECT 1 WHERE 0", "SELECT 1e400, -1e400", "SELECT name FROM pods ORDER BY spec->>'replicas' DESC, namespace, name LIMIT 7", "SELECT name FROM pods ORDER BY namespace DESC, name DESC", "SELECT name FROM pods WHERE namespace = 'a' ORDER BY name DESC",
		"SELECT namespace, name FROM pods ORDER BY namespace, name, uid", "SELECT namespace FROM pods GROUP BY namespace, name", "SELECT DISTINCT namespace FROM pods", "SELECT DISTINCT namespace, name FROM pods ORDER BY namespace, name LIMIT 4", "SELECT max(name) FROM pods WHERE namespace = 'b'",
		"SELECT PODS.NAME FROM Pods WHERE Namespace = 'a' ORDER BY Name", `SELECT "pods"."name", [namespace] FROM "pods" ORDER BY ` + "`namespace`, `name`", "SELECT p.labels->>'app', p.spec->>'replicas' FROM main.pods AS p ORDER BY p.namespace, p.name", "SELECT name /* labels->>'app' */ FROM pods -- spec->>'x'\nWHERE 'labels->>''app''' <> ''",
	}
	for _, column := range []string{"labels->>'app'", "labels->>'tier'", "spec->>'replicas'", "spec->>'nodeName'", "status->>'phase'", "resource_version"} {
		for _, condition := range []string{"= '3'", "= 3", "< 3", ">= '3'", "IS NULL", "IN ('app-1', 3, 'n1', 'Running', '103')", "BETWEEN 1 AND '9'", "<> 'web'"} {
			all = append(all, fmt.Sprintf("SELECT name, %s FROM pods WHERE %s %s", column, column, condition))
		}
		all = append(all,
			fmt.Sprintf("SELECT %s v, count(*) FROM pods GROUP BY v ORDER BY v", column),
			fmt.Sprintf("SELECT name FROM pods ORDER BY %s, namespace, name", column),
			fmt.Sprintf("SELECT a.name, b.name FROM pods a JOIN deployments b ON a.%s = b.%s", column, strings.Replace(column, "nodeName", "replicas", 1)),
			fmt.Sprintf("SELECT max(%s), min(%s), count(DISTINCT %s) FROM pods", column, column, column),
		)
	}
	return all
}

// TestSameRowsAsSQLite asks the sqlite3 program the same, about the same objects in plain tables.
func TestSameRowsAsSQLite(t *testing.T) {
	program, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Skip("the program sqlite3 is not installed")
	}
	s := serving(t)
	var script strings.Builder
	for table, kind := range map[string]Kind{"pods": pods, "deployments": deployments, "namespaces": namespaces} {
		fmt.Fprintf(&script, "CREATE TABLE %s(api_version TEXT, kind TEXT, namespace TEXT, name TEXT, uid TEXT, resource_version TEXT, created_at TEXT,"+
			" deleted_at TEXT, instance TEXT, ready INTEGER, labels, annotations, owners, spec, status, data, object);\n", table)
		all := strange()
		for _, k := range slices.SortedFunc(maps.Keys(all), func(a, b Key) int { return strings.Compare(a.String(), b.String()) }) {
			if k.Kind != kind {
				continue
			}
			doc := all[k]
			if _, _, err := s.Put(k, []byte(doc)); err != nil {
				t.Fatal(err)
			}
			var values []string
			for _, path := range []string{"apiVersion", "kind", "metadata.namespace", "metadata.name", "metadata.uid", "metadata.resourceVersion", "metadata.creationTimestamp", "metadata.deletionTimestamp", "-", "-", "metadata.labels", "metadata.annotations", "metadata.ownerReferences", "spec", "status", "data", "@this"} {
				v := gjson.Get(doc, path)
				text := v.Raw
				if v.Type == gjson.String {
					text = v.Str
				}
				if !v.Exists() {
					values = append(values, "NULL")
				} else {
					values = append(values, "'"+strings.ReplaceAll(text, "'", "''")+"'")
				}
			}
			fmt.Fprintf(&script, "INSERT INTO %s VALUES(%s);\n", table, strings.Join(values, ","))
		}
	}
	all := statements()
	if len(all) < 200 {
		t.Fatalf("only %d statements", len(all))
	}
	// Versions before 3.42 read a path where there are dots.
	quote := strings.NewReplacer(`'app.kubernetes.io/name'`, `'$."app.kubernetes.io/name"'`, `'example.com/number'`, `'$."example.com/number"'`, `'a.b'`, `'$."a.b"'`)
	for i, text := range all {
		fmt.Fprintf(&script, ".print @@@%d\n%s;\n", i, quote.Replace(text))
	}
	cmd := exec.Command(program, "-batch", "-json", ":memory:")
	cmd.Stdin = strings.NewReader(script.String())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if stderr.Len() > 0 {
		t.Fatalf("sqlite3: %v: %s", err, stderr.String())
	}
	_, rest, _ := strings.Cut(string(out), "@@@0\n")
	for i, text := range all {
		var theirs string
		theirs, rest, _ = strings.Cut(rest, fmt.Sprintf("@@@%d\n", i+1))
		rows, err := s.Query(t.Context(), text, nil, Limits{})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		want, err := parseRows(theirs)
		if err != nil {
			t.Fatalf("%s: sqlite3's answer: %v: %s", text, err, theirs)
		}
		got := rows.Values
		if !strings.Contains(text, "ORDER BY") {
			order := func(a, b []any) int { return strings.Compare(fmt.Sprint(plainRow(a)...), fmt.Sprint(plainRow(b)...)) }
			slices.SortStableFunc(got, order)
			slices.SortStableFunc(want, order)
		}
		if !slices.EqualFunc(got, want, func(a, b []any) bool { return slices.EqualFunc(a, b, sameValue) }) {
			t.Errorf("%s:\n got %v\nwant %v", text, got, want)
		}
	}
}

// plainRow is a row in a form that sorts alike, wherever it comes from.
func plainRow(row []any) []any {
	out := make([]any, len(row))
	for i, v := range row {
		if s, ok := v.(string); ok {
			if decoded, err := parseJSON(s); err == nil {
				v = decoded
			}
		}
		b, _ := json.Marshal(v)
		out[i] = string(b) + " "
	}
	return out
}

// sameValue compares a value with sqlite3's, where JSON is text.
func sameValue(got, want any) bool {
	if sameJSON(got, want) {
		return true
	}
	s, ok := want.(string)
	if !ok {
		return false
	}
	decoded, err := parseJSON(s)
	return err == nil && sameJSON(got, decoded)
}

// parseRows reads the rows of sqlite3 -json, in which names repeat.
func parseRows(text string) (rows [][]any, err error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	// It escapes no infinity as JSON would.
	if !gjson.Valid(text) {
		return nil, fmt.Errorf("invalid JSON")
	}
	gjson.Parse(text).ForEach(func(_, row gjson.Result) bool {
		var values []any
		row.ForEach(func(_, v gjson.Result) bool {
			var decoded any
			if decoded, err = parseJSON(v.Raw); err != nil {
				return false
			}
			values = append(values, decoded)
			return true
		})
		rows = append(rows, values)
		return err == nil
	})
	return rows, err
}
