package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// ruleTimer is the timer of a rule that runs by the clock.
type ruleTimer struct {
	watch  plan.Watch
	cancel workflow.CancelFunc
}

// runTimers keeps a timer running for each rule that has one, once the resource is established.
func (m *maintainer) runTimers() {
	want := map[string]plan.Watch{}
	if m.st.Established && !m.st.Paused && !m.replanned() {
		for _, r := range m.st.Profile.Rules {
			if slices.Contains(r.Watch.Categories, plan.TimerDidFire) {
				want[r.Name] = r.Watch
			}
		}
	}
	for _, name := range workflow.DeterministicKeys(m.timers) {
		w, ok := want[name]
		if t := m.timers[name]; !ok || w.Every != t.watch.Every || w.Cron != t.watch.Cron {
			t.cancel()
			delete(m.timers, name)
		}
	}
	for _, name := range workflow.DeterministicKeys(want) {
		if m.timers[name] == nil {
			m.startTimer(name, want[name])
		}
	}
}

func (m *maintainer) startTimer(rule string, w plan.Watch) {
	ctx, cancel := workflow.WithCancel(m.ctx)
	m.timers[rule] = &ruleTimer{watch: w, cancel: cancel}
	if m.st.Fired == nil {
		m.st.Fired = map[string]time.Time{}
	}
	if _, ok := m.st.Fired[rule]; !ok {
		m.st.Fired[rule] = workflow.Now(ctx) // the first period begins now
	}
	workflow.GoNamed(ctx, "timer "+rule, func(ctx workflow.Context) {
		for {
			now := workflow.Now(ctx)
			at, err := m.nextFire(ctx, w, m.st.Fired[rule])
			if err != nil {
				return
			}
			if wait := at.Sub(now); wait > 0 {
				options := workflow.TimerOptions{Summary: plan.Clip("rule "+rule, 200)}
				if workflow.NewTimerWithOptions(ctx, wait, options).Get(ctx, nil) != nil {
					return
				}
			} else {
				at = now // what was missed while nothing ran is made up for once
			}
			m.st.Fired[rule] = at
			m.queue.put(plan.Change{Rule: rule, Hash: at.UTC().Format(time.RFC3339)})
			m.changed = true
		}
	})
}

// nextFire is when a rule's timer fires first after a time.
func (m *maintainer) nextFire(ctx workflow.Context, w plan.Watch, after time.Time) (time.Time, error) {
	if w.Cron == "" {
		return after.Add(w.Every.Std()), nil
	}
	ctx = workflow.WithLocalActivityOptions(ctx, localOptions(0))
	var next plan.NextResult
	err := workflow.ExecuteLocalActivity(ctx, plan.ActivityNext, plan.NextInput{Cron: w.Cron, After: after}).Get(ctx, &next)
	return next.At, err
}
