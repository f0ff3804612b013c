package watcher

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

func contextFor(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

// rows counts the rows of a table.
func (p *process) rows(table string) (int, error) {
	r, err := p.store.Query(p.Context(), `SELECT name FROM "`+table+`"`, nil, virtual.Limits{})
	if err != nil {
		return 0, err
	}
	return len(r.Values), nil
}

// hasRows waits until a table has so many rows.
func (p *process) hasRows(table string, want int) {
	p.Helper()
	p.until(table+" has its rows", func() bool {
		n, err := p.rows(table)
		return err == nil && n == want
	})
}

func TestTablesOfStatementsAreWatched(t *testing.T) {
	ingresses := virtual.Kind{Group: "networking.k8s.io", Version: "v1", Kind: "Ingress"}
	secrets := virtual.Kind{Version: "v1", Kind: "Secret"}
	api := newAPIServer(t, demos, services, configMaps, ingresses, secrets)
	api.with(func() { api.kinds[ingresses].plural = "ingresses" })
	api.put(demos, "default", "a", "uid-a")
	api.put(services, "far", "s", "s")
	api.put(configMaps, "far", "c", "c")
	api.put(ingresses, "far", "i", "i")
	r := narrowRule("one", configMaps, span{namespace: "default"})
	r.Decide = &plan.Decide{SQL: &plan.Query{Text: "…", Reads: []string{"configmaps", "resources", "events"}}}
	r.Action = []plan.Command{{Kind: plan.KindSQL, SQL: &plan.SQL{Statements: []plan.Query{{
		Reads: []string{"ingresses.networking.k8s.io"}, Writes: []string{"ingresses.networking.k8s.io"},
	}}}}}
	op := rulesOnly(r)
	op.Plan.Profiles[plan.DefaultProfile].Undeploy = []plan.Command{{Kind: plan.KindSQL, SQL: &plan.SQL{Statements: []plan.Query{{Reads: []string{"services"}}}}}}
	p := runOn(t, api, op)
	p.until("synced", p.watcher.Synced)
	for table, want := range map[string]int{
		"services": 1, "configmaps": 1, "ingresses.networking.k8s.io": 1, "demos.example.com": 1, "resources": 4,
	} {
		if n, err := p.rows(table); n != want || err != nil {
			t.Errorf("%s: %d rows, %v", table, n, err)
		}
	}
	if n, err := p.rows("secrets"); err == nil {
		t.Errorf("a table that nobody names has %d rows", n)
	}
}

func TestATableOfACustomKind(t *testing.T) {
	const table = "widgets.later.example.com"
	api := newAPIServer(t, demos, services, configMaps)
	api.put(demos, "default", "a", "uid-a")
	op := querying("live", `SELECT name FROM "`+table+`" ORDER BY name`)
	op.Plan.Profiles[plan.DefaultProfile].Rules[0].Watch.SQL.Reads = []string{table}
	p := runOn(t, api, op)
	// It doesn't exist, and is empty.
	p.until("synced", p.watcher.Synced)
	p.believes("a", "uid-a", "live /")
	p.hasRows(table, 0)
	if n := p.log.count("doesn't exist"); n != 1 {
		t.Errorf("%d lines about one missing kind", n)
	}
	hash := func() (h string) {
		p.temporal.of(p.id("a", "uid-a"), func(w *workflowState) { h = w.believes["live /"] })
		return h
	}
	empty := hash()
	api.create(widgets)
	api.put(widgets, "default", "w", "w")
	p.hasRows(table, 1)
	p.until("the query's rows are told", func() bool { return hash() != empty })
	// And again it doesn't.
	api.with(func() { delete(api.kinds, widgets) })
	api.hangUp()
	p.hasRows(table, 0)
	p.until("that it is empty is told", func() bool { return hash() == empty })
}

func TestATableThatCannotBeSeenIsNotEmpty(t *testing.T) {
	api := newAPIServer(t, demos, services, configMaps)
	api.put(demos, "default", "a", "uid-a")
	api.forbidden[services] = true
	p := runOn(t, api, querying("live", `SELECT name FROM services`))
	p.until("it is forbidden", func() bool { return p.log.count("forbidden") > 0 })
	var notSynced *virtual.NotSyncedError
	if _, err := p.rows("services"); !errors.As(err, &notSynced) {
		t.Errorf("the query says %v", err)
	}
	if p.watcher.Synced() {
		t.Error("it passes for synced")
	}
	api.put(services, "default", "s", "s")
	api.with(func() { clear(api.forbidden) })
	p.hasRows("services", 1)
	p.believes("a", "uid-a", "live /")
}

func TestSecretsAreDigests(t *testing.T) {
	secrets := virtual.Kind{Version: "v1", Kind: "Secret"}
	for _, plain := range []bool{false, true} {
		api := newAPIServer(t, demos, secrets)
		api.plain = plain
		put := func(value string) {
			api.putObject(secrets, "default", "s", "s", map[string]any{
				"data": map[string]any{"password": value, "user": "cm9vdA=="}, "stringData": map[string]any{"password": "plain"}, "type": "Opaque",
				"metadata": map[string]any{"annotations": map[string]any{
					"kubectl.kubernetes.io/last-applied-configuration": `{"data":{"password":"` + value + `"}}`, "kept": "yes",
				}},
			})
		}
		api.put(demos, "default", "a", "uid-a")
		put("c2VjcmV0")
		api.putObject(secrets, "default", "release", "r", map[string]any{"type": "helm.sh/release.v1", "data": map[string]any{"release": "x"}})
		p := runOn(t, api, rulesOnly(narrowRule("s", secrets, span{})))
		p.believes("a", "uid-a", "s default/s")
		hash := func() (h string) {
			p.temporal.of(p.id("a", "uid-a"), func(w *workflowState) { h = w.believes["s default/s"] })
			return h
		}
		before := hash()
		object, _ := p.store.Get(virtual.Key{Kind: secrets, Namespace: "default", Name: "s"})
		document := string(object.JSON())
		if strings.Contains(document, "c2VjcmV0") || strings.Contains(document, "cm9vdA") || strings.Contains(document, "plain") ||
			!strings.Contains(document, `"password":"sha256:`) || !strings.Contains(document, `"kept"`) {
			t.Errorf("stored: %s", document)
		}
		put("b3RoZXI=")
		p.until("another value is a change", func() bool { return hash() != before })
		put("c2VjcmV0")
		p.until("and the old one the old state", func() bool { return hash() == before })
		if p.has(secrets, "default", "release") {
			t.Error("a release is stored")
		}
	}
}
