package activities

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/release"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

const wrongHook = `
apiVersion: batch/v1
kind: Job
specc: {}
metadata: {name: before, annotations: {"helm.sh/hook": pre-install}}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: x, image: example.com/x}]}
`

// A chart that rolls dice renders differently each time; what it is made from is the same, so that it is left alone.
func TestHelmDice(t *testing.T) {
	b := helmBench(t)
	b.chart(map[string]string{"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {size: {{ randAlphaNum 8 | quote }}}\n"})
	b.must((*attempt).helm, app())
	if res := b.must((*attempt).helm, app()); res.Changed {
		t.Errorf("%+v", res)
	}
	b.wantHistory("1 deployed")
}

func TestHelmHooks(t *testing.T) {
	b := helmBench(t)
	b.chart(map[string]string{
		"a.yaml": fmt.Sprintf(configMap, "a"),
		"h.yaml": wrongHook,
	})
	// A typo in a hook is found by the server as well.
	b.fails((*attempt).helm, app(), TypeInvalid, true)
	b.wantHistory("1 failed")
	b.chart(map[string]string{
		"a.yaml": fmt.Sprintf(configMap, "a"),
		"h.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: hooked, annotations: {\"helm.sh/hook\": pre-install}}\ndata: {size: one}\n",
	})
	b.must((*attempt).helm, app())
	b.wantHistory("1 failed, 2 deployed")
	b.wantSize("hooked", "one") // although a failed revision came before, the install hooks have run
}

func TestHelmKeeps(t *testing.T) {
	b := helmBench(t)
	b.chart(map[string]string{
		"a.yaml": fmt.Sprintf(configMap, "a"),
		"k.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, annotations: {\"helm.sh/resource-policy\": keep}}\ndata: {size: one}\n",
	})
	b.must((*attempt).helm, app())
	b.must((*attempt).helm, absent())
	b.wantSize("kept", "one")
	b.wantGone("a")
	b.must((*attempt).helm, app()) // takes it up again: it still carries the release's name
	b.wantHistory("1 deployed")
}

// A hook that doesn't end uses up the attempt, and is run again by the next one, under the same revision.
func TestHelmHookWaits(t *testing.T) {
	b := helmBench(t)
	b.chart(map[string]string{
		"a.yaml": fmt.Sprintf(configMap, "a"),
		"h.yaml": strings.Replace(strings.Replace(wrongHook, "specc: {}\n", "", 1), "{restart", "{nodeSelector: {no: where}, restart", 1),
	})
	for range 2 {
		_, err := b.run((*attempt).helm, app(), 3*time.Second)
		if f, ok := err.(*fault); !ok || f.Type != TypeNotReady || f.Terminal || f.Hint == "" {
			t.Fatalf("got %v", err)
		}
		b.wantHistory("1 failed")
	}
	if b.object("v1", "ConfigMap", "a") != nil {
		t.Error("the hook came after what it should come before")
	}
	b.chart(map[string]string{"a.yaml": fmt.Sprintf(configMap, "a")})
	b.must((*attempt).helm, app())
}

// A release whose kind has gone from the server can still be uninstalled.
func TestHelmKindIsGone(t *testing.T) {
	b := helmBench(t)
	group := b.ns + ".example.com"
	b.chart(map[string]string{
		"a.yaml":        fmt.Sprintf(configMap, "a"),
		"w.yaml":        fmt.Sprintf("apiVersion: %s/v1\nkind: Widget\nmetadata: {name: x}\n", group),
		"crds/crd.yaml": strings.ReplaceAll(widgetCRD, "test.mainstay.dev", group),
	})
	b.must((*attempt).helm, app())
	if b.object(group+"/v1", "Widget", "x") == nil {
		t.Fatal("the chart's CRD or its object is missing")
	}
	b.remove("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets."+group)
	b.cluster.mapper.Reset()
	b.must((*attempt).helm, absent())
	b.wantHistory("")
	b.wantGone("a")
}

// More revisions than are kept: the records stay bounded and the state is still read right.
func TestHelmHistoryIsBounded(t *testing.T) {
	b := helmBench(t)
	for i := range maxHistory + 2 {
		b.setSpec(fmt.Sprintf("{size: s%d}", i))
		b.must((*attempt).helm, app())
	}
	if n := len(strings.Split(b.history(), ", ")); n > maxHistory {
		t.Errorf("%d records", n)
	}
	b.mark(maxHistory+2, release.StatusPendingUpgrade)
	if res := b.must((*attempt).helm, app()); res.Release.Revision != maxHistory+2 {
		t.Errorf("%+v", res)
	}
}

// The event's object comes from the virtual store where that has it, as new as the event says.
func TestReactionReadsTheStore(t *testing.T) {
	b := newBench(t)
	b.applyRaw(fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: %s}, data: {size: none}}", b.ns))
	store, err := virtual.Open(virtual.Options{InstanceLabel: plan.InstanceLabel})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	b.objects = store
	kind := virtual.Kind{Version: "v1", Kind: "Service"}
	key := virtual.Key{Kind: kind, Namespace: b.ns, Name: "only-in-the-store"}
	put := func(version, size string) {
		_, _, err := store.Put(key, []byte(fmt.Sprintf(`{"apiVersion":"v1","kind":"Service","metadata":{"name":%q,"namespace":%q,"uid":"u","resourceVersion":%q},"size":%q}`,
			key.Name, key.Namespace, version, size)))
		if err != nil {
			t.Error(err)
		}
	}
	put("5", "old")
	store.SetSynced(kind, true)
	time.AfterFunc(300*time.Millisecond, func() { put("7", "new") })
	event := plan.Event{Rule: "r", Category: plan.DidChange, APIVersion: "v1", Kind: "Service", Change: plan.Change{Namespace: b.ns, Name: key.Name, UID: "u", ResourceVersion: "6"}}
	c := patch("{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {size: \"{{ .object.size }}\"}}")
	if _, err := b.attempt(c, &event).kubePatch(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.wantSize("c", "new")
	put("8", "last")
	if _, _, err := store.Delete(key); err != nil {
		t.Fatal(err)
	}
	event.Category = plan.DidDelete
	if _, err := b.attempt(c, &event).kubePatch(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.wantSize("c", "last")
}
