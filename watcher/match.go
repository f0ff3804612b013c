package watcher

import (
	"github.com/tidwall/gjson"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/specs/sense"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// changed takes a change of the store to the queues that it concerns. It is the hot path: the store calls it for every
// object that differs. What a rule makes of the object is found when its queue has its turn.
func (w *Watcher) changed(c virtual.Change) {
	if op := w.operators[c.Key.Kind]; op != nil {
		w.resourceChanged(op, c)
	}
	for _, ref := range w.rules[c.Key.Kind] {
		watch := &ref.rule.Watch
		if watch.Namespace != "" && watch.Namespace != c.Key.Namespace || watch.Name != "" && watch.Name != c.Key.Name {
			continue
		}
		t := target{rule: ref.index, namespace: c.Key.Namespace, name: c.Key.Name}
		if watch.Scope == plan.ScopeNamespace || watch.Scope == plan.ScopeCluster {
			w.markMany(ref, c, t)
		} else {
			w.markOwners(ref, c, t)
		}
	}
	if len(w.live) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.reading[c.Key.Kind] {
		w.touch(l)
	}
	for _, l := range w.readingAny {
		w.touch(l)
	}
}

// markOwners marks an object for the instance that it belongs to. Who lost the object learns of it too.
func (w *Watcher) markOwners(ref ruleRef, c virtual.Change, t target) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, label := range [...]string{c.Now.Instance, c.Old.Instance} {
		if q := w.byLabel[label]; q != nil && q.op == ref.op {
			w.mark(q, ref, t)
		}
		if c.Now.Instance == c.Old.Instance {
			break
		}
	}
}

// markMany marks an object for all instances that a wide scope reaches. If they are many, it is found once for all of
// them whether the rule sees a difference.
func (w *Watcher) markMany(ref ruleRef, c virtual.Change, t target) {
	var queues []*queue
	w.locked(func() {
		if w.leading && ref.rule.Watch.Scope == plan.ScopeCluster {
			queues = members(w.byOperator[ref.op])
		} else if w.leading {
			queues = members(w.byNamespace[namespaceOf{ref.op, c.Key.Namespace}])
		}
	})
	if len(queues) > few && !differs(ref.rule, c) {
		return
	}
	w.crowds(queues, func(q *queue) { w.mark(q, ref, t) })
}

// few is how many queues may look for themselves whether a rule sees a difference.
const few = 4

// differs tells whether a rule of a wide scope sees a difference in an object, whoever's rule it is.
func differs(rule *sense.Rule, c virtual.Change) bool {
	view := func(o virtual.Object) view {
		if !o.Exists() || !rule.Sees(plan.Instance{Namespace: o.Namespace}, o.Instance, o) {
			return absent
		}
		return viewOf(rule.Change(o))
	}
	return view(c.Old) != view(c.Now)
}

// resourceChanged takes a change of a custom resource to its queue.
func (w *Watcher) resourceChanged(op *operator, c virtual.Change) {
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
	resource := c.Now.JSON()
	fields := gjson.GetManyBytes(resource, "metadata.generation", "metadata.deletionTimestamp", "metadata.annotations")
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
	bound := bindings(op.profiles[signal.Profile], instance, resource)
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
func bindings(profile *profile, instance plan.Instance, resource []byte) []binding {
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
