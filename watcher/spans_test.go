package watcher

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mainstay-dev/mainstay/specs"
	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

func TestNarrow(t *testing.T) {
	for name, test := range map[string]struct{ needs, want []span }{
		"all":                     {[]span{{}}, []span{{}}},
		"a namespace":             {[]span{{namespace: "a"}}, []span{{namespace: "a"}}},
		"two namespaces":          {[]span{{namespace: "b"}, {namespace: "a"}, {namespace: "b"}}, []span{{namespace: "a"}, {namespace: "b"}}},
		"one wants all":           {[]span{{namespace: "b"}, {}}, []span{{}}},
		"a selector":              {[]span{{selector: "x=y"}, {selector: "x=y"}}, []span{{selector: "x=y"}}},
		"two selectors":           {[]span{{selector: "x=y"}, {selector: "x=z"}}, []span{{}}},
		"a name and a selector":   {[]span{{name: "n", selector: "x=y"}, {name: "n"}}, []span{{name: "n"}}},
		"a selector in namespace": {[]span{{namespace: "a", selector: "x=y"}, {namespace: "b"}}, []span{{namespace: "a", selector: "x=y"}, {namespace: "b"}}},
		"a namespace and all":     {[]span{{namespace: "a", selector: "x=y"}, {selector: "x=y"}}, []span{{selector: "x=y"}}},
	} {
		if got := narrow(test.needs); !slices.Equal(got, test.want) {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

// narrowRule is a rule of cluster scope that sees a part of a kind.
func narrowRule(name string, kind virtual.Kind, s span) plan.Rule {
	r := rule(name, kind, plan.ScopeCluster)
	r.Watch.Namespace, r.Watch.Name, r.Watch.Selector = s.namespace, s.name, s.selector
	return r
}

// rulesOnly is an operator with these rules and no others.
func rulesOnly(rules ...plan.Rule) *specs.Operator {
	op := demoOperator()
	op.Plan.Profiles = map[string]*plan.Profile{plan.DefaultProfile: {Name: plan.DefaultProfile, Rules: rules}}
	return op
}

// lists are the lists and watches that were asked for: paths with what narrows them.
func (s *apiServer) lists() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, asked := range s.asked {
		u, err := url.Parse(asked)
		if err != nil {
			panic(err)
		}
		if q := u.Query(); q.Has("watch") || q.Has("limit") {
			out = append(out, strings.TrimSpace(fmt.Sprint(u.Path, " ", q.Get("labelSelector"), q.Get("fieldSelector"))))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestOnlyWhatRulesNeedIsWatched(t *testing.T) {
	secrets := virtual.Kind{Version: "v1", Kind: "Secret"}
	api := newAPIServer(t, demos, services, configMaps, secrets)
	api.put(demos, "default", "a", "uid-a")
	for _, ns := range []string{"default", "far", "farther"} {
		for _, name := range []string{"x", "y"} {
			api.put(configMaps, ns, name, ns+name)
			api.put(services, ns, name, ns+name, "labels", map[string]any{"app": name})
			api.put(secrets, ns, name, ns+name)
		}
	}
	p := runOn(t, api, rulesOnly(
		narrowRule("far", configMaps, span{namespace: "far"}),
		narrowRule("farther", configMaps, span{namespace: "farther", name: "x"}),
		narrowRule("x", services, span{selector: "app=x"}),
		narrowRule("secret", secrets, span{namespace: "far", name: "y"})))
	p.believes("a", "uid-a", "far far/x", "far far/y", "farther farther/x", "x default/x", "x far/x", "x farther/x", "secret far/y")
	want := []string{
		"/api/v1/namespaces/far/configmaps",
		"/api/v1/namespaces/far/secrets type!=helm.sh/release.v1,metadata.name=y",
		"/api/v1/namespaces/farther/configmaps metadata.name=x",
		"/api/v1/services app=x",
		"/apis/example.com/v1/demos",
	}
	if diff := cmp.Diff(want, api.lists()); diff != "" {
		t.Errorf("asked for:\n%s", diff)
	}
	if p.has(configMaps, "default", "x") || p.has(configMaps, "farther", "y") || p.has(services, "far", "y") {
		t.Error("the store has what nobody needs")
	}
	if p.store.Watches(configMaps) || p.store.Watches(services) || !p.store.Watches(demos) {
		t.Error("a part passes for the whole, or the whole for a part")
	}

	// A new label, and an outage: each part knows its own objects only.
	api.put(services, "far", "x", "farx", "labels", map[string]any{"app": "z"})
	p.believes("a", "uid-a", "far far/x", "far far/y", "farther farther/x", "x default/x", "x farther/x", "secret far/y")
	api.leave()
	api.remove(configMaps, "far", "x")
	api.put(configMaps, "farther", "x", "fartherx", "annotations", map[string]any{"a": "b"})
	api.with(func() { api.away = false })
	p.believes("a", "uid-a", "far far/y", "farther farther/x", "x default/x", "x farther/x", "secret far/y")
	p.until("the change is seen", func() bool {
		o, ok := p.store.Get(virtual.Key{Kind: configMaps, Namespace: "farther", Name: "x"})
		return ok && o.ResourceVersion == fmt.Sprint(api.version)
	})

	// A version that one part has reached says nothing of the other.
	api.put(configMaps, "far", "z", "farz")
	p.until("it is seen", func() bool { return p.has(configMaps, "far", "z") })
	ctx, cancel := contextFor(t, 100*time.Millisecond)
	defer cancel()
	if _, _, err := p.store.WaitFor(ctx, virtual.Key{Kind: configMaps, Namespace: "farther", Name: "none"}, fmt.Sprint(api.version)); err == nil {
		t.Error("a version passes for seen that one of two parts has not reached")
	}
}

func TestAnOwnersKindIsWidened(t *testing.T) {
	pods := virtual.Kind{Version: "v1", Kind: "Pod"}
	deployments := virtual.Kind{Group: "apps", Version: "v1", Kind: "Deployment"}
	api := newAPIServer(t, demos, pods, deployments)
	api.put(demos, "default", "a", "uid-a")
	api.put(deployments, "default", "d", "d", "labels", belongsTo("a"))
	api.put(pods, "default", "p", "p", "ownerReferences", []any{map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "d"}})
	p := runOn(t, api, rulesOnly(
		rule("pods", pods, plan.ScopeInstance),
		narrowRule("web", deployments, span{selector: "tier=web"})))
	p.believes("a", "uid-a", "pods default/p")
	if !p.store.Watches(deployments) {
		t.Error("all Deployments are needed, since they own Pods")
	}
	p.temporal.of(p.id("a", "uid-a"), func(w *workflowState) {
		if len(w.resyncs) != 1 || len(w.dirties) > 0 {
			t.Errorf("%d resyncs and %d more signals: a resync didn't wait for the owners", len(w.resyncs), len(w.dirties))
		}
	})
	api.put(deployments, "default", "web", "web", "labels", map[string]any{"tier": "web"})
	p.believes("a", "uid-a", "pods default/p", "web default/web")
}
