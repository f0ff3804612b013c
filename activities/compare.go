package activities

import (
	"reflect"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// covers tells whether live has everything that want says; what others and the server added doesn't count. Lists must
// be of one length: whether more elements would matter depends on the list's kind, and then the server should judge.
// It errs towards false, which costs a request that changes nothing.
func covers(live, want any) bool {
	switch w := want.(type) {
	case nil:
		return live == nil
	case map[string]any:
		l, ok := live.(map[string]any)
		if !ok {
			return false
		}
		for k, v := range w {
			if v == nil && l[k] == nil {
				continue
			}
			lv, ok := l[k]
			if !ok || !covers(lv, v) {
				return false
			}
		}
		return true
	case []any:
		l, ok := live.([]any)
		if !ok || len(l) != len(w) {
			return false
		}
		for i := range w {
			if !covers(l[i], w[i]) {
				return false
			}
		}
		return true
	}
	if a, ok := number(live); ok {
		b, ok := number(want)
		return ok && a == b
	}
	return reflect.DeepEqual(live, want)
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int64:
		return float64(n), true
	case float64:
		return n, true
	case int:
		return float64(n), true
	}
	return 0, false
}

// same tells whether two states of an object are one to the API server. Built-in kinds are compared through their Go
// types, in which 1000m and 1 are the same quantity and an empty list is no list.
func same(gvk schema.GroupVersionKind, a, b map[string]any) bool {
	if equality.Semantic.DeepEqual(a, b) {
		return true
	}
	x, okX := typed(gvk, a)
	y, okY := typed(gvk, b)
	return okX && okY && equality.Semantic.DeepEqual(x, y)
}

// typed decodes an object into the Go type of its kind. Not ok if it has none, or if a field would get lost: what the
// type doesn't know must not be taken for equal.
func typed(gvk schema.GroupVersionKind, m map[string]any) (runtime.Object, bool) {
	o, err := scheme.Scheme.New(gvk)
	if err != nil {
		return nil, false
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(m, o, true); err != nil {
		return nil, false
	}
	return o, true
}

// fitsType tells whether all fields of an object are known to the Go type of its kind. A kind without one fits.
func fitsType(u *unstructured.Unstructured) bool {
	if !scheme.Scheme.Recognizes(u.GroupVersionKind()) {
		return true
	}
	_, ok := typed(u.GroupVersionKind(), u.Object)
	return ok
}
