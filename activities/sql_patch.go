package activities

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery/cached/memory"
)

// serverFields are the members of metadata that the server alone writes; they come along when an object is copied.
var serverFields = []string{"managedFields", "resourceVersion", "uid", "generation", "creationTimestamp"}

// rowPatch is the JSON merge patch between a row before and after, without what identifies the object: that no
// statement changes.
func rowPatch(before, after map[string]any) map[string]any {
	patch := mergePatch(before, after)
	delete(patch, "apiVersion")
	delete(patch, "kind")
	meta, _ := patch["metadata"].(map[string]any)
	for _, f := range append([]string{"name", "namespace", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"}, serverFields...) {
		delete(meta, f)
	}
	for _, f := range []string{"labels", "annotations"} {
		// No labels and an empty mapping of labels are one to the server.
		if m, ok := meta[f].(map[string]any); ok && len(m) == 0 {
			delete(meta, f)
		}
	}
	if len(meta) == 0 {
		delete(patch, "metadata")
	}
	return patch
}

// mergePatch is the smallest JSON merge patch that makes after of before. A list that differs is replaced as a whole,
// because that is what merge patches do; null stands for a field that goes, and a null in after for one that isn't
// there.
func mergePatch(before, after map[string]any) map[string]any {
	patch := map[string]any{}
	for name, now := range after {
		if now == nil {
			continue
		}
		was := before[name]
		if nowMap, ok := now.(map[string]any); ok {
			if wasMap, ok := was.(map[string]any); ok {
				if inner := mergePatch(wasMap, nowMap); len(inner) > 0 {
					patch[name] = inner
				}
				continue
			}
		}
		if !equalJSON(was, now) {
			patch[name] = now
		}
	}
	for name, was := range before {
		if was != nil && after[name] == nil {
			patch[name] = nil
		}
	}
	return patch
}

// equalJSON tells whether two decoded values are one; 1 and 1.0 are.
func equalJSON(a, b any) bool {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for name, v := range x {
			if w, ok := y[name]; !ok || !equalJSON(v, w) {
				return false
			}
		}
		return true
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, equalJSON)
	}
	if x, ok := a.(int64); ok {
		if y, ok := b.(int64); ok {
			return x == y // as floats, large ones would lose their ends
		}
	}
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	switch b.(type) {
	case map[string]any, []any:
		return false
	}
	return a == b
}

// hasStatus tells whether a resource's status is a subresource, so that writes to the object itself don't reach it.
func (c *cluster) hasStatus(resource schema.GroupVersionResource) (bool, error) {
	version := resource.GroupVersion().String()
	list, err := c.discovery.ServerResourcesForGroupVersion(version)
	if errors.Is(err, memory.ErrCacheNotFound) && c.mapper.rediscover() {
		list, err = c.discovery.ServerResourcesForGroupVersion(version)
	}
	if err != nil {
		return false, fmt.Errorf("read the subresources of %s: %w", resource.GroupResource(), err)
	}
	for _, r := range list.APIResources {
		if r.Name == resource.Resource+"/status" {
			return true, nil
		}
	}
	return false, nil
}
