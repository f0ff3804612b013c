package workflows

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

func webProfile(rules ...plan.Rule) *plan.Profile {
	undo := command(plan.KindHelm, "web")
	undo.Helm.Absent, undo.Helm.Undoes = true, "web"
	return &plan.Profile{Name: "default", Deploy: []plan.Command{command(plan.KindHelm, "web")}, Rules: rules, Undeploy: []plan.Command{undo}}
}

func TestResourceIsDeployedAndUndeployed(t *testing.T) {
	w := newWorld(t, webProfile())
	w.end(time.Minute)
	got := w.run(t, plan.MaintainInput{Instance: shop})
	want := []string{"finalizer remove=false", "helm web", "helm web", "finalizer remove=true"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	ready := w.lastStatus(plan.PhaseReady)
	if ready == nil || ready.Generation != 1 || ready.Commands[0].State != plan.StateSucceeded || ready.Commands[0].Message != "done" {
		t.Errorf("Ready status = %+v", ready)
	}
}

func TestFailedAttemptsAreRetriedAndCounted(t *testing.T) {
	w := newWorld(t, webProfile())
	w.fail = func(in plan.CommandInput, attempt int32) error {
		if in.Command.Helm.Undoes == "" && attempt < 4 {
			return errors.New("not yet")
		}
		return nil
	}
	w.end(time.Hour)
	got := w.run(t, plan.MaintainInput{Instance: shop})
	if n := count(got, "helm web fails"); n != 3 {
		t.Errorf("%d failed attempts, want 3: %v", n, got)
	}
	if s := w.lastStatus(plan.PhaseReady); s == nil || s.Commands[0].Attempts != 4 {
		t.Errorf("Ready status = %+v", s)
	}
}

func TestTerminalErrorStallsAndIsTriedAgainSlowly(t *testing.T) {
	w := newWorld(t, webProfile())
	broken := true
	w.fail = func(in plan.CommandInput, _ int32) error {
		if broken {
			return terminal("forbidden")
		}
		return nil
	}
	w.at(40*time.Second, func() { broken = false }) // between the first and the second slow retry
	w.end(time.Hour)
	got := w.run(t, plan.MaintainInput{Instance: shop})
	if n := count(got, "helm web fails"); n != 2 {
		t.Errorf("%d failed deploys, want 2 (at once, after 30 s): %v", n, got)
	}
	s := w.lastStatus(plan.PhaseStalled)
	if s == nil || !strings.Contains(s.Message, "forbidden; mend it") || s.Commands[0].State != plan.StateFailed {
		t.Errorf("Stalled status = %+v", s)
	}
	if w.lastStatus(plan.PhaseReady) == nil {
		t.Error("never Ready")
	}
}

func TestNewGenerationSupersedesARunningDeploy(t *testing.T) {
	w := newWorld(t, webProfile())
	first := true
	w.block = func(in plan.CommandInput) bool {
		b := first && in.Command.Helm.Undoes == ""
		first = false
		return b
	}
	w.at(time.Second, func() {
		w.resource.Generation = 2
		w.send(w.resource)
	})
	w.end(time.Hour)
	got := w.run(t, plan.MaintainInput{Instance: shop})
	// That the next one waits for the end of the running command is shown on a real server: the test environment
	// reports a cancelled activity at once.
	if count(got, "helm web blocks") != 1 || count(got, "helm web") != 2 {
		t.Error(got)
	}
	if s := w.lastStatus(plan.PhaseReady); s == nil || s.Generation != 2 {
		t.Errorf("Ready status = %+v", s)
	}
}

func TestNewRevisionLeadsToANewDeploy(t *testing.T) {
	w := newWorld(t, webProfile())
	w.at(time.Minute, func() {
		w.resource.Revision, w.profile = "r2", &plan.Profile{Name: "default", Deploy: []plan.Command{command(plan.KindHelm, "web2")}}
		w.send(w.resource)
	})
	w.end(time.Hour)
	got := w.run(t, plan.MaintainInput{Instance: shop})
	if count(got, "helm web") != 1 || count(got, "helm web2") != 1 {
		t.Error(got)
	}
}

func TestDeletionDuringDeployCancelsIt(t *testing.T) {
	w := newWorld(t, webProfile())
	w.block = func(in plan.CommandInput) bool { return in.Command.Helm.Undoes == "" }
	w.end(time.Second)
	got := w.run(t, plan.MaintainInput{Instance: shop})
	if count(got, "helm web blocks") != 1 || count(got, "helm web") != 1 || got[len(got)-1] != "finalizer remove=true" {
		t.Error(got)
	}
}

func TestGoneResourceEndsWithoutUndeploy(t *testing.T) {
	w := newWorld(t, webProfile())
	w.at(time.Minute, func() { w.send(plan.ResourceSignal{Gone: true}) })
	got := w.run(t, plan.MaintainInput{Instance: shop})
	if d := cmp.Diff([]string{"finalizer remove=false", "helm web"}, got); d != "" {
		t.Error(d)
	}
}

func TestStalledUndeployIsTriedAgain(t *testing.T) {
	w := newWorld(t, webProfile())
	fails := 2
	w.fail = func(in plan.CommandInput, _ int32) error {
		if in.Command.Helm.Undoes != "" && fails > 0 {
			fails--
			return terminal("forbidden")
		}
		return nil
	}
	w.end(time.Minute)
	got := w.run(t, plan.MaintainInput{Instance: shop})
	if got[len(got)-1] != "finalizer remove=true" || count(got, "helm web fails") != 2 {
		t.Error(got)
	}
	if s := w.lastStatus(plan.PhaseStalled); s == nil || !strings.Contains(s.Message, "forbidden") {
		t.Errorf("Stalled status = %+v", s)
	}
}

func TestUnknownProfileStallsUntilItExists(t *testing.T) {
	w := newWorld(t, nil)
	w.resource.Profile, w.planError = "big", `operator "shop" has no profile "big"`
	w.at(time.Minute, func() {
		w.resource.Profile, w.planError, w.profile = "default", "", webProfile()
		w.send(w.resource)
	})
	w.end(time.Hour)
	got := w.run(t, plan.MaintainInput{Instance: shop})
	if s := w.lastStatus(plan.PhaseStalled); s == nil || !strings.Contains(s.Message, `no profile "big"`) {
		t.Errorf("Stalled status = %+v", s)
	}
	if count(got, "helm web") != 2 { // deploy and undeploy
		t.Error(got)
	}
}

func TestInventoryReachesUndeploy(t *testing.T) {
	undo := command(plan.KindKubeApply, "conf")
	undo.Apply.Absent, undo.Apply.Undoes = true, "conf"
	w := newWorld(t, &plan.Profile{Name: "default", Deploy: []plan.Command{command(plan.KindKubeApply, "conf")}, Undeploy: []plan.Command{undo}})
	var inventory []plan.ObjectRef
	w.fail = func(in plan.CommandInput, _ int32) error {
		if in.Command.Apply.Absent {
			inventory = in.Inventory
		}
		return nil
	}
	w.end(time.Minute)
	w.run(t, plan.MaintainInput{Instance: shop})
	if len(inventory) != 1 || inventory[0].Name != "conf" {
		t.Errorf("inventory = %v", inventory)
	}
	if s := w.lastStatus(plan.PhaseReady); s == nil || len(s.Inventory) != 1 {
		t.Errorf("Ready status = %+v", s)
	}
}

func TestPauseHoldsAndResumeGoesOn(t *testing.T) {
	w := newWorld(t, webProfile(rule("r", plan.DidChange)))
	w.at(time.Minute, func() { w.UpdateWorkflow(UpdatePause, "1", &updateResult{t: t}) })
	w.at(2*time.Minute, func() {
		w.resource.Generation = 2
		w.send(w.resource)
		w.dirty(changed("r", "a", "h1"))
	})
	w.at(3*time.Minute, func() {
		if n := len(w.log); n != 2 {
			t.Errorf("something happened in the pause: %v", w.log)
		}
		w.UpdateWorkflow(UpdateResume, "2", &updateResult{t: t})
	})
	w.end(time.Hour)
	got := w.run(t, plan.MaintainInput{Instance: shop})
	if count(got, "helm web") != 3 || count(got, "kube-patch fix ResourceDidCreate a@h1") != 1 {
		t.Error(got)
	}
}

func TestSyncDeploysAgainAndRetryIsRefusedWhereNothingStalled(t *testing.T) {
	w := newWorld(t, webProfile())
	w.at(time.Minute, func() { w.UpdateWorkflow(UpdateSync, "1", &updateResult{t: t}) })
	refused := &updateResult{t: t, rejected: "nothing has stalled"}
	w.at(2*time.Minute, func() { w.UpdateWorkflow(UpdateRetry, "2", refused) })
	w.end(time.Hour)
	got := w.run(t, plan.MaintainInput{Instance: shop})
	if count(got, "helm web") != 3 { // twice deployed, once undone
		t.Error(got)
	}
	if refused.rejected != "" {
		t.Error("retry was accepted")
	}
}

// TestNoSignalIsLostWhileContinuingAsNew lets signals arrive between the server's wish that the run should end and its end.
func TestNoSignalIsLostWhileContinuingAsNew(t *testing.T) {
	w := newWorld(t, webProfile(rule("r", plan.DidChange)))
	w.fail = func(in plan.CommandInput, attempt int32) error {
		if in.Command.Helm != nil && attempt < 5 {
			return errors.New("not yet")
		}
		return nil
	}
	w.at(time.Second, func() {
		w.SetContinueAsNewSuggested(true)
		w.dirty(changed("r", "a", "h1"))
		w.dirty(changed("r", "b", "h1"))
		w.SignalWorkflow(plan.SignalResync, plan.Resync{ID: "x", Last: true, Changes: []plan.Change{changed("r", "c", "h1"), changed("r", "a", "h2"), changed("r", "b", "h1")}})
		w.send(plan.ResourceSignal{Generation: 1, Revision: "r1", Profile: "default"})
	})
	w.ExecuteWorkflow(plan.WorkflowMaintain, plan.MaintainInput{Instance: shop})
	var can *workflow.ContinueAsNewError
	if !errors.As(w.GetWorkflowError(), &can) {
		t.Fatalf("did not continue as new: %v", w.GetWorkflowError())
	}
	var in plan.MaintainInput
	if err := converter.GetDefaultDataConverter().FromPayloads(can.Input, &in); err != nil {
		t.Fatal(err)
	}
	var pending []string
	for _, c := range in.State.Pending {
		pending = append(pending, c.Name+"@"+c.Hash)
	}
	if d := cmp.Diff([]string{"a@h2", "b@h1", "c@h1"}, pending); d != "" {
		t.Error(d)
	}
	if in.State.Deployed == nil || !in.State.Established {
		t.Errorf("state = %+v", in.State)
	}

	// The next run does what was pending, and only that.
	next := newWorld(t, webProfile(rule("r", plan.DidChange)))
	next.end(time.Hour)
	got := next.run(t, in)
	for _, line := range []string{"kube-patch fix ResourceDidCreate a@h2", "kube-patch fix ResourceDidCreate b@h1", "kube-patch fix ResourceDidCreate c@h1"} {
		if count(got, line) != 1 {
			t.Errorf("%q happened %d times in %v", line, count(got, line), got)
		}
	}
}

func TestContinuingAsNewWaitsForWhatRuns(t *testing.T) {
	w := newWorld(t, webProfile())
	w.fail = func(_ plan.CommandInput, attempt int32) error {
		if attempt < 3 {
			return errors.New("not yet")
		}
		return nil
	}
	w.at(500*time.Millisecond, func() { w.SetContinueAsNewSuggested(true) })
	w.ExecuteWorkflow(plan.WorkflowMaintain, plan.MaintainInput{Instance: shop})
	if !workflow.IsContinueAsNewError(w.GetWorkflowError()) {
		t.Fatalf("did not continue as new: %v", w.GetWorkflowError())
	}
	if count(w.log, "helm web") != 1 {
		t.Errorf("the deploy was not waited for: %v", w.log)
	}
}

func TestQueriesAnswer(t *testing.T) {
	w := newWorld(t, webProfile(rule("r", plan.DidChange)))
	w.at(time.Minute, func() {
		for _, q := range []string{QueryStatus, QueryPlan, QueryRules, QueryObjects, QueryWhy} {
			v, err := w.QueryWorkflow(q)
			if err != nil || !v.HasValue() {
				t.Errorf("query %s: %v", q, err)
			}
		}
		v, _ := w.QueryWorkflow(QueryStatus)
		var s Status
		if err := v.Get(&s); err != nil || s.Phase != plan.PhaseReady || s.Generation != 1 {
			t.Errorf("status = %+v, %v", s, err)
		}
	})
	w.end(time.Hour)
	w.run(t, plan.MaintainInput{Instance: shop})
}

func TestCanceledMaintainEndsCanceled(t *testing.T) {
	w := newWorld(t, webProfile())
	w.at(time.Minute, w.CancelWorkflow)
	w.ExecuteWorkflow(plan.WorkflowMaintain, plan.MaintainInput{Instance: shop})
	if err := w.GetWorkflowError(); !temporal.IsCanceledError(err) {
		t.Errorf("error = %v", err)
	}
}

// updateResult receives what becomes of an update.
type updateResult struct {
	t *testing.T
	// rejected is a part of the expected rejection; it is emptied when that came.
	rejected string
}

func (u *updateResult) Accept() {
	if u.rejected != "" {
		u.t.Errorf("accepted, but should be rejected with %q", u.rejected)
	}
}

func (u *updateResult) Reject(err error) {
	if u.rejected == "" || !strings.Contains(err.Error(), u.rejected) {
		u.t.Errorf("rejected: %v", err)
	}
	u.rejected = ""
}

func (u *updateResult) Complete(_ any, err error) {
	if err != nil && u.rejected == "" {
		u.t.Errorf("update failed: %v", err)
	}
}

func TestWhatAFormerRevisionMadeIsUndoneAtTheEnd(t *testing.T) {
	former := webProfile()
	former.Deploy = append(former.Deploy, command(plan.KindHelm, "extra"), command(plan.KindKubeApply, "conf"))
	w := newWorld(t, former)
	var undone []string
	w.fail = func(in plan.CommandInput, _ int32) error {
		switch {
		case in.Command.Helm != nil && in.Command.Helm.Absent:
			undone = append(undone, "release "+in.Command.Helm.Release)
		case in.Command.Apply != nil && in.Command.Apply.Absent:
			undone = append(undone, "object "+in.Inventory[0].Name)
		}
		return nil
	}
	w.at(time.Minute, func() {
		w.resource.Revision, w.profile = "r2", webProfile()
		w.send(w.resource)
	})
	w.end(time.Hour)
	w.run(t, plan.MaintainInput{Instance: shop})
	// The last is the plan's own, whose name the activity knows.
	if d := cmp.Diff([]string{"release demo-extra", "object conf", "release "}, undone); d != "" {
		t.Error(d)
	}
}

func TestGoingBackToTheFormerRevisionDeploysAgain(t *testing.T) {
	w := newWorld(t, webProfile())
	w.block = func(in plan.CommandInput) bool { return in.Revision == "r2" }
	w.at(time.Minute, func() {
		w.resource.Revision = "r2"
		w.send(w.resource)
	})
	w.at(61*time.Second, func() {
		w.resource.Revision = "r1"
		w.send(w.resource)
	})
	w.end(time.Hour)
	got := w.run(t, plan.MaintainInput{Instance: shop})
	if count(got, "helm web blocks") != 1 || count(got, "helm web") != 3 { // deployed, deployed again, undone
		t.Error(got)
	}
}

func TestCorrectedProfileIsReadyAgain(t *testing.T) {
	w := newWorld(t, webProfile())
	w.at(time.Minute, func() {
		w.resource.Profile, w.planError, w.profile = "nosuch", "no profile nosuch", nil
		w.send(w.resource)
	})
	w.at(2*time.Minute, func() {
		if w.lastStatus(plan.PhaseStalled) == nil {
			t.Error("not Stalled")
		}
		w.resource.Profile, w.planError, w.profile = "default", "", webProfile()
		w.send(w.resource)
	})
	w.at(3*time.Minute, func() {
		if last := w.statuses[len(w.statuses)-1]; last.Phase != plan.PhaseReady {
			t.Errorf("last status = %+v", last)
		}
	})
	w.end(time.Hour)
	w.run(t, plan.MaintainInput{Instance: shop})
}

func TestUndeployFollowsAChangedFolder(t *testing.T) {
	w := newWorld(t, webProfile())
	w.block = func(in plan.CommandInput) bool { return in.Command.Helm.Absent && in.Revision == "r1" }
	w.end(time.Minute)
	w.at(61*time.Second, func() {
		w.resource.Revision, w.resource.Deleting = "r2", true
		w.send(w.resource)
	})
	got := w.run(t, plan.MaintainInput{Instance: shop})
	if got[len(got)-1] != "finalizer remove=true" {
		t.Error(got)
	}
}

func TestStalledDeployOfAVanishedResourceEnds(t *testing.T) {
	w := newWorld(t, webProfile())
	w.fail = func(plan.CommandInput, int32) error { return terminal("the resource is gone") }
	w.at(time.Second, func() { w.resource = plan.ResourceSignal{Revision: "r1", Gone: true} }) // nobody signals it
	got := w.run(t, plan.MaintainInput{Instance: shop})
	if count(got, "helm web fails") != 1 {
		t.Error(got)
	}
}
