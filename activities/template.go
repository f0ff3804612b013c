package activities

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/specs/render"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// seenWithin bounds the wait until this process has seen an event's object; then the API server is asked.
const seenWithin = 10 * time.Second

// errObjectGone says that the object of an event is no more, so that there is nothing to react to.
var errObjectGone = errors.New("object is gone meanwhile; nothing to do")

// vars are what templates see. Error: errObjectGone.
func (t *attempt) vars(ctx context.Context) (map[string]any, error) {
	i := t.in.Instance
	releases := map[string]any{}
	for name, release := range t.in.Releases {
		releases[name] = release
	}
	vars := map[string]any{
		"instance": map[string]any{"name": i.Name, "namespace": i.Namespace, "label": i.Label(), "releases": releases},
	}
	cr, err := t.customResource(ctx)
	if err != nil {
		return nil, err
	}
	vars["cr"] = cr
	if e := t.in.Event; e != nil {
		vars["event"] = map[string]any{
			"category": string(e.Category), "rule": e.Rule, "apiVersion": e.APIVersion, "kind": e.Kind,
			"namespace": e.Change.Namespace, "name": e.Change.Name, "uid": e.Change.UID, "key": e.Change.Key(),
		}
		if vars["object"], err = t.eventObject(ctx, *e); err != nil {
			return nil, err
		}
	}
	return vars, nil
}

// customResource reads the resource: from the virtual store, if what that has is at least as new as the generation that
// is being deployed, and else from the API server. A resource that is gone while it is undeployed is known by name only.
func (t *attempt) customResource(ctx context.Context) (map[string]any, error) {
	i := t.in.Instance
	if t.objects != nil {
		key := virtual.Key{Kind: virtual.ParseKind(i.Resource.APIVersion(), i.Resource.Kind), Namespace: i.Namespace, Name: i.Name}
		if o, ok := t.objects.Get(key); ok && o.UID == i.UID {
			cr, err := decodeObject(o.JSON())
			if err != nil {
				return nil, err
			}
			if generation, _, _ := unstructured.NestedInt64(cr, "metadata", "generation"); generation >= t.in.Generation {
				return cr, nil
			}
		}
	}
	u, err := t.cluster.resource(i).Get(ctx, i.Name, metav1.GetOptions{})
	gone := apierrors.IsNotFound(err) || err == nil && i.UID != "" && string(u.GetUID()) != i.UID
	switch {
	case gone && undoing(t.in.Command):
		return map[string]any{
			"apiVersion": i.Resource.APIVersion(), "kind": i.Resource.Kind,
			"metadata": map[string]any{"name": i.Name, "namespace": i.Namespace, "uid": i.UID}, "spec": map[string]any{},
		}, nil
	case gone:
		return nil, terminal(TypeGone, fmt.Errorf("%s is gone, or another one has its name", i), "")
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", i, err)
	}
	unstructured.RemoveNestedField(u.Object, "metadata", "managedFields")
	return u.Object, nil
}

func undoing(c plan.Command) bool {
	return c.Helm != nil && c.Helm.Absent || c.Apply != nil && c.Apply.Absent
}

// eventObject is the object of an event, at least as new as the event. Error: errObjectGone.
func (t *attempt) eventObject(ctx context.Context, e plan.Event) (map[string]any, error) {
	gv, err := schema.ParseGroupVersion(e.APIVersion)
	if err != nil {
		return nil, invalid(fmt.Errorf("apiVersion %q: %w", e.APIVersion, err), "")
	}
	kind := virtual.Kind{Group: gv.Group, Version: gv.Version, Kind: e.Kind}
	key := virtual.Key{Kind: kind, Namespace: e.Change.Namespace, Name: e.Change.Name}
	if e.Category == plan.DidDelete {
		return t.lastKnown(key, e), nil
	}
	if t.objects != nil && t.objects.Watches(kind) {
		t.phase("reading", "the store to see the event's object")
		wait, cancel := t.waiting(ctx)
		defer cancel()
		wait, stop := context.WithTimeout(wait, seenWithin)
		defer stop()
		o, ok, err := t.objects.WaitFor(wait, key, e.Change.ResourceVersion)
		if err == nil && ok && !o.Deleted {
			return decodeObject(o.JSON())
		}
		if context.Cause(wait) == errStopping {
			return nil, errStopping
		}
	}
	ref := plan.ObjectRef{APIVersion: e.APIVersion, Kind: e.Kind, Namespace: e.Change.Namespace, Name: e.Change.Name}
	c, err := t.cluster.client(ref)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", describe(ref), err)
	}
	u, err := c.Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, errObjectGone
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", describe(ref), err)
	}
	unstructured.RemoveNestedField(u.Object, "metadata", "managedFields")
	return u.Object, nil
}

// lastKnown is a deleted object as it was last seen, or its name alone when this process never saw it.
func (t *attempt) lastKnown(key virtual.Key, e plan.Event) map[string]any {
	if t.objects != nil {
		if o, ok := t.objects.Tombstone(key); ok && (e.Change.UID == "" || o.UID == e.Change.UID) {
			if m, err := decodeObject(o.JSON()); err == nil {
				return m
			}
		}
	}
	return map[string]any{
		"apiVersion": e.APIVersion, "kind": e.Kind,
		"metadata": map[string]any{"name": key.Name, "namespace": key.Namespace, "uid": e.Change.UID},
	}
}

func decodeObject(b []byte) (map[string]any, error) {
	var u unstructured.Unstructured
	if err := utiljson.Unmarshal(b, &u.Object); err != nil {
		return nil, fmt.Errorf("decode the stored object: %w", err)
	}
	unstructured.RemoveNestedField(u.Object, "metadata", "managedFields")
	return u.Object, nil
}

// renderFile renders a file of the operator's folder with the engine that its ending or the command picks.
func (t *attempt) renderFile(ctx context.Context, file string, vars map[string]any) (string, error) {
	text, ok := t.op.Files[path.Clean(file)]
	if !ok {
		return "", terminal(TypeTemplate, fmt.Errorf("%s: no such file in the operator's folder", file), "")
	}
	return t.renderText(ctx, file, text, render.ForFile(file, t.in.Command.Engine), vars)
}

// renderText renders a text. Error: a template's own fault is terminal.
func (t *attempt) renderText(ctx context.Context, name, text, engine string, vars map[string]any) (string, error) {
	run, ok := render.Engine(engine)
	if !ok {
		return "", terminal(TypeTemplate, fmt.Errorf("%s: no engine %q", name, engine), "")
	}
	out, err := run(ctx, render.Template{Name: name, Text: text, Include: func(file string) (string, error) {
		if text, ok := t.op.Files[path.Clean(file)]; ok {
			return text, nil
		}
		return "", fmt.Errorf("include %q: no such file in the operator's folder", file)
	}}, vars)
	if err != nil {
		return "", fmt.Errorf("render %s: %w", name, err)
	}
	return out, nil
}
