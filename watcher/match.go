package watcher

import (
	"github.com/tidwall/gjson"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// ruleRef is a rule and where it stands.
type ruleRef struct {
	op      *plan.Operator
	profile *plan.Profile
	rule    *plan.Rule
}

func kindOf(rule *plan.Rule) virtual.Kind {
	return virtual.ParseKind(rule.Watch.APIVersion, rule.Watch.Kind)
}

// changed takes a change of the store to the queues that it concerns. It is the hot path: the store calls it for every
// object that differs.
func (w *Watcher) changed(c virtual.Change) {
	if op := w.operators[c.Key.Kind]; op != nil {
		w.resourceChanged(op, c)
	}
	rules := w.rules[c.Key.Kind]
	if len(rules) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ref := range rules {
		target := target{rule: ref.rule, namespace: c.Key.Namespace, name: c.Key.Name}
		switch ref.rule.Watch.Scope {
		case plan.ScopeNamespace:
			for q := range w.byNamespace[namespaceOf{ref.op, c.Key.Namespace}] {
				w.mark(q, ref.profile, target)
			}
		default:
			// Who lost the object learns of it too.
			for _, label := range [...]string{c.Now.Instance, c.Old.Instance} {
				if q := w.byLabel[label]; q != nil && q.op == ref.op {
					w.mark(q, ref.profile, target)
				}
				if c.Now.Instance == c.Old.Instance {
					break
				}
			}
		}
	}
}

// resourceChanged takes a change of a custom resource to its queue.
func (w *Watcher) resourceChanged(op *plan.Operator, c virtual.Change) {
	if c.Old.Exists() && c.Old.UID != c.Now.UID {
		w.gone(c.Old.UID)
	}
	if !c.Now.Exists() {
		return
	}
	instance := plan.Instance{
		Operator:  op.Name,
		Resource:  op.Resource,
		Namespace: c.Key.Namespace,
		Name:      c.Key.Name,
		UID:       c.Now.UID,
	}
	fields := gjson.GetManyBytes(c.Now.JSON(), "metadata.generation", "metadata.deletionTimestamp", "metadata.annotations")
	signal := plan.ResourceSignal{
		Generation: fields[0].Int(),
		Revision:   op.Digest,
		Profile:    plan.DefaultProfile,
		Deleting:   fields[1].Exists(),
	}
	fields[2].ForEach(func(name, value gjson.Result) bool {
		if name.Str == plan.ProfileAnnotation && value.Str != "" {
			signal.Profile = value.Str
		}
		return true
	})
	// The binding comes first: a resync that began before it would lack objects.
	bound := bindings(op.Profiles[signal.Profile], instance, c.Now.JSON())
	for _, b := range bound {
		if err := b.apply(w.store, instance.Label()); err != nil {
			w.log.Error("an instance's objects can't be told apart", "instance", instance.String(), "error", err)
		}
	}
	w.present(op, instance, signal, bound)
}

// binding is a reason for objects to belong to an instance: their owner's uid, or their release.
type binding struct{ owner, namespace, release string }

func (b binding) apply(store *virtual.Store, label string) error {
	if b.owner != "" {
		return store.BindOwner(b.owner, label)
	}
	return store.BindRelease(b.namespace, b.release, label)
}

// bindings are what makes objects belong to a custom resource beyond their label: it owns them itself, or one of its
// helm releases made them. The releases' default names are known from the plan, others from the resource's status.
func bindings(profile *plan.Profile, instance plan.Instance, resource []byte) []binding {
	found := []binding{{owner: instance.UID}}
	if profile != nil && instance.Namespace != "" {
		for _, command := range profile.Deploy {
			if command.Helm != nil && command.Helm.Release == "" && command.Helm.Namespace == "" {
				found = append(found, binding{
					namespace: instance.Namespace,
					release:   plan.ReleaseName(instance, command.Release()),
				})
			}
		}
	}
	gjson.GetBytes(resource, "status.releases").ForEach(func(_, release gjson.Result) bool {
		name, namespace := release.Get("name").Str, release.Get("namespace").Str
		if name != "" && namespace != "" {
			found = append(found, binding{namespace: namespace, release: name})
		}
		return true
	})
	return found
}
