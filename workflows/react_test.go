package workflows

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// anyOrder compares what happened side by side.
var anyOrder = cmp.Transformer("sort", func(s []string) []string { return slices.Sorted(slices.Values(s)) })

// reactions are the lines of the log that reactions wrote.
func reactions(log []string) []string {
	out := []string{}
	for _, l := range log {
		if s, ok := strings.CutPrefix(l, "kube-patch fix "); ok {
			out = append(out, s)
		}
	}
	return out
}

// TestTransitions feeds one rule with states of objects and looks at what it reacts to.
func TestTransitions(t *testing.T) {
	one, two := changed("r", "a", "h1"), changed("r", "a", "h2")
	gone := plan.Change{Rule: "r", Namespace: "default", Name: "a", UID: "u-a"}
	again := two
	again.UID = "another"
	cases := []struct {
		name       string
		categories []plan.Category
		states     []plan.Change
		want       []string
	}{
		{"first sight is a change", []plan.Category{plan.DidChange}, []plan.Change{one}, []string{"ResourceDidCreate a@h1"}},
		{"the same state is no change", []plan.Category{plan.DidChange}, []plan.Change{one, one, one}, []string{"ResourceDidCreate a@h1"}},
		{"another state is", []plan.Category{plan.DidChange}, []plan.Change{one, two, one}, []string{"ResourceDidCreate a@h1", "ResourceDidUpdate a@h2", "ResourceDidUpdate a@h1"}},
		{"create only", []plan.Category{plan.DidCreate}, []plan.Change{one, two, gone, one}, []string{"ResourceDidCreate a@h1", "ResourceDidCreate a@h1"}},
		{"update only", []plan.Category{plan.DidUpdate}, []plan.Change{one, two, gone, one}, []string{"ResourceDidUpdate a@h2"}},
		{"delete only", []plan.Category{plan.DidDelete}, []plan.Change{one, two, gone}, []string{"ResourceDidDelete a@"}},
		{"change does not mean delete", []plan.Category{plan.DidChange}, []plan.Change{one, gone}, []string{"ResourceDidCreate a@h1"}},
		{"what was never there cannot go", []plan.Category{plan.DidDelete}, []plan.Change{gone}, []string{}},
		{"recreated", []plan.Category{plan.DidChange}, []plan.Change{one, again}, []string{"ResourceDidCreate a@h1", "ResourceDidCreate a@h2"}},
		{"recreated, with deletions", []plan.Category{plan.DidCreate, plan.DidDelete}, []plan.Change{one, again},
			[]string{"ResourceDidCreate a@h1", "ResourceDidDelete a@", "ResourceDidCreate a@h2"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, webProfile(rule("r", c.categories...)))
			for i, s := range c.states {
				w.at(time.Duration(i+1)*time.Minute, func() { w.dirty(s) })
			}
			w.end(time.Hour)
			if d := cmp.Diff(c.want, reactions(w.run(t, plan.MaintainInput{Instance: shop}))); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestChangesWaitForTheFirstDeployAndCoalesce(t *testing.T) {
	w := newWorld(t, webProfile(rule("r", plan.DidChange)))
	w.fail = func(in plan.CommandInput, attempt int32) error {
		if in.Command.Helm != nil && attempt < 5 {
			return errors.New("not yet")
		}
		return nil
	}
	w.at(time.Second, func() { w.dirty(changed("r", "a", "h1"), changed("r", "b", "h1")) })
	w.at(2*time.Second, func() { w.dirty(changed("r", "a", "h2")) })
	w.end(time.Hour)
	got := w.run(t, plan.MaintainInput{Instance: shop})
	if d := cmp.Diff([]string{"ResourceDidCreate a@h2", "ResourceDidCreate b@h1"}, reactions(got), anyOrder); d != "" {
		t.Error(d)
	}
}

func TestOneReactionForAnObjectAtATime(t *testing.T) {
	w := newWorld(t, webProfile(rule("r", plan.DidChange)))
	slow := true
	w.fail = func(in plan.CommandInput, attempt int32) error {
		if slow && in.Event != nil && in.Event.Change.Name == "a" {
			return errors.New("not yet")
		}
		return nil
	}
	w.at(time.Minute, func() { w.dirty(changed("r", "a", "h1"), changed("r", "b", "h1")) })
	w.at(2*time.Minute, func() { w.dirty(changed("r", "a", "h2"), changed("r", "b", "h2")) })
	w.at(3*time.Minute, func() { slow = false })
	w.end(time.Hour)
	done := []string{}
	for _, l := range reactions(w.run(t, plan.MaintainInput{Instance: shop})) {
		if !strings.HasSuffix(l, "fails") {
			done = append(done, l)
		}
	}
	want := []string{"ResourceDidCreate b@h1", "ResourceDidUpdate b@h2", "ResourceDidCreate a@h1", "ResourceDidUpdate a@h2"}
	if d := cmp.Diff(want, done); d != "" {
		t.Error(d)
	}
}

func TestStalledReactionIsNamedAndRestsUntilTheObjectChanges(t *testing.T) {
	w := newWorld(t, webProfile(rule("r", plan.DidChange)))
	w.fail = func(in plan.CommandInput, _ int32) error {
		if in.Event != nil && in.Event.Change.Hash == "bad" {
			return terminal("cannot be patched")
		}
		return nil
	}
	w.at(time.Minute, func() { w.dirty(changed("r", "a", "bad"), changed("r", "b", "h1")) })
	w.at(61*time.Second, func() { w.dirty(changed("r", "a", "good")) })
	w.end(time.Hour)
	got := reactions(w.run(t, plan.MaintainInput{Instance: shop}))
	if d := cmp.Diff([]string{"ResourceDidCreate a@bad fails", "ResourceDidCreate b@h1", "ResourceDidCreate a@good"}, got, anyOrder); d != "" {
		t.Error(d)
	}
	s := w.lastStatus(plan.PhaseStalled)
	if s == nil || !strings.Contains(s.Message, `rule "r" on Service default/a`) || !strings.Contains(s.Message, "cannot be patched") {
		t.Errorf("Stalled status = %+v", s)
	}
	if last := w.statuses[len(w.statuses)-1]; last.Phase == plan.PhaseStalled {
		t.Error("still Stalled at the end")
	}
}

func TestAHalfHandledCreationIsAnnouncedAsDeleted(t *testing.T) {
	w := newWorld(t, webProfile(rule("r", plan.DidCreate, plan.DidDelete)))
	w.fail = func(in plan.CommandInput, _ int32) error {
		if in.Event != nil && in.Event.Category == plan.DidCreate {
			return terminal("no")
		}
		return nil
	}
	w.at(time.Minute, func() { w.dirty(changed("r", "a", "h1")) })
	w.at(61*time.Second, func() { w.dirty(plan.Change{Rule: "r", Namespace: "default", Name: "a", UID: "u-a"}) })
	w.end(time.Hour)
	got := reactions(w.run(t, plan.MaintainInput{Instance: shop}))
	if d := cmp.Diff([]string{"ResourceDidCreate a@h1 fails", "ResourceDidDelete a@"}, got); d != "" {
		t.Error(d)
	}
}

func TestResyncFindsWhatHappenedWhileNobodyWatched(t *testing.T) {
	resync := func(id string, part int, last bool, cs ...plan.Change) plan.Resync {
		return plan.Resync{ID: id, Part: part, Last: last, Changes: cs}
	}
	a1, a2, b1, c1 := changed("r", "a", "h1"), changed("r", "a", "h2"), changed("r", "b", "h1"), changed("r", "c", "h1")
	cases := []struct {
		name  string
		lists []plan.Resync
		want  []string
	}{
		{"changed, gone, new", []plan.Resync{resync("x", 0, true, a2, c1)}, []string{"ResourceDidUpdate a@h2", "ResourceDidCreate c@h1", "ResourceDidDelete b@"}},
		{"nothing", []plan.Resync{resync("x", 0, true, a1, b1)}, []string{}},
		{"in parts", []plan.Resync{resync("x", 0, false, a1), resync("x", 1, true, b1)}, []string{}},
		{"a part is missing: no deletion is concluded", []plan.Resync{resync("x", 0, false, a1), resync("x", 2, true)}, []string{}},
		{"interrupted by a newer list", []plan.Resync{resync("x", 0, false, a1), resync("y", 0, true, b1)}, []string{"ResourceDidDelete a@"}},
		{"a part of an unknown list", []plan.Resync{resync("x", 1, true, a2)}, []string{"ResourceDidUpdate a@h2"}},
		{"empty list: all gone", []plan.Resync{resync("x", 0, true)}, []string{"ResourceDidDelete a@", "ResourceDidDelete b@"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, webProfile(rule("r", plan.DidChange, plan.DidDelete)))
			w.at(time.Minute, func() { w.dirty(a1, b1) })
			w.at(2*time.Minute, func() {
				w.mu.Lock()
				w.log = nil
				w.mu.Unlock()
				for _, l := range c.lists {
					w.SignalWorkflow(plan.SignalResync, l)
				}
			})
			w.end(time.Hour)
			if d := cmp.Diff(c.want, reactions(w.run(t, plan.MaintainInput{Instance: shop})), anyOrder); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestManyReactionsAreBoundedAndStatusIsNotAStorm(t *testing.T) {
	w := newWorld(t, webProfile(rule("r", plan.DidChange)))
	w.at(time.Minute, func() {
		for i := range 10 {
			var batch []plan.Change
			for j := range 50 {
				batch = append(batch, changed("r", fmt.Sprintf("o%d-%d", i, j), "h"))
			}
			w.dirty(batch...)
		}
	})
	w.end(time.Hour)
	if n := len(reactions(w.run(t, plan.MaintainInput{Instance: shop}))); n != 500 {
		t.Errorf("%d reactions, want 500", n)
	}
	if n := len(w.statuses); n > 20 {
		t.Errorf("%d status writes for 500 reactions", n)
	}
}

func TestOneRuleCannotTakeAllPlaces(t *testing.T) {
	w := newWorld(t, webProfile(rule("greedy", plan.DidChange), rule("modest", plan.DidChange)))
	w.fail = func(in plan.CommandInput, _ int32) error {
		if in.Event != nil && in.Event.Rule == "greedy" {
			return errors.New("the target is missing")
		}
		return nil
	}
	w.at(time.Minute, func() {
		for i := range 40 {
			w.dirty(changed("greedy", fmt.Sprintf("g%d", i), "h"))
		}
		w.dirty(changed("modest", "m", "h"))
	})
	w.at(2*time.Minute, func() {
		if n := count(reactions(w.log), "ResourceDidCreate m@h"); n != 1 {
			t.Errorf("the other rule reacted %d times", n)
		}
	})
	w.end(3 * time.Minute)
	w.run(t, plan.MaintainInput{Instance: shop})
}
