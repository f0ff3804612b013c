package workflows

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

func with(c plan.Change, change func(*plan.Change)) plan.Change {
	change(&c)
	return c
}

func healthy(h plan.Health) func(*plan.Change) { return func(c *plan.Change) { c.Health = h } }

// TestTurnsOfHealthAndTheEnd feeds rules that sense health and deletion.
func TestTurnsOfHealthAndTheEnd(t *testing.T) {
	one := changed("r", "a", "-")
	deleting := with(one, func(c *plan.Change) { c.Deleting, c.Health = true, plan.Unready })
	gone := plan.Change{Rule: "r", Namespace: "default", Name: "a", UID: "u-a"}
	health := []plan.Category{plan.DidBecomeReady, plan.DidBecomeUnready, plan.DidFail}
	cases := []struct {
		name       string
		categories []plan.Category
		states     []plan.Change
		want       []string
	}{
		{"ready at first sight", health, []plan.Change{with(one, healthy(plan.Ready))}, []string{"ResourceDidBecomeReady a@-"}},
		{"not yet ready became nothing", health, []plan.Change{with(one, healthy(plan.Unready))}, []string{}},
		{"each turn once", health, []plan.Change{with(one, healthy(plan.Unready)), with(one, healthy(plan.Ready)), with(one, healthy(plan.Ready)),
			with(one, healthy(plan.Unready)), with(one, healthy(plan.Failed)), with(one, healthy(plan.Ready))},
			[]string{"ResourceDidBecomeReady a@-", "ResourceDidBecomeUnready a@-", "ResourceDidFail a@-", "ResourceDidBecomeReady a@-"}},
		{"only failures", []plan.Category{plan.DidFail}, []plan.Change{with(one, healthy(plan.Ready)), with(one, healthy(plan.Failed)),
			with(one, healthy(plan.Ready)), with(one, healthy(plan.Failed))}, []string{"ResourceDidFail a@-", "ResourceDidFail a@-"}},
		{"will delete, then did", []plan.Category{plan.WillDelete, plan.DidDelete}, []plan.Change{one, deleting, deleting, gone},
			[]string{"ResourceWillDelete a@-", "ResourceDidDelete a@"}},
		{"being deleted at first sight", []plan.Category{plan.WillDelete}, []plan.Change{deleting}, []string{"ResourceWillDelete a@-"}},
		{"a state that was overtaken", []plan.Category{plan.DidChange}, []plan.Change{
			with(changed("r", "a", "h2"), func(c *plan.Change) { c.ResourceVersion = "10" }),
			with(changed("r", "a", "h1"), func(c *plan.Change) { c.ResourceVersion = "9" })}, []string{"ResourceDidCreate a@h2"}},
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

func TestARuleThatDecidesNotToActHasHandledTheState(t *testing.T) {
	r := rule("r", plan.DidChange)
	r.Decide = &plan.Decide{When: "false"}
	w := newWorld(t, webProfile(r))
	asked := 0
	w.verdict = func(in plan.DecideInput) (plan.DecideResult, error) {
		asked++
		return plan.DecideResult{Act: in.Event.Change.Hash == "h2", Because: "when is false"}, nil
	}
	w.at(time.Minute, func() { w.dirty(changed("r", "a", "h1")) })
	w.at(2*time.Minute, func() { w.dirty(changed("r", "a", "h1")) })
	w.at(3*time.Minute, func() {
		if s := w.lastStatus(plan.PhaseReady); s == nil || s.Rules[0].State != plan.StateSkipped || s.Rules[0].Message != "when is false" {
			t.Errorf("the status does not say that the rule decided against: %+v", s)
		}
		w.dirty(changed("r", "a", "h2"))
	})
	w.end(time.Hour)
	if d := cmp.Diff([]string{"ResourceDidUpdate a@h2"}, reactions(w.run(t, plan.MaintainInput{Instance: shop}))); d != "" {
		t.Error(d)
	}
	if asked != 2 {
		t.Errorf("decided %d times about two states", asked)
	}
}

func TestAFailingDecisionStallsTheReaction(t *testing.T) {
	r := rule("r", plan.DidChange)
	r.Decide = &plan.Decide{When: "object.spec.nope"}
	w := newWorld(t, webProfile(r))
	w.verdict = func(plan.DecideInput) (plan.DecideResult, error) {
		return plan.DecideResult{}, terminal("no such key: nope")
	}
	w.at(time.Minute, func() { w.dirty(changed("r", "a", "h1")) })
	w.end(2 * time.Minute)
	if d := cmp.Diff([]string{}, reactions(w.run(t, plan.MaintainInput{Instance: shop}))); d != "" {
		t.Error(d)
	}
	if s := w.lastStatus(plan.PhaseStalled); s == nil || !strings.Contains(s.Message, "no such key: nope") {
		t.Errorf("the status does not name the decision's error: %+v", s)
	}
}

// An action that writes what its rule watches: the cluster tells of the new state, and nothing follows from it.
func TestARuleDoesNotReactToWhatItWroteItself(t *testing.T) {
	for _, was := range []string{"h1", "somebody else's"} {
		w := newWorld(t, webProfile(rule("r", plan.DidChange)))
		w.wrote = func(in plan.CommandInput) []plan.Change {
			c := in.Event.Change
			c.Was, c.Hash = c.Hash, c.Hash+"+own"
			if c.Was == "h1" {
				c.Was = was
			}
			return []plan.Change{c}
		}
		w.at(time.Minute, func() { w.dirty(changed("r", "a", "h1")) })
		w.at(2*time.Minute, func() { w.dirty(changed("r", "a", "h1+own")) })
		w.end(time.Hour)
		want := []string{"ResourceDidCreate a@h1"}
		if was != "h1" { // a change of somebody else's went in with the write: the rule has to hear of it
			want = append(want, "ResourceDidUpdate a@h1+own")
		}
		if d := cmp.Diff(want, reactions(w.run(t, plan.MaintainInput{Instance: shop}))); d != "" {
			t.Errorf("state before the write %q: %s", was, d)
		}
	}
}

// Two rules that write against each other, for ever: each state of the object comes back to the other rule.
func TestRulesThatWriteAgainstEachOtherAreStopped(t *testing.T) {
	for _, late := range []bool{false, true} { // whether the cluster tells of a write before or after its result is here
		one, two := rule("one", plan.DidChange), rule("two", plan.DidChange)
		w := newWorld(t, webProfile(one, two))
		n := 0
		w.wrote = func(in plan.CommandInput) []plan.Change {
			if n++; n > 50 {
				t.Error("nobody stops the loop")
				return nil
			}
			mine := in.Event.Change
			mine.Was, mine.Hash = mine.Hash, fmt.Sprint("h", n)
			other := mine
			other.Rule = map[string]string{"one": "two", "two": "one"}[in.Event.Rule]
			tell := func() { w.dirty(mine, with(other, func(c *plan.Change) { c.Was = "" })) }
			if late {
				w.at(time.Second, tell)
			} else {
				tell()
			}
			return []plan.Change{mine, other}
		}
		w.at(time.Minute, func() { w.dirty(changed("one", "a", "h0")) })
		w.at(10*time.Minute, func() {
			if n > 20 {
				t.Errorf("%d reactions before the loop was stopped", n)
			}
			s := w.lastStatus(plan.PhaseStalled)
			if s == nil || s.Reason != "RulesLoop" || !strings.Contains(s.Message, `"one"`) || !strings.Contains(s.Message, `"two"`) {
				t.Fatalf("the status does not name the loop: %+v", s)
			}
			if !slices.ContainsFunc(s.Rules, func(r plan.RuleStatus) bool { return r.State == plan.StateLooping }) {
				t.Errorf("no rule's status says that it loops: %+v", s.Rules)
			}
		})
		stopped := 0
		w.at(11*time.Minute, func() {
			stopped = n
			w.wrote = nil // the author has mended it
			w.dirty(changed("one", "a", "foreign"), changed("two", "a", "foreign"))
		})
		w.end(time.Hour)
		log := w.run(t, plan.MaintainInput{Instance: shop})
		if got := count(log, "announce RulesLoop"); got != 1 {
			t.Errorf("late=%v: announced %d times", late, got)
		}
		for _, r := range []string{"kube-patch fix ResourceDidUpdate a@foreign"} {
			if got := count(log, r); got != 2 {
				t.Errorf("late=%v: %d of 2 rules went on after a foreign change (%d reactions before)", late, got, stopped)
			}
		}
		if w.lastStatus(plan.PhaseReady) == nil {
			t.Error("never ready")
		}
	}
}

func TestManyForeignChangesAreNoLoop(t *testing.T) {
	w := newWorld(t, webProfile(rule("one", plan.DidChange), rule("two", plan.DidChange)))
	// Each change is answered by one write that the other rule sees, and that is all.
	w.wrote = func(in plan.CommandInput) []plan.Change {
		if in.Event.Rule == "two" {
			return nil
		}
		c := changed("two", "b", "from "+in.Event.Change.Hash)
		w.dirty(c)
		return []plan.Change{c}
	}
	for i := range 40 {
		w.at(time.Minute+time.Duration(i)*200*time.Millisecond, func() { w.dirty(changed("one", "a", fmt.Sprint("h", i))) })
	}
	w.end(time.Hour)
	log := w.run(t, plan.MaintainInput{Instance: shop})
	if got := len(reactions(log)); got != 80 {
		t.Errorf("%d of 80 reactions", got)
	}
}

func TestAStalledActionIsAFailureOfTheObject(t *testing.T) {
	w := newWorld(t, webProfile(rule("r", plan.DidChange), rule("rescue", plan.DidFail)))
	w.fail = func(in plan.CommandInput, _ int32) error {
		if in.Event != nil && in.Event.Rule == "r" {
			return terminal("cannot be patched")
		}
		return nil
	}
	w.at(time.Minute, func() {
		w.dirty(changed("r", "a", "h1"), with(changed("rescue", "a", "-"), healthy(plan.Ready)), changed("rescue", "b", "-"))
	})
	w.end(90 * time.Second)
	log := w.run(t, plan.MaintainInput{Instance: shop})
	if got := count(log, "kube-patch fix ResourceDidFail a@-"); got != 1 {
		t.Errorf("the failure was handled %d times: %q", got, log)
	}
}

func TestTimersFireOnTimeAndOnlyThen(t *testing.T) {
	every, hourly := rule("every", plan.TimerDidFire), rule("hourly", plan.TimerDidFire)
	every.Watch = plan.Watch{Categories: every.Watch.Categories, Every: second(600)}
	hourly.Watch = plan.Watch{Categories: hourly.Watch.Categories, Cron: "@hourly"}
	w := newWorld(t, webProfile(every, hourly))
	start := time.Date(2026, 1, 1, 9, 50, 0, 0, time.UTC)
	w.SetStartTime(start)
	w.end(45 * time.Minute)
	log := reactions(w.run(t, plan.MaintainInput{Instance: shop}))
	var ten, hour int
	for _, l := range log {
		if strings.HasSuffix(l, "T10:00:00Z") {
			hour++
		}
		ten++
	}
	if hour < 1 || ten != 5 { // after 10, 20, 30, 40 minutes, and at ten o'clock
		t.Errorf("fired: %q", log)
	}
}

func TestALiveQueryIsHandledOncePerResult(t *testing.T) {
	r := rule("q", plan.QueryDidChange)
	r.Watch = plan.Watch{Categories: r.Watch.Categories, SQL: &plan.Query{Text: "SELECT 1"}}
	w := newWorld(t, webProfile(r))
	rows := func(hash string) plan.Change { return plan.Change{Rule: "q", Hash: hash} }
	w.at(time.Minute, func() { w.dirty(rows("h1"), rows("h1")) })
	w.at(2*time.Minute, func() { w.dirty(rows("h1")) })
	w.at(3*time.Minute, func() { w.dirty(rows("h2")) })
	w.at(4*time.Minute, func() { w.SignalWorkflow(plan.SignalResync, plan.Resync{ID: "x", Last: true}) })
	w.at(5*time.Minute, func() { w.dirty(rows("h2")) })
	w.end(time.Hour)
	want := []string{"QueryDidChange @h1", "QueryDidChange @h2"}
	if d := cmp.Diff(want, reactions(w.run(t, plan.MaintainInput{Instance: shop}))); d != "" {
		t.Error(d)
	}
}

func TestAHeldObjectIsLetGoWhenTheActionIsDone(t *testing.T) {
	r := rule("r", plan.WillDelete)
	r.Watch.Hold = true
	w := newWorld(t, webProfile(r))
	a := changed("r", "a", "-")
	w.at(time.Minute, func() { w.dirty(a, changed("r", "b", "-")) })
	w.at(2*time.Minute, func() { w.dirty(a) })
	w.at(3*time.Minute, func() { w.dirty(with(a, func(c *plan.Change) { c.Deleting = true })) })
	w.end(time.Hour)
	var got []string
	for _, l := range w.run(t, plan.MaintainInput{Instance: shop}) {
		if strings.HasPrefix(l, "hold") && strings.Contains(l, " a ") || strings.HasPrefix(l, "kube-patch") {
			got = append(got, l)
		}
	}
	want := []string{"hold r a remove=false", "kube-patch fix ResourceWillDelete a@-", "hold r a remove=true", "hold r a remove=true"}
	if d := cmp.Diff(want, got); d != "" { // once more at the end, when nothing is held any more
		t.Error(d)
	}
	if got := count(w.log, "hold r b remove=true"); got != 1 {
		t.Errorf("b was let go %d times before the undeploy", got)
	}
}

// A list and what happened after it was made may be found together: the list must not bury the newcomer.
func TestAListDoesNotUndoWhatWasToldAfterIt(t *testing.T) {
	w := newWorld(t, webProfile(rule("r", plan.DidChange, plan.DidDelete)))
	w.at(0, func() { // before the first look at what was told
		w.SignalWorkflow(plan.SignalDirty, plan.Dirty{At: 2, Changes: []plan.Change{changed("r", "a", "h1")}})
		w.SignalWorkflow(plan.SignalResync, plan.Resync{At: 1, ID: "x", Last: true})
	})
	w.end(time.Hour)
	if d := cmp.Diff([]string{"ResourceDidCreate a@h1"}, reactions(w.run(t, plan.MaintainInput{Instance: shop}))); d != "" {
		t.Error(d)
	}
}

func TestAStalledEndOfAPredecessorRests(t *testing.T) {
	w := newWorld(t, webProfile(rule("r", plan.DidDelete)))
	fails := 0
	w.fail = func(in plan.CommandInput, _ int32) error {
		if in.Event != nil {
			fails++
			return terminal("cannot say goodbye")
		}
		return nil
	}
	w.at(time.Minute, func() { w.dirty(changed("r", "a", "-")) })
	w.at(2*time.Minute, func() { w.dirty(with(changed("r", "a", "-"), func(c *plan.Change) { c.UID = "another" })) })
	w.end(3 * time.Minute)
	w.run(t, plan.MaintainInput{Instance: shop})
	if fails < 1 || fails > 3 { // at once, after 30 s, after 90 s
		t.Errorf("tried %d times within a minute", fails)
	}
}

func TestAProcessOfAnotherRevisionDoesNotTakeTheResourceBack(t *testing.T) {
	w := newWorld(t, webProfile(rule("r", plan.DidChange)))
	w.at(time.Minute, func() { w.send(plan.ResourceSignal{Generation: 1, Revision: "r2", Profile: "default"}) })
	w.at(2*time.Minute, func() { w.resource.Revision = "r2" }) // until then a replica of r1 has answered
	w.at(time.Hour, func() {
		if s := w.lastStatus(plan.PhaseReady); s == nil || s.Revision != "r2" {
			t.Errorf("the status is %+v", s)
		}
	})
	w.end(2 * time.Hour)
	w.run(t, plan.MaintainInput{Instance: shop})
}

// holds are the lines of the log about one object's finalizer.
func holds(log []string, name string) []string {
	out := []string{}
	for _, l := range log {
		if strings.HasPrefix(l, "hold ") && strings.Contains(l, " "+name+" ") {
			out = append(out, l)
		}
	}
	return out
}

func TestNothingIsHeldForEver(t *testing.T) {
	holding := func() plan.Rule {
		r := rule("r", plan.WillDelete)
		r.Watch.Hold = true
		return r
	}
	hold, letGo := "hold r a remove=false", "hold r a remove=true"
	t.Run("when it is no longer the rule's", func(t *testing.T) {
		w := newWorld(t, webProfile(holding()))
		w.at(time.Minute, func() { w.dirty(changed("r", "a", "-")) })
		w.at(2*time.Minute, func() { w.dirty(with(changed("r", "a", ""), func(*plan.Change) {})) })
		w.end(time.Hour)
		if d := cmp.Diff([]string{hold, letGo}, holds(w.run(t, plan.MaintainInput{Instance: shop}), "a")); d != "" {
			t.Error(d)
		}
	})
	t.Run("when the resource is let go by hand", func(t *testing.T) {
		w := newWorld(t, webProfile(holding()))
		w.at(time.Minute, func() { w.dirty(changed("r", "a", "-")) })
		w.at(time.Hour, func() { w.send(plan.ResourceSignal{Generation: 1, Revision: "r1", Profile: "default", Gone: true}) })
		if d := cmp.Diff([]string{hold, letGo}, holds(w.run(t, plan.MaintainInput{Instance: shop}), "a")); d != "" {
			t.Error(d)
		}
	})
	t.Run("when the rule holds no more, and again when it does", func(t *testing.T) {
		plain := holding()
		plain.Watch.Hold = false
		w := newWorld(t, webProfile(plain))
		next := func(at time.Duration, revision string, r plan.Rule) {
			w.at(at, func() {
				w.resource.Revision, w.profile = revision, webProfile(r)
				w.send(w.resource)
			})
			w.at(at+time.Minute, func() { w.dirty(changed("r", "a", "-")) })
		}
		w.at(time.Minute, func() { w.dirty(changed("r", "a", "-")) })
		next(10*time.Minute, "r2", holding())
		next(20*time.Minute, "r3", plain)
		next(30*time.Minute, "r4", holding())
		w.end(time.Hour)
		want := []string{hold, letGo, hold, letGo}
		if d := cmp.Diff(want, holds(w.run(t, plan.MaintainInput{Instance: shop}), "a")); d != "" {
			t.Error(d)
		}
	})
}

func TestTroubleDoesNotBuryANewerState(t *testing.T) {
	b := rule("b", plan.DidChange, plan.DidFail, plan.DidDelete)
	w := newWorld(t, webProfile(rule("r", plan.DidChange), b))
	w.fail = func(in plan.CommandInput, _ int32) error {
		if in.Event != nil && in.Event.Rule == "r" {
			return terminal("cannot be patched")
		}
		return nil
	}
	w.at(time.Minute, func() { w.dirty(changed("b", "a", "h1")) })
	w.at(2*time.Minute, func() { w.dirty(changed("r", "a", "h2"), changed("b", "a", "h2")) })
	w.end(150 * time.Second)
	log := reactions(w.run(t, plan.MaintainInput{Instance: shop}))
	if count(log, "ResourceDidFail a@h2")+count(log, "ResourceDidUpdate a@h2") < 1 || count(log, "ResourceDidDelete a@") != 0 {
		t.Errorf("rule b heard %q", log)
	}
}

func TestManyDecisionsAreSpreadOverWorkflowTasks(t *testing.T) {
	r := rule("r", plan.DidChange)
	r.Decide = &plan.Decide{When: "false"}
	w := newWorld(t, webProfile(r))
	asked := 0
	w.verdict = func(plan.DecideInput) (plan.DecideResult, error) {
		asked++
		return plan.DecideResult{Because: "when is false"}, nil
	}
	timers := 0
	w.SetOnTimerScheduledListener(func(_ string, d time.Duration) {
		if d == time.Millisecond {
			timers++
		}
	})
	const n = 1000
	w.at(time.Minute, func() {
		var all []plan.Change
		for i := range n {
			all = append(all, changed("r", fmt.Sprint("o", i), "h"))
		}
		w.dirty(all...)
	})
	w.end(time.Hour)
	w.run(t, plan.MaintainInput{Instance: shop})
	if asked != n || timers < n/maxDecisions-1 {
		t.Errorf("%d of %d decided, in %d workflow tasks", asked, n, timers+1)
	}
}
