package activities

import (
	"context"
	"fmt"

	"github.com/robfig/cron/v3"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// next says when a cron schedule fires first after a time, in UTC unless the schedule names a zone. It is an activity
// because what a zone's clock shows at a time is not for ever: a workflow must be told once, and keep to it.
func (a *Activities) next(ctx context.Context, in plan.NextInput) (plan.NextResult, error) {
	schedule, err := cron.ParseStandard(in.Cron)
	if err != nil {
		return plan.NextResult{}, a.local(ctx, invalid(fmt.Errorf("cron %q: %w", in.Cron, err), "write five fields, as in \"0 3 * * *\""))
	}
	at := schedule.Next(in.After.UTC())
	if at.IsZero() {
		return plan.NextResult{}, a.local(ctx, invalid(fmt.Errorf("cron %q fires at no time within five years", in.Cron), "correct the schedule"))
	}
	return plan.NextResult{At: at.UTC()}, nil
}
