package specs

import (
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// timing compiles timeout, deadline and retry.
func (c *compiler) timing(m *mapping, cmd *plan.Command) {
	timeout, deadline := defaultTimeout, defaultDeadline
	if cmd.Kind == plan.KindHelm {
		timeout = defaultHelmTimeout
	}
	m.duration("timeout", &timeout)
	m.duration("deadline", &deadline)
	if timeout > deadline {
		if m.vals["timeout"] != nil {
			m.errorf(m.vals["timeout"], `"timeout" is for one attempt, "deadline" for all of them`,
				"the timeout of %s is longer than the deadline of %s", timeout, deadline)
		} else {
			timeout = deadline // a short deadline alone is clear enough
		}
	}
	retry := c.retry(m)
	cmd.Timeout, cmd.Deadline, cmd.Retry = plan.Duration(timeout), plan.Duration(deadline), retry
}

// retry is either the first pause, or a map of the first and the longest one.
func (c *compiler) retry(m *mapping) plan.Retry {
	initial, longest := defaultInitial, defaultMax
	switch n := m.vals["retry"]; {
	case n == nil:
	case n.Kind == yaml.MappingNode:
		r := m.open(n, `"retry"`)
		r.allow(retryKeys, nil)
		okay := r.duration("initial", &initial)
		if r.vals["max"] == nil {
			longest = max(longest, initial)
		} else if r.duration("max", &longest) && okay && longest < initial {
			r.errorf(r.vals["max"], "", "the longest pause of %s is shorter than the first one of %s", longest, initial)
		}
	default:
		if m.duration("retry", &initial) {
			longest = max(longest, initial)
		}
	}
	return plan.Retry{Initial: plan.Duration(initial), Max: plan.Duration(longest)}
}

// duration reads the duration under key into d, which stays what it is if there is none. It is false after a finding.
func (m *mapping) duration(key string, d *time.Duration) bool {
	n := m.vals[key]
	if n == nil {
		return true
	}
	const form = "e.g. 90s, 5m or 1h30m"
	if n.Kind != yaml.ScalarNode || isNull(n) || n.Tag == "!!bool" {
		m.errorf(n, form, "%q of %s: expected a duration, got %s", key, m.what, kindOf(n))
		return false
	}
	if n.Tag == "!!int" || n.Tag == "!!float" {
		m.errorf(n, "write a unit, e.g. "+n.Value+"s", "%q of %s: %s has no unit", key, m.what, n.Value)
		return false
	}
	v, err := time.ParseDuration(n.Value)
	switch {
	case err != nil:
		m.errorf(n, form, "%q of %s: %q is no duration", key, m.what, n.Value)
	case v <= 0:
		m.errorf(n, form, "%q of %s: %s is not longer than nothing", key, m.what, n.Value)
	default:
		*d = v
		return true
	}
	return false
}
