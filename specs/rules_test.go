package specs_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// TestRulePlan compiles rules of every sort, with their SQL.
func TestRulePlan(t *testing.T) {
	op := load(t, folder(t, t.TempDir(), describe(`
default:
  def: crd.yaml
  maintain:
    - watch:
        category: [ResourceDidChange, ResourceWillDelete]
        apiVersion: kafka.example.net/v1
        kind: KafkaTopic
        scope: cluster
        namespace: shop
        name: a
        selector:
          matchExpressions:
            - {key: zone, operator: NotIn, values: [b, a]}
            - {key: old, operator: Exists}
          matchLabels: {app: web}
        fields: [spec.a, 'metadata.labels["x.y"]']
        hold: true
      debounce: 1s
      decide:
        sql: |
          SELECT s.name FROM services s, "ingresses.networking.k8s.io" i, kafkatopics t
          WHERE s.labels->>'app' = :name AND t.uid = :object_uid;
        when: |
          size(rows) > 0
      action:
        - {cmd: kube-patch, file: patch.yaml}
        - cmd: sql
          statement:
            - UPDATE widgets SET labels = :x WHERE namespace = :namespace AND labels->>'team' = 'a'
            - |
              INSERT INTO configmaps (name, namespace) VALUES (:y, :namespace);

              DELETE FROM "things.other.example.org" WHERE name = @y;
          params: {x: {a: 5}, y: "{{ cr.metadata.name }}"}
          maxRows: 7
    - watch: {category: QueryDidChange, sql: SELECT name FROM pods}
      action: [{cmd: kube-patch, file: patch.yaml}]
    - watch: {category: TimerDidFire, every: 90s}
      action: [{cmd: sql, statement: SELECT 1}]
    - watch: {category: TimerDidFire, cron: 0 3 * * *}
      decide: {when: cr.metadata.name != 'off'}
      action: [{cmd: sql, name: nightly, statement: SELECT 1}]
  undeploy:
    - {cmd: sql, statement: DELETE FROM pods WHERE labels->>'app' = :instance}
`)))
	patch := plan.Command{
		Kind: plan.KindKubePatch, Name: "patch", Engine: "pongo2", Timeout: duration(t, "1m"), Deadline: duration(t, "1h"),
		Retry: plan.Retry{Initial: duration(t, "1s"), Max: duration(t, "30s")}, Patch: &plan.Patch{File: "patch.yaml", Missing: "fail"},
	}
	sql := func(name string, s plan.SQL) plan.Command {
		c := patch
		c.Kind, c.Name, c.Patch, c.SQL = plan.KindSQL, name, nil, &s
		return c
	}
	one := func(at string) plan.SQL {
		return plan.SQL{MaxRows: plan.DefaultMaxRows, Statements: []plan.Query{{Text: "SELECT 1", At: at}}}
	}
	topics := []string{"ingresses.networking.k8s.io", "kafkatopics.kafka.example.net", "services"}
	want := []plan.Rule{
		{
			Name: "kafka-topic-patch", At: "operator.yaml:5:7", Debounce: duration(t, "1s"),
			Watch: plan.Watch{
				Categories: []plan.Category{plan.DidChange, plan.WillDelete}, APIVersion: "kafka.example.net/v1", Kind: "KafkaTopic",
				Scope: plan.ScopeCluster, Namespace: "shop", Name: "a", Selector: "app=web,old,zone notin (a,b)",
				Fields: []string{"spec.a", `metadata.labels["x.y"]`}, Hold: true,
			},
			Decide: &plan.Decide{
				SQL: &plan.Query{
					Text: "SELECT s.name FROM services s, \"ingresses.networking.k8s.io\" i, kafkatopics t\nWHERE s.labels->>'app' = :name AND t.uid = :object_uid",
					At:   "operator.yaml:22:11", Reads: topics,
				},
				When: "size(rows) > 0", WhenAt: "operator.yaml:25:11",
			},
			Action: []plan.Command{patch, sql("sql", plan.SQL{
				MaxRows: 7, Params: map[string]any{"x": map[string]any{"a": int64(5)}, "y": "{{ cr.metadata.name }}"},
				Statements: []plan.Query{
					{
						Text: "UPDATE widgets SET labels = :x WHERE namespace = :namespace AND labels->>'team' = 'a'",
						At:   "operator.yaml:30:15", Reads: []string{"widgets.example.com"}, Writes: []string{"widgets.example.com"},
					},
					{
						Text: "INSERT INTO configmaps (name, namespace) VALUES (:y, :namespace)",
						At:   "operator.yaml:32:15", Writes: []string{"configmaps"},
					},
					{
						Text: `DELETE FROM "things.other.example.org" WHERE name = @y`,
						At:   "operator.yaml:34:15", Reads: []string{"things.other.example.org"}, Writes: []string{"things.other.example.org"},
					},
				},
			})},
		},
		{
			Name: "query-patch", At: "operator.yaml:37:7", Action: []plan.Command{patch},
			Watch: plan.Watch{
				Categories: []plan.Category{plan.QueryDidChange},
				SQL:        &plan.Query{Text: "SELECT name FROM pods", At: "operator.yaml:37:46", Reads: []string{"pods"}},
			},
		},
		{
			Name: "timer-sql", At: "operator.yaml:39:7", Action: []plan.Command{sql("sql", one("operator.yaml:40:38"))},
			Watch: plan.Watch{Categories: []plan.Category{plan.TimerDidFire}, Every: duration(t, "90s")},
		},
		{
			Name: "timer-nightly", At: "operator.yaml:41:7", Action: []plan.Command{sql("nightly", one("operator.yaml:43:53"))},
			Decide: &plan.Decide{When: "cr.metadata.name != 'off'", WhenAt: "operator.yaml:42:22"},
			Watch:  plan.Watch{Categories: []plan.Category{plan.TimerDidFire}, Cron: "0 3 * * *"},
		},
	}
	got := op.Plan.Profiles["default"]
	if diff := cmp.Diff(want, got.Rules); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	if undeploy := got.Undeploy[0].SQL.Statements[0]; !slices.Equal(undeploy.Writes, []string{"pods"}) {
		t.Errorf("undeploy: %+v", undeploy)
	}
	tables := []string{
		"configmaps", "ingresses.networking.k8s.io", "kafkatopics.kafka.example.net", "pods", "services", "things.other.example.org",
		"widgets.example.com",
	}
	if diff := cmp.Diff(tables, op.Tables()); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"app", "team"}, op.IndexedLabels()); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

// TestSQLIsNotUndone: nobody knows what was there before.
func TestSQLIsNotUndone(t *testing.T) {
	op := load(t, folder(t, t.TempDir(), describe(
		"default:\n  def: crd.yaml\n  deploy:\n    - {cmd: sql, statement: SELECT 1}\n    - {cmd: helm, chart: app}\n")))
	if undo := op.Plan.Profiles["default"].Undeploy; len(undo) != 1 || undo[0].Helm == nil {
		t.Errorf("undeploy: %+v", undo)
	}
}
