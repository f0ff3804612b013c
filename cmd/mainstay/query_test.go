package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

const shop = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, uid: s1, labels: {app: web}, managedFields: [{manager: kubectl}]}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: data, uid: s2}
---
apiVersion: v1
kind: Secret
metadata: {name: key, namespace: shop, uid: k1}
data: {password: aHVudGVyMg==}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, uid: d1, labels: {mainstay.dev/instance: demo.1}}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web-1, namespace: shop, uid: r1, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: d1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1-a, namespace: shop, uid: p1, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: r1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: static, namespace: data, uid: p2, ownerReferences: [{apiVersion: v1, kind: Node, name: n1, uid: n1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: broker, namespace: data, uid: p3, ownerReferences: [{apiVersion: a.example.com/v1, kind: Vvp, name: demo, uid: v1}]}
---
apiVersion: v1
kind: Node
metadata: {name: n1, uid: n1}
---
apiVersion: a.example.com/v1
kind: Vvp
metadata: {name: demo, namespace: data, uid: v1, finalizers: [mainstay.dev/undeploy]}
`

func TestQuery(t *testing.T) {
	vvp := plan.Instance{Resource: plan.Resource{Group: "a.example.com", Plural: "vvps"}, Namespace: "data", Name: "demo"}.Label()
	cases := []struct {
		args         []string
		want, listed string
	}{
		{[]string{"SELECT namespace, name FROM services ORDER BY 1"}, "NAMESPACE   NAME\ndata        db\nshop        web\n", "list services"},
		{[]string{"-n", "shop", "SELECT namespace, name, object->'metadata'->'managedFields' m FROM services WHERE namespace = :namespace"},
			"NAMESPACE   NAME   M\nshop        web    <none>\n", "list services"},
		{[]string{"-n", "data", "SELECT s.name, n.name FROM services s, nodes n"}, "NAME   NAME\ndb     n1\n", "list nodes, list services"},
		{[]string{"--param", "p=80", "SELECT name FROM services WHERE spec->'ports'->0->>'port' = :p"}, "NAME\nweb\n", "list services"},
		{[]string{"-"}, "X\nfrom stdin\n", ""},
		{[]string{"-o", "jsonl", "SELECT name, data->>'password' = 'aHVudGVyMg==' AS plain FROM secrets"}, `{"name":"key","plain":0}` + "\n", "list secrets"},
		{[]string{"-o", "jsonl", "--show-secrets", "SELECT name, data->>'password' AS p FROM secrets"}, `{"name":"key","p":"aHVudGVyMg=="}` + "\n", "list secrets"},
		{[]string{"-o", "csv", "SELECT name, instance FROM pods ORDER BY 1"},
			"name,instance\nbroker," + vvp + "\nstatic,\nweb-1-a,demo.1\n", "list deployments*, list pods, list replicasets*, list vvps*"},
		{[]string{"-o", "csv", "-n", "shop", "SELECT p.name, d.instance FROM pods p JOIN deployments d USING (instance)"},
			"name,instance\nweb-1-a,demo.1\n", "list deployments, list pods, list replicasets*"},
		{[]string{"-o", "csv", "SELECT kind, count(*) n FROM resources GROUP BY kind ORDER BY kind"},
			"kind,n\nDeployment,1\nNode,1\nPod,3\nReplicaSet,1\nSecret,1\nService,2\nVvp,1\n",
			"list deployments, list events, list nodes, list pods, list pods, list replicasets, list secrets, list services, list vvps, list widgets, list widgets"},
		{[]string{"-o", "csv", "--tables"}, `name,short,api_version,kind,namespaced
deployments.apps,deployments,apps/v1,Deployment,true
events.core,,v1,Event,true
events.events.k8s.io,,events.k8s.io/v1,Event,true
nodes,nodes,v1,Node,false
pods,pods,v1,Pod,true
pods.metrics.k8s.io,,metrics.k8s.io/v1beta1,PodMetrics,true
replicasets.apps,replicasets,apps/v1,ReplicaSet,true
secrets,secrets,v1,Secret,true
services,services,v1,Service,true
vvps.a.example.com,vvps,a.example.com/v1,Vvp,true
widgets.a.example.com,,a.example.com/v1,Widget,true
widgets.b.example.com,,b.example.com/v1,Widget,true
`, ""},
	}
	for _, c := range cases {
		cluster := newFakeCluster(t, shop)
		out, _, err := cluster.query(c.args...)
		if err != nil {
			t.Errorf("%v: %v", c.args, err)
			continue
		}
		if d := cmp.Diff(c.want, out); d != "" {
			t.Errorf("%v: %s", c.args, d)
		}
		if d := cmp.Diff(c.listed, cluster.listed()); d != "" {
			t.Errorf("%v: %s", c.args, d)
		}
	}
}

func TestQueryRefuses(t *testing.T) {
	cases := []struct {
		args []string
		want string
	}{
		{nil, "one statement is expected"},
		{[]string{"SELECT", "1"}, "there are 2 arguments"},
		{[]string{"--tables", "SELECT 1"}, "--tables takes no statement"},
		{[]string{"-A", "-n", "x", "SELECT 1"}, "none of the others can be"},
		{[]string{"-o", "xml", "SELECT 1"}, `"xml" is not one of`},
		{[]string{"--limit", "0", "SELECT 1"}, "more than nothing"},
		{[]string{"--param", "x", "SELECT 1"}, "is no name=value"},
		{[]string{""}, "there is no statement"},
		{[]string{"SELECT name FROM servces"}, "\n  1 | SELECT name FROM servces\n    |                  ^\ndid you mean services?"},
		{[]string{"SELECT name FROM widgets"}, `"widgets.a.example.com" or "widgets.b.example.com"`},
		{[]string{"SELECT nam FROM services"}, "did you mean name?"},
		{[]string{"DELETE FROM services"}, "read-only"},
		{[]string{"SELECT * FROM events"}, "[events.core]"},
		{[]string{"SELECT name FROM services WHERE name = :n"}, "parameter :n has no value; give it one by --param n=…"},
		{[]string{"SELECT name FROM services WHERE namespace = :namespace"}, "or -n"},
		{[]string{"--limit", "1", "SELECT name FROM services"}, "raise --limit"},
		{[]string{"--watch", "-o", "csv", "SELECT 1"}, "csv can't say"},
		{[]string{"--watch", `SELECT name FROM "pods.metrics.k8s.io"`}, "can't be watched"},
	}
	for _, c := range cases {
		cluster := newFakeCluster(t, shop)
		if _, _, err := cluster.query(c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.args, err, c.want)
		}
		if cluster.listed() != "" && c.args[0] != "--limit" {
			t.Errorf("%v: listed %s for nothing", c.args, cluster.listed())
		}
	}
}

func TestSilentGroupBreaksNothing(t *testing.T) {
	c := newFakeCluster(t, shop)
	c.silent = "gone.example.com"
	if out, _, err := c.query("SELECT name FROM services WHERE namespace = 'data'"); err != nil || out != "NAME\ndb\n" {
		t.Errorf("%q, %v", out, err)
	}
	if _, _, err := c.query(`SELECT * FROM "things.gone.example.com"`); err == nil || !strings.Contains(err.Error(), "what these groups have: gone.example.com") {
		t.Errorf("%v", err)
	}
}

func forbidden(resource string) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", errors.New("no"))
}

func TestForbidden(t *testing.T) {
	c := newFakeCluster(t, shop)
	c.fails("list", "secrets", forbidden("secrets"))
	c.fails("list", "replicasets", forbidden("replicasets"))
	_, _, err := c.query("SELECT name FROM secrets")
	if err == nil || !strings.HasPrefix(err.Error(), "you lack the verb list on secrets in all namespaces: grant it; -n asks for one namespace only") {
		t.Errorf("%v", err)
	}
	if _, _, err = c.query("-n", "shop", "SELECT name FROM secrets"); err == nil || !strings.HasPrefix(err.Error(), "you lack the verb list on secrets in namespace shop: grant it (") {
		t.Errorf("%v", err)
	}
	out, notes, err := c.query("-o", "csv", "SELECT count(*) FROM resources")
	if err != nil || out != "count(*)\n8\n" || !strings.Contains(notes, "left out: replicasets.apps (Forbidden), secrets (Forbidden)\n") {
		t.Errorf("%q, %q, %v", out, notes, err)
	}
	out, notes, err = c.query("-o", "csv", "SELECT name, instance FROM pods WHERE name = 'web-1-a'")
	if err != nil || out != "name,instance\nweb-1-a,\n" || !strings.Contains(notes, "instance may be empty") || !strings.Contains(notes, "replicasets.apps (Forbidden)") {
		t.Errorf("%q, %q, %v", out, notes, err)
	}
	c.fails("list", "pods", errors.New("connection refused"))
	if _, _, err := c.query("SELECT count(*) FROM resources"); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("what is no answer of the API server leaves nothing out: %v", err)
	}
}

// TestPages: a list comes in pages, and begins anew, all at once, when the API server has forgotten it on the way.
func TestPages(t *testing.T) {
	for _, expire := range []bool{false, true} {
		var asked []string
		answer := func(w http.ResponseWriter, body string) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, body)
		}
		service := func(name string) string {
			return `{"metadata":{"namespace":"x","uid":"u` + name + `","name":"s` + name + `"}}`
		}
		mux := http.NewServeMux()
		mux.HandleFunc("/api", func(w http.ResponseWriter, _ *http.Request) {
			answer(w, `{"kind":"APIVersions","versions":["v1"]}`)
		})
		mux.HandleFunc("/apis", func(w http.ResponseWriter, _ *http.Request) {
			answer(w, `{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`)
		})
		mux.HandleFunc("/api/v1", func(w http.ResponseWriter, _ *http.Request) {
			answer(w, `{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"services","kind":"Service","namespaced":true,"verbs":["list"]}]}`)
		})
		mux.HandleFunc("/api/v1/services", func(w http.ResponseWriter, r *http.Request) {
			limit, from := r.URL.Query().Get("limit"), r.URL.Query().Get("continue")
			asked = append(asked, limit+from)
			items, next := service("1")+","+service("2")+","+service("3"), ""
			switch {
			case limit == "":
			case from == "":
				items, next = service("1"), "a"
			case from == "a":
				items, next = service("2"), "b"
			case expire:
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusGone)
				fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}`)
				return
			default:
				items = service("3")
			}
			answer(w, `{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"`+next+`"},"items":[`+items+`]}`)
		})
		server := httptest.NewServer(mux)
		c := &fakeCluster{T: t, real: func() (*cluster, error) { return clusterOf(&rest.Config{Host: server.URL}) }}
		out, _, err := c.query("-o", "csv", "SELECT name FROM services")
		server.Close()
		if err != nil || out != "name\ns1\ns2\ns3\n" {
			t.Errorf("%q, %v", out, err)
		}
		want := []string{"500", "500a", "500b"}
		if expire {
			want = append(want, "")
		}
		if d := cmp.Diff(want, asked); d != "" {
			t.Error(d)
		}
	}
}

func TestNoReleaseSecrets(t *testing.T) {
	c := newFakeCluster(t, shop)
	if _, _, err := c.query("SELECT name FROM secrets, services"); err == nil {
		t.Fatal("name is ambiguous")
	}
	if _, _, err := c.query("SELECT 1 FROM secrets, services"); err != nil {
		t.Fatal(err)
	}
	for _, a := range c.objects.Actions() {
		got := a.(clienttesting.ListActionImpl).ListOptions.FieldSelector
		if want := map[string]string{"secrets": notHelm}[a.GetResource().Resource]; got != want {
			t.Errorf("%s: field selector %q", a.GetResource().Resource, got)
		}
	}
}

// liveQuery runs a live query on a cluster of which the test sends the events. Its time is that of a synctest bubble.
type liveQuery struct {
	*testing.T
	cluster *fakeCluster
	watches chan *watch.FakeWatcher
	out     *results
	ended   chan error
	stop    context.CancelFunc
}

func startLive(t *testing.T, c *fakeCluster, resource string, args ...string) *liveQuery {
	ctx, cancel := context.WithCancel(t.Context())
	l := &liveQuery{T: t, cluster: c, watches: make(chan *watch.FakeWatcher, 10), out: newResults(), ended: make(chan error, 1), stop: cancel}
	c.objects.PrependWatchReactor(resource, func(clienttesting.Action) (bool, watch.Interface, error) {
		w := watch.NewFake()
		l.watches <- w
		return true, w, nil
	})
	go func() { l.ended <- c.start(ctx, l.out, io.Discard, append([]string{"--watch"}, args...)...) }()
	t.Cleanup(func() {
		cancel()
		// BuntDB's own goroutine finds within a second, of the bubble's, that its database is closed.
		time.Sleep(2 * time.Second)
	})
	return l
}

func await[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("waited in vain for %s", what)
	}
	panic("unreachable")
}

func (l *liveQuery) expect(want string) {
	l.Helper()
	if d := cmp.Diff(want, await(l.T, l.out.next, "the result "+want)); d != "" {
		l.Fatal(d)
	}
}

func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, shop)
		l := startLive(t, c, "services", "-o", "jsonl", "SELECT name, spec->'ports'->0->>'port' AS port FROM services ORDER BY name")
		service := func(name string, port, version int) *unstructured.Unstructured {
			return parsed(t, fmt.Sprintf("{apiVersion: v1, kind: Service, metadata: {namespace: x, name: %s, uid: u%s, resourceVersion: '%d'}, spec: {ports: [{port: %d}]}}", name, name, version, port))[0]
		}
		l.expect(`[{"name":"db","port":null},{"name":"web","port":80}]` + "\n")
		w := await(t, l.watches, "a watch")
		w.Add(service("new", 1, 10))
		l.expect(`[{"name":"db","port":null},{"name":"new","port":1},{"name":"web","port":80}]` + "\n")
		// What changes no row prints nothing: the next result is that of the port.
		w.Modify(service("new", 1, 11))
		time.Sleep(3 * settle)
		synctest.Wait()
		w.Modify(service("new", 2, 12))
		l.expect(`[{"name":"db","port":null},{"name":"new","port":2},{"name":"web","port":80}]` + "\n")

		// A watch that ends goes on where it was; one whose version is forgotten begins with a list.
		w.Stop()
		w = await(t, l.watches, "the watch again")
		if n := strings.Count(c.listed(), "list services"); n != 1 {
			t.Errorf("listed %d times", n)
		}
		w.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
		l.expect(`[{"name":"db","port":null},{"name":"web","port":80}]` + "\n")
		w = await(t, l.watches, "the watch after a list")
		w.Delete(must(c.objects.Resource(schema.GroupVersionResource{Version: "v1", Resource: "services"}).Namespace("data").Get(t.Context(), "db", metav1.GetOptions{})))
		l.expect(`[{"name":"web","port":80}]` + "\n")

		l.stop()
		if err := await(t, l.ended, "the end"); err != nil {
			t.Errorf("Ctrl-C is no error: %v", err)
		}
	})
}

// TestLiveOwners: an owner that comes after the query began decides about an instance too.
func TestLiveOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, shop)
		l := startLive(t, c, "pods", "-o", "jsonl", "SELECT name FROM pods WHERE instance = 'demo.1' ORDER BY name")
		l.expect(`[{"name":"web-1-a"}]` + "\n")
		w := await(t, l.watches, "a watch")
		w.Add(parsed(t, "{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: web-2, uid: p9, ownerReferences: [{apiVersion: v1, kind: Service, name: web, uid: d1}]}}")[0])
		l.expect(`[{"name":"web-1-a"},{"name":"web-2"}]` + "\n")
		l.stop()
		if err := await(t, l.ended, "the end"); err != nil {
			t.Error(err)
		}
		if !strings.Contains(c.listed(), "list services*") {
			t.Errorf("the owner's kind wasn't listed: %s", c.listed())
		}
	})
}

func TestLiveEndsWhenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, shop)
		c.objects.PrependWatchReactor("services", func(clienttesting.Action) (bool, watch.Interface, error) {
			return true, nil, forbidden("services")
		})
		l := startLive(t, c, "nothing", "SELECT name FROM services")
		err := await(t, l.ended, "the end")
		if err == nil || !strings.Contains(err.Error(), "you lack the verb watch on services") {
			t.Errorf("%v", err)
		}
	})
}
