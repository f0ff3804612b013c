package watcher

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-dev/mainstay/specs"
	"github.com/mainstay-dev/mainstay/specs/plan"
)

// querying is an operator with live queries, by the names of their rules.
func querying(statements ...string) *specs.Operator {
	op := demoOperator()
	var rules []plan.Rule
	for i := 0; i < len(statements); i += 2 {
		q := &plan.Query{Text: statements[i+1], At: "operator.yaml:7:3"}
		for _, table := range []string{"services", "configmaps", "demos.example.com"} {
			if strings.Contains(q.Text, table) {
				q.Reads = append(q.Reads, table)
			}
		}
		rules = append(rules, plan.Rule{
			Name: statements[i], Watch: plan.Watch{Categories: []plan.Category{plan.QueryDidChange}, SQL: q},
		})
	}
	op.Plan.Profiles[plan.DefaultProfile].Rules = rules
	return op
}

func TestALiveQuery(t *testing.T) {
	const statement = `SELECT name, spec->>'x' AS x FROM services WHERE namespace = :namespace AND name LIKE :name || '%' ORDER BY name`
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "uid-a")
		b.put(demos, "default", "b", "uid-b")
		hash := func(name string) (h string) {
			b.Helper()
			time.Sleep(2 * queryInterval)
			b.workflow(name, "uid-"+name, func(w *workflowState) {
				c := w.last["live /"]
				if c != (plan.Change{Rule: "live", Hash: c.Hash}) || c.Hash == "" {
					t.Errorf("told %+v", c)
				}
				h = c.Hash
			})
			return h
		}
		empty := hash("a")
		b.workflow("a", "uid-a", func(w *workflowState) {
			if len(w.resyncs) != 1 || len(w.resyncs[0].Changes) != 1 || w.resyncs[0].Changes[0].Hash != empty {
				t.Errorf("the resync says %+v", w.resyncs)
			}
		})
		other := hash("b")
		b.putJSON(services, "default", "a1", "s1", "", `,"spec":{"x":1}`)
		one := hash("a")
		if one == empty || hash("b") != other {
			t.Errorf("hashes %s, %s and of the other %s, %s", empty, one, other, hash("b"))
		}
		told := len(b.temporal.made())
		b.putJSON(services, "default", "a1", "s1", "", `,"spec":{"x":1,"y":2}`)
		b.put(services, "far", "a1", "s2")
		b.put(configMaps, "default", "a1", "c1")
		hash("a")
		if n := len(b.temporal.made()); n != told {
			t.Errorf("%d signals although no row differs", n-told)
		}
		b.remove(services, "default", "a1")
		if hash("a") != empty {
			t.Error("no rows again, but another hash")
		}
	}, querying("live", statement))
}

func TestALiveQueryOfTheResourceItself(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.putJSON(demos, "default", "a", "uid-a", "", `,"spec":{"x":1}`)
		time.Sleep(time.Second)
		before := ""
		b.workflow("a", "uid-a", func(w *workflowState) { before = w.believes["live /"] })
		b.putJSON(demos, "default", "a", "uid-a", "", `,"spec":{"x":2}`)
		time.Sleep(time.Second)
		b.workflow("a", "uid-a", func(w *workflowState) {
			if before == "" || w.believes["live /"] == before {
				t.Errorf("it was %q and is %q", before, w.believes["live /"])
			}
		})
	}, querying("live", `SELECT json_extract(:cr, '$.spec.x')`))
}

func TestALiveQueryIsEvaluatedSeldom(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle()
		b.put(demos, "default", "a", "uid-a")
		time.Sleep(time.Second)
		told := len(b.temporal.made())
		for i := range 1000 {
			b.putJSON(services, "default", "s", "s1", "", fmt.Sprintf(`,"spec":{"n":%d}`, i))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		if n := len(b.temporal.made()) - told; n < 9 || n > 12 {
			t.Errorf("%d signals in a second of changes", n)
		}
		b.workflow("a", "uid-a", func(w *workflowState) {
			last := w.believes["live /"]
			b.putJSON(services, "default", "s", "s1", "", `,"spec":{"n":999}`)
			if last == "" {
				t.Error("nothing was told")
			}
		})
	}, querying("live", `SELECT spec->>'n' FROM services`))
}

func TestALiveQueryThatFailsIsToldOnce(t *testing.T) {
	var log bytes.Buffer
	op := querying(
		"wrong", `SELECT nonsense FROM services`,
		"huge", `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT i FROM n, (SELECT count(*) FROM services) LIMIT 20000`,
		"right", `SELECT count(*) FROM services`)
	onBench(t, func(b *bench) {
		b.stop()
		b.startWith(func(w *Watcher) { w.log = nil; w.sender.log = slog.New(slog.NewTextHandler(&log, nil)) }, op)
		b.settle()
		for _, name := range []string{"a", "b", "c"} {
			b.put(demos, "default", name, "uid-"+name)
		}
		for i := range 3 {
			b.put(services, "default", fmt.Sprint("s", i), fmt.Sprint("s", i))
			time.Sleep(time.Minute)
		}
		for _, name := range []string{"a", "b", "c"} {
			b.believes(name, "uid-"+name, "right /")
		}
	}, op)
	for _, want := range []string{`rule=wrong at=operator.yaml:7:3`, `rule=huge at=operator.yaml:7:3`} {
		if n := strings.Count(log.String(), want); n != 1 {
			t.Errorf("%d lines with %q in\n%s", n, want, log.String())
		}
	}
}

func TestALiveQueryWaitsForItsTables(t *testing.T) {
	onBench(t, func(b *bench) {
		b.settle(demos)
		b.put(demos, "default", "a", "uid-a")
		time.Sleep(2 * resyncPatience)
		b.workflow("a", "uid-a", func(w *workflowState) {
			if len(w.resyncs)+len(w.dirties) > 0 {
				t.Error("something was told of a table that isn't seen yet")
			}
		})
		b.settle()
		time.Sleep(2 * time.Second)
		b.believes("a", "uid-a", "live /")
	}, querying("live", `SELECT name FROM services`))
}

// TestManyLiveQueriesHoldUpNobody has a table change on which 2000 instances have a query, and asks how long another
// instance waits meanwhile. Only the order counts: nothing here depends on how fast the machine is.
func TestManyLiveQueriesHoldUpNobody(t *testing.T) {
	op := querying("live", `SELECT count(*) FROM services`)
	rules := &op.Plan.Profiles[plan.DefaultProfile].Rules
	*rules = append(*rules, rule("config", configMaps, plan.ScopeInstance))
	onBench(t, func(b *bench) {
		b.settle()
		const many = 2000
		for i := range many {
			b.put(demos, "default", fmt.Sprint("d", i), fmt.Sprintf("%08d", i))
		}
		time.Sleep(time.Minute)
		before := len(b.temporal.made())
		b.put(services, "default", "s", "s1")
		b.put(configMaps, "default", "c", "c1", b.belongs("d1999"))
		time.Sleep(time.Minute)
		calls := b.temporal.made()[before:]
		if len(calls) != many && len(calls) != many+1 {
			t.Errorf("%d signals", len(calls))
		}
		mine := b.instance("d1999", "00001999").WorkflowID()
		for i, call := range calls {
			if strings.HasSuffix(call, mine) {
				if i > many/4 {
					t.Errorf("the other change came after %d queries", i)
				}
				break
			}
		}
		b.workflow("d1999", "00001999", func(w *workflowState) {
			if w.believes["config default/c"] == "" {
				t.Error("the other change was lost")
			}
		})
		synctest.Wait()
	}, op)
}
