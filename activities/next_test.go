package activities

import (
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

func TestNext(t *testing.T) {
	at := func(text string) time.Time {
		v, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	tests := []struct{ cron, after, want, err string }{
		{"0 3 * * *", "2030-01-02T02:59:59Z", "2030-01-02T03:00:00Z", ""},
		{"0 3 * * *", "2030-01-02T03:00:00Z", "2030-01-03T03:00:00Z", ""},
		{"0 3 * * *", "2030-01-02T03:30:00+02:00", "2030-01-02T03:00:00Z", ""},
		{"@hourly", "2030-01-02T03:30:00Z", "2030-01-02T04:00:00Z", ""},
		{"*/5 * * * 1", "2030-01-02T03:30:00Z", "2030-01-07T00:00:00Z", ""},
		{"CRON_TZ=Europe/Zurich 0 3 * * *", "2030-07-01T00:00:00Z", "2030-07-01T01:00:00Z", ""},
		{"0 0 30 2 *", "2030-01-02T03:30:00Z", "", "at no time"},
		{"now and then", "2030-01-02T03:30:00Z", "", "now and then"},
	}
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivityWithOptions((&Activities{}).next, activity.RegisterOptions{Name: plan.ActivityNext})
	for _, tt := range tests {
		v, err := env.ExecuteActivity(plan.ActivityNext, plan.NextInput{Cron: tt.cron, After: at(tt.after)})
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: got %v", tt.cron, err)
			}
			continue
		}
		var res plan.NextResult
		if err != nil || v.Get(&res) != nil || !res.At.Equal(at(tt.want)) || res.At.Location() != time.UTC {
			t.Errorf("%s: got %v, %v; want %s", tt.cron, res.At, err, tt.want)
		}
	}
}
