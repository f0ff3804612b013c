package virtual

import (
	"maps"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

func TestObject(t *testing.T) {
	k := key(pods, "n", "a")
	o, err := NewObject(k, []byte(` {
		"metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7", "deletionTimestamp": "2026-01-01T00:00:00Z",
			"labels": {"a.b/c": "d", "escaped": "x\ny", "number": 5}, "annotations": {"p.q": "r"}, "managedFields": [{}], "finalizers": ["f"]},
		"kind": "Pod", "spec": {"a": [1, {"b": null}]}, "apiVersion": "v1", "type": "Opaque" } `))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"n","uid":"u","resourceVersion":"7",` +
		`"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["f"],"labels":{"a.b/c":"d","escaped":"x\ny","number":5},` +
		`"annotations":{"p.q":"r"}},"type":"Opaque","spec":{"a":[1,{"b":null}]}}`
	if diff := cmp.Diff(want, string(o.JSON())); diff != "" {
		t.Error(diff)
	}
	if !maps.Equal(o.Labels(), map[string]string{"a.b/c": "d", "escaped": "x\ny"}) || !o.Deleting() || !o.Exists() {
		t.Errorf("labels %q, deleting %v, exists %v", o.Labels(), o.Deleting(), o.Exists())
	}
	var none Object
	if none.Exists() || none.Deleting() || none.Labels() != nil || none.JSON() != nil || none.Map() != nil || none.Hash() != "" {
		t.Errorf("the zero Object: %+v", none)
	}
}

// TestObjectOfAnotherName: a document is given back as it came, even if it contradicts the key.
func TestObjectOfAnotherName(t *testing.T) {
	for _, doc := range []string{
		`{"apiVersion":"v2","kind":"X","metadata":{"name":"other","namespace":""}}`,
		`{"metadata":{"uid":5,"resourceVersion":"","creationTimestamp":null}}`,
		`{"metadata":{},"spec":null,"status":[],"data":""}`,
		`{"metadata":{"labels":null,"annotations":7,"ownerReferences":{}}}`,
	} {
		o, err := NewObject(key(pods, "n", "a"), []byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		if o.Hash() != Hash([]byte(doc)) {
			t.Errorf("%s became %s", doc, o.JSON())
		}
	}
}

func TestHashOf(t *testing.T) {
	at := func(doc string, fields ...string) string {
		t.Helper()
		var paths []Path
		for _, field := range fields {
			path, err := ParsePath(field)
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, path)
		}
		o, err := NewObject(key(pods, "n", "a"), []byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		return o.HashOf(paths)
	}
	const a = `{"kind":"Pod","metadata":{"name":"a","resourceVersion":"1","labels":{"x":"y"},"annotations":{"e.com/t":"1"},"finalizers":["f"]},"spec":{"p":[1],"q":{"r":1}},"status":{"s":1},"data":{"d":"1"},"type":"T"}`
	const b = `{"type":"U","kind":"Pod","metadata":{"annotations":{"e.com/t":"2"},"finalizers":["g"],"labels":{"x":"z"},"resourceVersion":"2","name":"a"},"spec":{"q":{"r":2},"p":[1]},"status":{"s":2},"data":{"d":"2"}}`
	for field, same := range map[string]bool{
		"spec": false, "spec.p": true, "spec.q": false, "spec.q.r": false, "spec.none": true, "spec.p.q": true, "none": true, "status.s": false,
		"data.d": false, "type": false, "kind": true, "metadata.name": true, "metadata.labels": false, "metadata.labels.x": false,
		`metadata.annotations["e.com/t"]`: false, "metadata.finalizers": false, "metadata.resourceVersion": false, "metadata": false,
	} {
		if got := at(a, field) == at(b, field); got != same {
			t.Errorf("%s: the same is %v, want %v", field, got, same)
		}
	}
	if at(a, "metadata") != at(strings.Replace(a, `"resourceVersion":"1"`, `"resourceVersion":"2"`, 1), "metadata") {
		t.Error("a resourceVersion counts as a difference of metadata")
	}
	if at(a, "spec.p", "none") == at(a, "none", "spec.p") {
		t.Error("which path leads where doesn't count")
	}
}

// TestBigObjects are those that need wider tables and heads.
func TestBigObjects(t *testing.T) {
	for _, size := range []int{60_000, 65_400, 65_500, 65_536, 70_000, 1 << 20} {
		k := key(pods, "n", "a")
		doc := strings.TrimSuffix(string(document(k, "u", "1", labelled("x"))), "}") + `,"data":{"a":"` + strings.Repeat("x", size) + `"}}`
		o, err := NewObject(k, []byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		if o.UID != "u" || o.Labels()["app"] != "x" || o.Hash() != Hash([]byte(doc)) || o.record.in("i").instance() != "i" {
			t.Errorf("an object of %d bytes: %s, %v", size, o.UID, o.Labels())
		}
	}
}

// TestObjectsHoldNoRecords: who keeps a version must not keep the document with it.
func TestObjectsHoldNoRecords(t *testing.T) {
	o := object(t, key(pods, "n", "a"), "uid", "12345")
	within := func(s string) bool {
		from, at := uintptr(unsafe.Pointer(unsafe.StringData(string(o.record)))), uintptr(unsafe.Pointer(unsafe.StringData(s)))
		return at >= from && at < from+uintptr(len(o.record))
	}
	if within(o.UID) || within(o.ResourceVersion) {
		t.Error("the texts share the record's memory")
	}
}
