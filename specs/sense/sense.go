// Package sense says how a rule sees an object: whether it is one of its objects at all, and in which state.
//
// It stands below the watcher, which asks it about what comes from the cluster, and the activities, which ask it about
// what they have written, because both must come to the same answer: that is how a rule doesn't react to itself. It is
// pure: no cluster, no clock, no store.
package sense

import (
	"fmt"
	"slices"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// Rule is a rule, prepared for being asked often.
type Rule struct {
	*plan.Rule
	// Kind that it watches; the zero Kind for a live query or a timer.
	Kind virtual.Kind

	selector labels.Selector
	paths    []virtual.Path
	// health and deleting tell what it senses beside the state; state: whether it senses that.
	health, deleting, state bool
}

// New prepares a rule. Possible errors: a selector or a path that doesn't parse; the loader has found them before.
func New(r *plan.Rule) (*Rule, error) {
	out := &Rule{Rule: r}
	if r.Watch.Kind == "" {
		return out, nil
	}
	out.Kind = virtual.ParseKind(r.Watch.APIVersion, r.Watch.Kind)
	if r.Watch.Selector != "" {
		var err error
		if out.selector, err = labels.Parse(r.Watch.Selector); err != nil {
			return nil, fmt.Errorf("rule %q: selector %q: %w", r.Name, r.Watch.Selector, err)
		}
	}
	for _, field := range r.Watch.Fields {
		path, err := virtual.ParsePath(field)
		if err != nil {
			return nil, fmt.Errorf("rule %q: fields: %w", r.Name, err)
		}
		out.paths = append(out.paths, path)
	}
	for _, c := range r.Watch.Categories {
		switch c {
		case plan.DidBecomeReady, plan.DidBecomeUnready, plan.DidFail:
			out.health = true
		case plan.WillDelete:
			out.deleting = true
		case plan.DidCreate, plan.DidUpdate, plan.DidChange:
			out.state = true
		}
	}
	return out, nil
}

// Sees tells whether an object of the rule's kind is one that the rule watches for an instance with this label.
func (r *Rule) Sees(i plan.Instance, label string, o virtual.Object) bool {
	w := r.Watch
	switch w.Scope {
	case plan.ScopeCluster:
	case plan.ScopeNamespace:
		if i.Namespace == "" || o.Namespace != i.Namespace {
			return false
		}
	default:
		if o.Instance != label {
			return false
		}
	}
	return (w.Namespace == "" || o.Namespace == w.Namespace) && (w.Name == "" || o.Name == w.Name) &&
		(r.selector == nil || r.selector.Matches(labels.Set(o.Labels())))
}

// Change is how the rule sees an object that is there. A rule that senses nothing of the object's state but its health
// and its end sees the same state as long as those are the same.
func (r *Rule) Change(o virtual.Object) plan.Change {
	c := plan.Change{
		Rule: r.Name, Namespace: o.Namespace, Name: o.Name, UID: plan.ShortUID(o.UID), ResourceVersion: o.ResourceVersion,
	}
	switch {
	case !r.state:
		c.Hash = "-"
	case len(r.paths) > 0:
		c.Hash = o.HashOf(r.paths)
	default:
		c.Hash = o.Hash()
	}
	if r.health {
		c.Health = Health(o)
	}
	c.Deleting = r.deleting && o.Deleting()
	return c
}

// Same tells whether two changes of one object are the same to the rule.
func Same(a, b plan.Change) bool {
	return a.UID == b.UID && a.Hash == b.Hash && a.Health == b.Health && a.Deleting == b.Deleting && a.Trouble == b.Trouble
}

// Health is an object's health by kstatus's conventions. What is being deleted is unready.
func Health(o virtual.Object) plan.Health {
	u := unstructured.Unstructured{Object: o.Map()}
	res, err := status.Compute(&u)
	switch {
	case err != nil:
		return plan.Unready
	case res.Status == status.CurrentStatus:
		return plan.Ready
	case res.Status == status.FailedStatus:
		return plan.Failed
	}
	return plan.Unready
}

// Of are the rules of a profile, prepared. Errors as with New.
func Of(p *plan.Profile) ([]*Rule, error) {
	var out []*Rule
	for i := range p.Rules {
		r, err := New(&p.Rules[i])
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// Params are the values of plan.SQLParams for a statement that runs for an instance: resource is the custom resource's
// JSON, object the one that a rule reacts to, or the zero Object.
func Params(i plan.Instance, resource []byte, object virtual.Object) map[string]any {
	params := map[string]any{
		"name": i.Name, "namespace": i.Namespace, "uid": i.UID, "instance": i.Label(), "cr": string(resource),
		"object": nil, "object_name": nil, "object_namespace": nil, "object_uid": nil,
	}
	if object.Exists() || object.Deleted {
		params["object"] = string(object.JSON())
		params["object_name"], params["object_namespace"], params["object_uid"] = object.Name, object.Namespace, object.UID
	}
	return params
}

// Senses tells whether the rule senses a category.
func (r *Rule) Senses(c plan.Category) bool { return slices.Contains(r.Watch.Categories, c) }
