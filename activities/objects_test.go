package activities

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

func apply(manifest string) plan.Command {
	return plan.Command{Kind: plan.KindKubeApply, Name: "apply", Apply: &plan.Apply{Manifest: manifest}}
}

func patch(text string) plan.Command {
	return plan.Command{Kind: plan.KindKubePatch, Name: "patch", Patch: &plan.Patch{Patch: text}}
}

const pair = `
# first
apiVersion: v1
kind: Service
metadata: {name: s}
spec: {selector: {app: x}, ports: [{port: 80}]}
---
---
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {size: "{{ .cr.spec.size }}"}}
  - {apiVersion: v1, kind: Secret, metadata: {name: k}, stringData: {token: abc}}
`

func TestApplyLife(t *testing.T) {
	b := newBench(t)
	res := b.must((*attempt).kubeApply, apply(pair))
	want := []plan.ObjectRef{
		{APIVersion: "v1", Kind: "Secret", Namespace: b.ns, Name: "k"},
		{APIVersion: "v1", Kind: "ConfigMap", Namespace: b.ns, Name: "c"},
		{APIVersion: "v1", Kind: "Service", Namespace: b.ns, Name: "s"},
	}
	if d := cmp.Diff(want, res.Objects); d != "" || !res.Changed {
		t.Fatalf("%+v\n%s", res, d)
	}
	b.wantSize("c", "one")
	// The second time not even a request that changes nothing goes out.
	before := b.object("v1", "Service", "s")
	if res = b.must((*attempt).kubeApply, apply(pair)); res.Changed || len(res.Objects) != 3 {
		t.Errorf("again: %+v", res)
	}
	if d := cmp.Diff(before.Object, b.object("v1", "Service", "s").Object); d != "" {
		t.Error(d)
	}
	b.setSpec("{size: two}")
	if res = b.must((*attempt).kubeApply, apply(pair)); !res.Changed || res.Message != "applied 1 of 3 objects" {
		t.Errorf("changed: %+v", res)
	}
	b.wantSize("c", "two")

	// The inventory goes, even when the manifest no longer renders; what isn't ours stays.
	undo := apply("{{ .cr.spec.nothing }}")
	undo.Apply.Absent, undo.Apply.Undoes = true, "apply"
	inventory := append(res.Objects, plan.ObjectRef{APIVersion: "v1", Kind: "ConfigMap", Namespace: b.ns, Name: "kube-root-ca.crt"},
		plan.ObjectRef{APIVersion: "gone.example.com/v1", Kind: "Gone", Namespace: b.ns, Name: "x"})
	for i, changed := range []bool{true, false} {
		at := b.attempt(undo, nil)
		at.in.Inventory = inventory
		got, err := at.kubeApply(context.Background())
		if err != nil || got.Changed != changed {
			t.Fatalf("undo %d: %+v, %v", i, got, err)
		}
	}
	if b.object("v1", "Service", "s") != nil || b.object("v1", "ConfigMap", "kube-root-ca.crt") == nil {
		t.Error("the wrong objects went")
	}
}

func TestApplyConflicts(t *testing.T) {
	b := newBench(t)
	b.applyRaw(fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: %s}, data: {size: theirs}}", b.ns))
	c := apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {size: ours}}")
	f := b.fails((*attempt).kubeApply, c, TypeConflict, false)
	if !strings.Contains(f.Error(), ".data.size") || !strings.Contains(f.Error(), `"test"`) {
		t.Errorf("message: %v", f)
	}
	c.Apply.Conflicts = "force"
	b.must((*attempt).kubeApply, c)
	b.wantSize("c", "ours")

	other := b.instance
	other.Name = "other"
	b.applyRaw(fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: d, namespace: %s, labels: {%s: %s}}}", b.ns, plan.InstanceLabel, other.Label()))
	b.fails((*attempt).kubeApply, apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: d}}"), TypeConflict, false)
	b.fails((*attempt).kubeApply, apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: e}, dataa: {}}"), TypeInvalid, true)
	b.fails((*attempt).kubeApply, apply("{apiVersion: v1, kind: ConfigMap}"), TypeInvalid, true)
	b.fails((*attempt).kubeApply, apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: e, namespace: nowhere}}"), TypeNotFound, false)
}

// A CRD and an object of its kind in one manifest.
func TestApplyKind(t *testing.T) {
	b := newBench(t)
	group := b.ns + ".example.com"
	c := apply(strings.ReplaceAll(widgetCRD, "test.mainstay.dev", group) + "\n---\n" +
		fmt.Sprintf("{apiVersion: %s/v1, kind: Widget, metadata: {name: x}, spec: {a: [1, {b: 2}]}}", group))
	if res := b.must((*attempt).kubeApply, c); len(res.Objects) != 2 {
		t.Errorf("%+v", res)
	}
	if res := b.must((*attempt).kubeApply, c); res.Changed {
		t.Errorf("again: %+v", res)
	}
	undo := c
	undo.Apply = &plan.Apply{Manifest: c.Apply.Manifest, Absent: true, Undoes: "apply"}
	b.must((*attempt).kubeApply, undo)
	if res := b.must((*attempt).kubeApply, undo); res.Changed {
		t.Errorf("undo again: %+v", res)
	}
}

func TestPatch(t *testing.T) {
	b := newBench(t)
	b.must((*attempt).kubeApply, apply(pair))
	tests := []struct {
		name, patch string
		check       func(s, w *unstructured.Unstructured) bool
	}{
		{"a list merged by its key", "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{name: more, port: 81}, {name: first, port: 80}]}}",
			func(s, _ *unstructured.Unstructured) bool {
				ports, _, _ := unstructured.NestedSlice(s.Object, "spec", "ports")
				return len(ports) == 2
			}},
		{"a custom resource, and a second document", `
{apiVersion: test.mainstay.dev/v1, kind: Widget, metadata: {name: demo}, spec: {more: [1, 2]}, status: {mine: no}}
---
{apiVersion: v1, kind: Service, metadata: {name: s, labels: {seen: "yes"}}}`,
			func(s, w *unstructured.Unstructured) bool {
				more, _, _ := unstructured.NestedSlice(w.Object, "spec", "more")
				_, status := w.Object["status"]
				return len(more) == 2 && !status && s.GetLabels()["seen"] == "yes"
			}},
		{"a field taken away", "{apiVersion: v1, kind: Service, metadata: {name: s, labels: {seen: null}}}",
			func(s, _ *unstructured.Unstructured) bool { return s.GetLabels()["seen"] == "" }},
	}
	for _, tt := range tests {
		if res := b.must((*attempt).kubePatch, patch(tt.patch)); !res.Changed {
			t.Errorf("%s: %+v", tt.name, res)
		}
		s, w := b.object("v1", "Service", "s"), b.object("test.mainstay.dev/v1", "Widget", "demo")
		if !tt.check(s, w) {
			t.Errorf("%s: %v %v", tt.name, s.Object, w.Object)
		}
		if res := b.must((*attempt).kubePatch, patch(tt.patch)); res.Changed {
			t.Errorf("%s, again: %+v", tt.name, res)
		}
	}
	if res := b.must((*attempt).kubePatch, patch("{{ if false }}x{{ end }}\n# nothing\n")); res.Message != "nothing to patch" {
		t.Errorf("%+v", res)
	}
	lack := patch("{apiVersion: v1, kind: Service, metadata: {name: none}, spec: {}}")
	b.fails((*attempt).kubePatch, lack, TypeNotFound, false)
	lack.Patch.Missing = "skip"
	if res := b.must((*attempt).kubePatch, lack); res.Changed {
		t.Errorf("%+v", res)
	}
	if b.object("v1", "Service", "none") != nil {
		t.Error("a patch has created something")
	}
	b.fails((*attempt).kubePatch, patch("{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 99999}]}}"), TypeInvalid, true)
	b.fails((*attempt).kubePatch, patch("{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {clusterIP: 1.2.3.4}}"), TypeInvalid, true)
}

func TestPatchReaction(t *testing.T) {
	b := newBench(t)
	b.must((*attempt).kubeApply, apply(pair))
	event := plan.Event{Rule: "r", Category: plan.DidChange, APIVersion: "v1", Kind: "Service", Change: plan.Change{Rule: "r", Namespace: b.ns, Name: "s"}}
	c := patch("{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {size: \"{{ (index .object.spec.ports 0).port }} {{ .event.key }} {{ .instance.releases.app }}\"}}")
	res, err := b.attempt(c, &event).kubePatch(context.Background())
	if err != nil || !res.Changed {
		t.Fatalf("%+v, %v", res, err)
	}
	b.wantSize("c", "80 "+b.ns+"/s demo-app")
	event.Change.Name = "none"
	if res, err = b.attempt(c, &event).kubePatch(context.Background()); err != nil || res.Message != errObjectGone.Error() {
		t.Fatalf("%+v, %v", res, err)
	}
	event.Category = plan.DidDelete
	c = patch("{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {size: \"{{ .object.metadata.name }}\"}}")
	if _, err = b.attempt(c, &event).kubePatch(context.Background()); err != nil {
		t.Fatal(err)
	}
	b.wantSize("c", "none")
}

// The custom resource of an undeploy may be gone; that of a deploy may not.
func TestGoneResource(t *testing.T) {
	b := newBench(t)
	b.remove("test.mainstay.dev/v1", "Widget", "demo")
	b.fails((*attempt).kubeApply, apply(pair), TypeGone, true)
	undo := apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: \"{{ .cr.metadata.name }}\"}}")
	undo.Apply.Absent = true
	b.must((*attempt).kubeApply, undo)
}

// A wait is woken by a change, and tells who holds an object.
func TestAwait(t *testing.T) {
	b := newBench(t)
	b.applyRaw(fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: held, namespace: %s, finalizers: [example.com/hold]}}", b.ns))
	ref := plan.ObjectRef{APIVersion: "v1", Kind: "ConfigMap", Namespace: b.ns, Name: "held"}
	b.applyRaw(fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: other, namespace: %s}}", b.ns))
	if err := b.cluster.delete(context.Background(), b.object("v1", "ConfigMap", "held")); err != nil {
		t.Fatal(err)
	}
	at := b.attempt(apply(""), nil)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := at.await(ctx, "waiting", []plan.ObjectRef{ref}, gone)
	if f := classify(err); f.Type != TypeNotReady || !strings.Contains(err.Error(), "example.com/hold") {
		t.Errorf("got %v", err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	time.AfterFunc(time.Second, func() {
		api, _ := b.cluster.client(ref)
		_, _ = api.Patch(context.Background(), "held", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	})
	start := time.Now()
	if err := at.await(ctx, "waiting", []plan.ObjectRef{ref}, gone); err != nil || time.Since(start) > 3*time.Second {
		t.Errorf("got %v after %s", err, time.Since(start))
	}
}
