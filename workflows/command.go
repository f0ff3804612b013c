package workflows

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// execute runs one command as an activity until it succeeds, fails for good, or ctx is cancelled. A running attempt is
// told of the cancellation and ends in its own time.
func execute(ctx workflow.Context, id, summary string, in plan.CommandInput) (plan.CommandResult, error) {
	c := in.Command
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		ActivityID:             id,
		Summary:                plan.Clip(summary, 200),
		StartToCloseTimeout:    c.Timeout.Std(),
		ScheduleToCloseTimeout: c.Deadline.Std(),
		HeartbeatTimeout:       heartbeatTimeout,
		WaitForCancellation:    true,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    c.Retry.Initial.Std(),
			BackoffCoefficient: 2,
			MaximumInterval:    c.Retry.Max.Std(),
		},
	})
	var res plan.CommandResult
	err := workflow.ExecuteActivity(ctx, c.Kind, in).Get(ctx, &res)
	return res, err
}

// activityID is the readable id of the i-th command of a list: "03-helm-vvp".
func activityID(i int, c plan.Command) string {
	return fmt.Sprintf("%02d-%s-%s", i+1, c.Kind, c.Name)
}

// explain makes a sentence for people of a command's error, and tells how many attempts it took (0 if unknown).
func explain(c plan.Command, err error) (string, int32) {
	msg, attempts := reason(err)
	var timeout *temporal.TimeoutError
	if errors.As(err, &timeout) {
		msg = fmt.Sprintf("gave no result within %s: %s", c.Deadline, msg)
	}
	return plan.Clip(fmt.Sprintf("%s %q: %s", c.Kind, c.Name, msg), 1024), attempts
}

// reason is the innermost sentence of an activity's error with its hint, and how many attempts it took (0 if unknown).
func reason(err error) (string, int32) {
	var failure plan.Failure
	msg := err.Error()
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		msg = app.Message()
		if app.HasDetails() {
			_ = app.Details(&failure) // details of another shape: the message says enough
		}
	}
	if failure.Hint != "" {
		msg += "; " + failure.Hint
	}
	return msg, failure.Attempts
}
