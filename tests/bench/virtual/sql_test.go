package virtual_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/tidwall/gjson"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// clusterObjects are the same objects in three forms: in the store; in a Go map as JSON, with a map for each index that
// someone who writes by hand would have; and in SQLite's own tables in memory, as JSONB with indexes.
type clusterObjects struct {
	store *virtual.Store

	// The indexes name keys, as those of informers do: an object is replaced in one place.
	byKey   map[virtual.Key]string
	byUID   map[string]virtual.Key
	byLabel map[[2]string][]virtual.Key // namespace; value of app, or of app.kubernetes.io/instance for what has no app
	pods    []string
	maps    []virtual.Key

	lite       *sqlite3.Conn
	statements map[string]*sqlite3.Stmt
}

const (
	podCount     = 100_000
	serviceCount = 8_000
	mapCount     = 5_000
)

func newClusterObjects(b *testing.B) *clusterObjects {
	b.Helper()
	store, err := virtual.Open(virtual.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	c := &clusterObjects{
		store: store, byKey: map[virtual.Key]string{}, byUID: map[string]virtual.Key{}, byLabel: map[[2]string][]virtual.Key{},
		statements: map[string]*sqlite3.Stmt{},
	}
	if c.lite, err = sqlite3.OpenContext(sqlite3.WithMaxMemory(b.Context(), 2<<30), ":memory:"); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.lite.Close() })
	tables := map[virtual.Kind]string{pods: "pods", services: "services", configMaps: "configmaps"}
	for kind, table := range tables {
		store.Serve(virtual.Resource{Kind: kind, Plural: table, Namespaced: true})
		store.SetSynced(kind, true)
		if err := c.lite.Exec(fmt.Sprintf(`CREATE TABLE %[1]s(namespace TEXT, name TEXT, uid TEXT, labels, annotations, spec, status, data, PRIMARY KEY(namespace, name));
			CREATE INDEX %[1]s_uid ON %[1]s(uid); CREATE INDEX %[1]s_app ON %[1]s(namespace, labels->>'app');
			CREATE INDEX %[1]s_instance ON %[1]s(namespace, labels->>'app.kubernetes.io/instance')`, table)); err != nil {
			b.Fatal(err)
		}
	}
	c.fill(b, newMaker(pods), (*maker).pod, podCount, "pods")
	serviceKeys := c.fill(b, newMaker(services), (*maker).service, serviceCount, "services")
	at := 0
	c.maps = c.fill(b, newMaker(configMaps), func(m *maker) object {
		o := m.configMap()
		meta := o["metadata"].(object)
		meta["namespace"], meta["name"] = serviceKeys[at].Namespace, serviceKeys[at].Name
		at++
		return o
	}, mapCount, "configmaps")
	return c
}

func (c *clusterObjects) fill(b *testing.B, m *maker, make func(*maker) object, n int, table string) []virtual.Key {
	b.Helper()
	insert, _, err := c.lite.Prepare("INSERT INTO " + table + " SELECT ?1, ?2, ?3, jsonb(?4->'metadata'->'labels'), jsonb(?4->'metadata'->'annotations'), jsonb(?4->'spec'), jsonb(?4->'status'), jsonb(?4->'data')")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = insert.Close() }()
	if err := c.lite.Exec("BEGIN"); err != nil {
		b.Fatal(err)
	}
	var keys []virtual.Key
	var objects []virtual.Object
	for range n {
		o := make(m)
		meta := o["metadata"].(object)
		key := virtual.Key{Kind: m.kind, Namespace: meta["namespace"].(string), Name: meta["name"].(string)}
		stored, err := virtual.DecodedObject(key, o)
		if err != nil {
			b.Fatal(err)
		}
		objects, keys = append(objects, stored), append(keys, key)
		text := string(stored.JSON())
		c.byKey[key] = text
		c.byUID[stored.UID] = key
		value := gjson.Get(text, "metadata.labels.app")
		if !value.Exists() {
			value = gjson.Get(text, `metadata.labels.app\.kubernetes\.io/instance`)
		}
		app := [2]string{key.Namespace, value.Str}
		c.byLabel[app] = append(c.byLabel[app], key)
		if m.kind == pods {
			c.pods = append(c.pods, text)
		}
		for i, v := range []string{key.Namespace, key.Name, stored.UID, text} {
			if err := insert.BindText(i+1, v); err != nil {
				b.Fatal(err)
			}
		}
		if err := insert.Exec(); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.store.Apply(objects); err != nil {
		b.Fatal(err)
	}
	if err := c.lite.Exec("COMMIT"); err != nil {
		b.Fatal(err)
	}
	return keys
}

// sql asks the store.
func (c *clusterObjects) sql(b *testing.B, text string, params map[string]any) [][]any {
	rows, err := c.store.Query(context.Background(), text, params, virtual.Limits{Rows: podCount})
	if err != nil {
		b.Fatal(err)
	}
	return rows.Values
}

// plain asks SQLite's own tables, and takes as much from the rows.
func (c *clusterObjects) plain(b *testing.B, text string, params map[string]any) [][]any {
	stmt := c.statements[text]
	if stmt == nil {
		var err error
		if stmt, _, err = c.lite.PrepareFlags(text, sqlite3.PREPARE_PERSISTENT); err != nil {
			b.Fatal(err)
		}
		c.statements[text] = stmt
	}
	for i := range stmt.BindCount() {
		if err := stmt.BindText(i+1, params[stmt.BindName(i + 1)[1:]].(string)); err != nil {
			b.Fatal(err)
		}
	}
	var out [][]any
	for stmt.Step() {
		row := make([]any, stmt.ColumnCount())
		if err := stmt.Columns(row...); err != nil {
			b.Fatal(err)
		}
		out = append(out, row)
	}
	if err := stmt.Reset(); err != nil {
		b.Fatal(err)
	}
	return out
}

// BenchmarkSQL compares queries with what a programmer writes by hand for the same question, and with SQLite over its
// own tables.
func BenchmarkSQL(b *testing.B) {
	c := newClusterObjects(b)
	first := make([]virtual.Key, 0, 1000)
	for key := range c.byKey {
		if key.Kind == pods && len(first) < cap(first) {
			first = append(first, key)
		}
	}
	var uids, apps []string
	for _, key := range first {
		uids = append(uids, gjson.Get(c.byKey[key], "metadata.uid").Str)
		apps = append(apps, gjson.Get(c.byKey[key], "metadata.labels.app").Str)
	}
	var one []virtual.Key
	var instances []string
	for key, text := range c.byKey {
		if key.Kind == services && len(one) < 1000 {
			one = append(one, key)
			instances = append(instances, gjson.Get(text, `metadata.labels.app\.kubernetes\.io/instance`).Str)
		}
	}
	field := func(text string) []any { return []any{gjson.Get(text, "status.podIP").Str} }
	for _, q := range []struct {
		name, text string
		params     func(i int) map[string]any
		byHand     func(i int) [][]any
		most       float64
	}{
		{
			"key", "SELECT status->>'podIP' FROM pods WHERE namespace = :namespace AND name = :name",
			func(i int) map[string]any {
				return map[string]any{"namespace": first[i].Namespace, "name": first[i].Name}
			},
			func(i int) [][]any { return [][]any{field(c.byKey[first[i]])} }, 5,
		},
		{
			"label-of-fifty", "SELECT status->>'podIP' FROM pods WHERE namespace = :namespace AND labels->>'app' = :app",
			func(i int) map[string]any { return map[string]any{"namespace": first[i].Namespace, "app": apps[i]} },
			func(i int) [][]any {
				var out [][]any
				for _, key := range c.byLabel[[2]string{first[i].Namespace, apps[i]}] {
					out = append(out, field(c.byKey[key]))
				}
				return out
			}, 4,
		},
		{
			"label-of-one", "SELECT spec->>'clusterIP' FROM services WHERE namespace = :namespace AND labels->>'app.kubernetes.io/instance' = :instance",
			func(i int) map[string]any {
				return map[string]any{"namespace": one[i].Namespace, "instance": instances[i]}
			},
			func(i int) [][]any {
				var out [][]any
				for _, key := range c.byLabel[[2]string{one[i].Namespace, instances[i]}] {
					if key.Kind == services {
						out = append(out, []any{gjson.Get(c.byKey[key], "spec.clusterIP").Str})
					}
				}
				return out
			}, 4,
		},
		{
			"uid", "SELECT status->>'podIP' FROM pods WHERE uid = :uid",
			func(i int) map[string]any { return map[string]any{"uid": uids[i]} },
			func(i int) [][]any { return [][]any{field(c.byKey[c.byUID[uids[i]]])} }, 2,
		},
		{
			"scan", "SELECT name FROM pods WHERE spec->>'nodeName' = :node",
			func(i int) map[string]any {
				return map[string]any{"node": fmt.Sprintf("node-%d.example.internal", i%300)}
			},
			func(i int) [][]any {
				node := fmt.Sprintf("node-%d.example.internal", i%300)
				var out [][]any
				for _, text := range c.pods {
					if gjson.Get(text, "spec.nodeName").Str == node {
						out = append(out, []any{gjson.Get(text, "metadata.name").Str})
					}
				}
				return out
			}, 1.2,
		},
		{
			"join", "SELECT count(*), max(s.spec->>'clusterIP') FROM configmaps c JOIN services s ON s.namespace = c.namespace AND s.name = c.name",
			func(int) map[string]any { return nil },
			func(int) [][]any {
				n, most := 0, ""
				for _, key := range c.maps {
					key.Kind = services
					if text, ok := c.byKey[key]; ok {
						n++
						most = max(most, gjson.Get(text, "spec.clusterIP").Str)
					}
				}
				return [][]any{{int64(n), most}}
			}, 3.5,
		},
		{
			"group", "SELECT labels->>'team' team, count(*) FROM pods GROUP BY team ORDER BY team",
			func(int) map[string]any { return nil },
			func(int) [][]any {
				counts := map[string]int64{}
				for _, text := range c.pods {
					counts[gjson.Get(text, "metadata.labels.team").Str]++
				}
				var out [][]any
				for team, n := range counts {
					out = append(out, []any{team, n})
				}
				slices.SortFunc(out, func(a, b []any) int { return strings.Compare(a[0].(string), b[0].(string)) })
				return out
			}, 2,
		},
	} {
		b.Run(q.name, func(b *testing.B) {
			variants := []func(i int) [][]any{
				q.byHand,
				func(i int) [][]any { return c.plain(b, q.text, q.params(i)) },
				func(i int) [][]any { return c.sql(b, q.text, q.params(i)) },
			}
			want := sorted(q.byHand(3))
			for i, variant := range variants {
				if got := sorted(variant(3)); got != want {
					b.Fatalf("variant %d: %.300s, want %.300s", i, got, want)
				}
			}
			for b.Loop() {
				var hand, plain, own []float64
				for range 15 {
					var took [3]float64
					for i, variant := range variants {
						took[i] = duration(variant)
					}
					hand, plain, own = append(hand, took[2]/took[0]), append(plain, took[2]/took[1]), append(own, took[2])
				}
				b.ReportMetric(median(hand), "/by-hand")
				b.ReportMetric(median(plain), "/own-tables")
				b.ReportMetric(median(own)*1e6, "µs")
				b.ReportMetric(0, "ns/op")
				b.Logf("%s: by hand %s of at most %.1f, own tables %s of at most 2.5", q.name, short(hand), q.most, short(plain))
			}
		})
	}
}

func sorted(rows [][]any) string {
	var lines []string
	for _, row := range rows {
		lines = append(lines, fmt.Sprint(row...))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// duration is the time of one call, of as many as fill some milliseconds.
func duration(fn func(i int) [][]any) float64 {
	began := time.Now()
	n := 0
	for ; n < 1000 && (n == 0 || time.Since(began) < 20*time.Millisecond); n++ {
		fn(n)
	}
	return time.Since(began).Seconds() / float64(n)
}
