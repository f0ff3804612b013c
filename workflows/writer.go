package workflows

import "go.temporal.io/sdk/workflow"

// statusWriter writes the status beside the loop, one write at a time, so that a slow API server holds up neither
// signals nor reactions.
type statusWriter struct {
	// dirty: something to write; urgent: without the pause.
	dirty, urgent, writing bool
}

// markStatus has the status written soon, or at once if it is urgent.
func (m *maintainer) markStatus(urgent bool) {
	m.status.dirty = true
	m.status.urgent = m.status.urgent || urgent
}

// startStatusWriter starts the coroutine that writes. What changes during a write or a pause is in the next write.
func (m *maintainer) startStatusWriter() {
	workflow.GoNamed(m.ctx, "status", func(ctx workflow.Context) {
		for {
			if workflow.Await(ctx, func() bool { return m.status.dirty }) != nil {
				return
			}
			if !m.status.urgent {
				_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
					Timeout: statusPause, TimerOptions: workflow.TimerOptions{Summary: "gather reactions for the status"},
				}, func() bool { return m.status.urgent })
				if err != nil {
					return
				}
			}
			if m.st.Resource.Gone || m.undeploying || m.undeployed {
				m.status.dirty, m.status.urgent = false, false
				continue
			}
			m.flushStatus(ctx)
		}
	})
}
