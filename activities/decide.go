package activities

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.temporal.io/sdk/activity"

	"github.com/mainstay-dev/mainstay/specs"
	"github.com/mainstay-dev/mainstay/specs/expr"
	"github.com/mainstay-dev/mainstay/specs/plan"
)

// maxBecause bounds what a verdict says of its reason: there is one for every reaction in the history.
const maxBecause = 200

// decide says whether a rule is to act on an event: if its query has rows and its condition holds, as things stand now.
// An object that is gone meanwhile asks for nothing, unless the event is that it is gone.
func (a *Activities) decide(ctx context.Context, op *specs.Operator, in plan.DecideInput) (plan.DecideResult, error) {
	info := activity.GetInfo(ctx)
	t := &attempt{
		Activities: a, op: op, number: info.Attempt, rec: &record{}, stop: activity.GetWorkerStopChannel(ctx),
		in: plan.CommandInput{
			Instance: in.Instance, Revision: in.Revision, Profile: in.Profile, Releases: in.Releases, Event: &in.Event,
		},
		log: a.log.With("operator", in.Instance.Operator, "instance", in.Instance.String(), "rule", in.Event.Rule),
	}
	if in.Revision != "" && in.Revision != op.Plan.Digest {
		return plan.DecideResult{}, otherRevision(op, in.Revision).application(info.Attempt)
	}
	res, err := t.verdict(ctx)
	if err != nil {
		return plan.DecideResult{}, a.local(ctx, err)
	}
	res.Because = plan.Clip(strings.Join(strings.Fields(res.Because), " "), maxBecause)
	return res, nil
}

func (t *attempt) verdict(ctx context.Context) (plan.DecideResult, error) {
	rule := t.rule()
	if rule == nil {
		return plan.DecideResult{}, invalid(fmt.Errorf("profile %q of operator %q has no rule %q", t.profile(), t.op.Plan.Name, t.in.Event.Rule), "")
	}
	if rule.Decide == nil {
		return plan.DecideResult{Act: true, Because: "the rule decides nothing"}, nil
	}
	f, err := t.facts(ctx)
	if errors.Is(err, errObjectGone) {
		return plan.DecideResult{Because: "the object is gone"}, nil
	}
	if err != nil {
		return plan.DecideResult{}, err
	}
	vars := t.varsOf(f)
	rows, queried, err := t.rows(ctx, f)
	if err != nil {
		return plan.DecideResult{}, err
	}
	var res plan.DecideResult
	found := ""
	if queried {
		vars["rows"] = listOf(rows)
		res.Rows = len(rows.Values)
		found = count(res.Rows, "row")
	}
	if rule.Decide.When == "" {
		res.Act, res.Because = res.Rows > 0, found
		if !res.Act {
			res.Because = "no rows"
		}
		return res, nil
	}
	if res.Act, err = t.holds(ctx, rule.Decide, queried, vars); err != nil {
		at := "decide.when"
		if rule.Decide.WhenAt != "" {
			at = rule.Decide.WhenAt + ": decide.when"
		}
		return plan.DecideResult{}, fmt.Errorf("%s of rule %q: %w", at, rule.Name, err)
	}
	res.Because = fmt.Sprintf("when is %t: %s", res.Act, rule.Decide.When)
	if queried {
		res.Because += " (" + found + ")"
	}
	return res, nil
}

// holds evaluates a rule's condition, which is compiled once.
func (t *attempt) holds(ctx context.Context, d *plan.Decide, rows bool, vars map[string]any) (bool, error) {
	if p, ok := t.prepared.Load(d); ok {
		return p.(*expr.Program).Bool(ctx, vars)
	}
	// The loader has checked it against the resource's schema; here it only has to run.
	p, err := expr.Compile(d.When, expr.Scope{Object: t.in.Event.HasObject(), Rows: rows})
	if err != nil {
		return false, err
	}
	t.prepared.Store(d, p)
	return p.Bool(ctx, vars)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
