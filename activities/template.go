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
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/specs/render"
	"github.com/mainstay-dev/mainstay/specs/sense"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// seenWithin bounds the wait until this process has seen an event's object; then the API server is asked.
const seenWithin = 10 * time.Second

// errObjectGone says that the object of an event is no more, so that there is nothing to react to.
var errObjectGone = errors.New("object is gone meanwhile; nothing to do")

// facts are what an attempt acts on.
type facts struct {
	// cr is the custom resource.
	cr map[string]any
	// object is that of the event; nil: there is no event, or it has none.
	object map[string]any
	// stored is the same object as the virtual store has it: of a Secret, digests. The zero Object without one.
	stored virtual.Object
}

// facts reads what the attempt is about. Error: errObjectGone.
func (t *attempt) facts(ctx context.Context) (facts, error) {
	cr, err := t.customResource(ctx)
	if err != nil {
		return facts{}, err
	}
	f := facts{cr: cr}
	if e := t.in.Event; e != nil && e.HasObject() {
		if f.object, f.stored, err = t.eventObject(ctx, *e); err != nil {
			return facts{}, err
		}
	}
	return f, nil
}

// vars are what templates see. The rows are those of the rule's query as it stands now, which may be others than
// those on which the rule decided: a command does what the newest state asks for. Error: errObjectGone.
func (t *attempt) vars(ctx context.Context) (map[string]any, error) {
	f, err := t.facts(ctx)
	if err != nil {
		return nil, err
	}
	vars := t.varsOf(f)
	rows, ok, err := t.rows(ctx, f)
	if ok {
		vars["rows"] = listOf(rows)
	}
	return vars, err
}

// varsOf are what templates and conditions see of facts, all but the rows.
func (t *attempt) varsOf(f facts) map[string]any {
	i := t.in.Instance
	releases := map[string]any{}
	for name, release := range t.in.Releases {
		releases[name] = release
	}
	vars := map[string]any{
		"instance": map[string]any{"name": i.Name, "namespace": i.Namespace, "label": i.Label(), "releases": releases},
		"cr":       f.cr,
	}
	if e := t.in.Event; e != nil {
		vars["event"] = map[string]any{
			"category": string(e.Category), "rule": e.Rule, "apiVersion": e.APIVersion, "kind": e.Kind,
			"namespace": e.Change.Namespace, "name": e.Change.Name, "uid": e.Change.UID, "key": e.Change.Key(),
			"health": string(e.Change.Health), "trouble": e.Change.Trouble,
		}
	}
	if f.object != nil {
		vars["object"] = f.object
	}
	return vars
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

// eventObject is the object of an event, at least as new as the event, and the same as the virtual store has it. The
// content of a Secret is in the API server only, so a template gets that from there; of a Secret that is deleted, the
// digests are all that is left. Error: errObjectGone.
func (t *attempt) eventObject(ctx context.Context, e plan.Event) (map[string]any, virtual.Object, error) {
	key := virtual.Key{Kind: virtual.ParseKind(e.APIVersion, e.Kind), Namespace: e.Change.Namespace, Name: e.Change.Name}
	if e.Category == plan.DidDelete {
		return t.lastKnown(key, e)
	}
	var stored virtual.Object
	if t.objects != nil && t.objects.Watches(key.Kind) {
		t.phase("reading", "the store to see the event's object")
		wait, cancel := t.waiting(ctx)
		defer cancel()
		wait, stop := context.WithTimeout(wait, seenWithin)
		defer stop()
		o, ok, err := t.objects.WaitFor(wait, key, e.Change.ResourceVersion)
		switch {
		case err == nil && ok && !o.Deleted && !sense.IsSecret(key.Kind):
			object, err := decodeObject(o.JSON())
			return object, o, err
		case err == nil && ok && !o.Deleted:
			stored = o
		case context.Cause(wait) == errStopping:
			return nil, virtual.Object{}, errStopping
		}
	}
	ref := plan.ObjectRef{APIVersion: e.APIVersion, Kind: e.Kind, Namespace: e.Change.Namespace, Name: e.Change.Name}
	c, err := t.cluster.client(ref)
	if err != nil {
		return nil, virtual.Object{}, fmt.Errorf("read %s: %w", describe(ref), err)
	}
	u, err := c.Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, virtual.Object{}, errObjectGone
	}
	if err != nil {
		return nil, virtual.Object{}, fmt.Errorf("read %s: %w", describe(ref), err)
	}
	unstructured.RemoveNestedField(u.Object, "metadata", "managedFields")
	if !stored.Exists() {
		stored, err = asStored(key, u.Object)
	}
	return u.Object, stored, err
}

// lastKnown is a deleted object as it was last seen, or its name alone when this process never saw it. One that is
// still there is merely the rule's no longer.
func (t *attempt) lastKnown(key virtual.Key, e plan.Event) (map[string]any, virtual.Object, error) {
	if t.objects != nil {
		// What is no longer the rule's may well be there: then it isn't buried.
		for _, read := range []func(virtual.Key) (virtual.Object, bool){t.objects.Tombstone, t.objects.Get} {
			if o, ok := read(key); ok && (e.Change.UID == "" || plan.ShortUID(o.UID) == plan.ShortUID(e.Change.UID)) {
				if m, err := decodeObject(o.JSON()); err == nil {
					return m, o, nil
				}
			}
		}
	}
	object := map[string]any{
		"apiVersion": e.APIVersion, "kind": e.Kind,
		"metadata": map[string]any{"name": key.Name, "namespace": key.Namespace, "uid": e.Change.UID},
	}
	o, err := asStored(key, object)
	o.Deleted = true
	return object, o, err
}

// asStored is an object as the virtual store would have it.
func asStored(key virtual.Key, object map[string]any) (virtual.Object, error) {
	if sense.IsSecret(key.Kind) {
		object = (&unstructured.Unstructured{Object: object}).DeepCopy().Object
		sense.Redact(key.Kind, object)
	}
	b, err := virtual.Encode(object)
	if err != nil {
		return virtual.Object{}, fmt.Errorf("%s: %w", key, err)
	}
	return virtual.NewObject(key, b)
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
