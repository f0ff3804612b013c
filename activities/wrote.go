package activities

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/specs/sense"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// unsure is Change.Was of a write that somebody else's may have preceded: no rule can have handled that state.
const unsure = "?"

// step is the way of an object from one state to the next by one write.
type step struct {
	key virtual.Key
	// before and now are decoded objects; nil: it is not there.
	before, now map[string]any
	// unsure: before may not be the state that the write met.
	unsure bool
}

// watching are the rules of the instance that watch a kind; none for a command of no rule, whose writes nobody takes
// for a reaction.
func (t *attempt) watching(kind virtual.Kind) []*sense.Rule {
	if t.in.Event == nil {
		return nil
	}
	var out []*sense.Rule
	for _, r := range t.rules() {
		if r.Kind == kind {
			out = append(out, r)
		}
	}
	return out
}

// rules are those of the instance's profile, prepared.
func (t *attempt) rules() []*sense.Rule {
	profile := t.op.Plan.Profiles[t.profile()]
	if profile == nil {
		return nil
	}
	if rules, ok := t.prepared.Load(profile); ok {
		return rules.([]*sense.Rule)
	}
	rules, err := sense.Of(profile)
	if err != nil {
		t.log.Error("a rule can't be understood", "error", err) // the loader has refused such rules
	}
	t.prepared.Store(profile, rules)
	return rules
}

func (t *attempt) profile() string {
	if t.in.Profile == "" {
		return plan.DefaultProfile
	}
	return t.in.Profile
}

// rule is the rule that the attempt's event is for; nil: there is none.
func (t *attempt) rule() *sense.Rule {
	if t.in.Event == nil {
		return nil
	}
	for _, r := range t.rules() {
		if r.Name == t.in.Event.Rule {
			return r
		}
	}
	return nil
}

// left notes what a write made of an object: for this process's own later reads, and as each rule that watches the kind
// sees it.
func (t *attempt) left(s step) {
	if s.now != nil {
		t.marks.wrote(t.in.Instance.UID, s.key, (&unstructured.Unstructured{Object: s.now}).GetResourceVersion())
	} else {
		t.marks.deleted(t.in.Instance.UID, s.key, string((&unstructured.Unstructured{Object: s.before}).GetUID()))
	}
	rules := t.watching(s.key.Kind)
	if len(rules) == 0 {
		return
	}
	before, err := t.asSeen(s.key, s.before)
	if err != nil {
		t.log.Error("what was written can't be told to the rules", "error", err)
		return
	}
	now, err := t.asSeen(s.key, s.now)
	if err != nil {
		t.log.Error("what was written can't be told to the rules", "error", err)
		return
	}
	var changes plan.Changes
	for _, r := range rules {
		if c, ok := t.seenBy(r, before, now); ok {
			if s.unsure {
				c.Was = unsure
			}
			changes = append(changes, c)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wrote = append(t.wrote, changes...)
	t.wrote = t.wrote[:min(len(t.wrote), plan.MaxWrote)]
}

// seenBy is a rule's view of an object's step; false: it sees no difference.
func (t *attempt) seenBy(r *sense.Rule, before, now virtual.Object) (plan.Change, bool) {
	i, label := t.in.Instance, t.in.Instance.Label()
	gone := func(o virtual.Object) plan.Change {
		return plan.Change{Rule: r.Name, Namespace: o.Namespace, Name: o.Name, UID: plan.ShortUID(o.UID)}
	}
	was, is := gone(before), gone(now)
	sawBefore, seesNow := before.Exists() && r.Sees(i, label, before), now.Exists() && r.Sees(i, label, now)
	if sawBefore {
		was = r.Change(before)
	}
	switch {
	case seesNow:
		is = r.Change(now)
	case sawBefore:
		is = gone(before)
	}
	if !sawBefore && !seesNow || sawBefore && seesNow && sense.Same(was, is) {
		return plan.Change{}, false
	}
	is.Was = was.Hash
	return is, true
}

// asSeen is an object as the watcher would show it to a rule: with the instance that it belongs to.
func (t *attempt) asSeen(key virtual.Key, object map[string]any) (virtual.Object, error) {
	if object == nil {
		return virtual.Object{Key: key}, nil
	}
	o, err := asStored(key, object)
	if err != nil {
		return o, fmt.Errorf("decode %s: %w", key, err)
	}
	o.Instance = (&unstructured.Unstructured{Object: object}).GetLabels()[plan.InstanceLabel]
	if o.Instance == "" && t.objects != nil {
		// Whose an object is that carries no label follows from its owners and its release, which the store knows.
		if stored, ok := t.objects.Get(key); ok {
			o.Instance = stored.Instance
		}
	}
	return o, nil
}

func keyOf(ref plan.ObjectRef) virtual.Key {
	return virtual.Key{Kind: virtual.ParseKind(ref.APIVersion, ref.Kind), Namespace: ref.Namespace, Name: ref.Name}
}
