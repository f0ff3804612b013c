package activities

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// condition is what a phase says of one of the conditions, by kstatus's conventions: Ready for people and kubectl wait;
// Reconciling and Stalled are true only when something is out of the ordinary.
type condition struct {
	kind    string
	status  metav1.ConditionStatus
	reason  string
	message string
}

// conditionsOf translates a phase. What was ready and is being changed is of unknown readiness, not unready: it may well
// serve throughout. A paused instance keeps the readiness that it had.
func conditionsOf(old []any, in plan.StatusInput) []condition {
	ready, reconciling, stalled := metav1.ConditionFalse, metav1.ConditionFalse, metav1.ConditionFalse
	was := conditionStatus(old, "Ready")
	switch in.Phase {
	case plan.PhaseReady:
		ready = metav1.ConditionTrue
	case plan.PhaseDeploying:
		reconciling = metav1.ConditionTrue
		if was == metav1.ConditionTrue || was == metav1.ConditionUnknown {
			ready = metav1.ConditionUnknown
		}
	case plan.PhaseStalled:
		stalled = metav1.ConditionTrue
	case plan.PhasePaused:
		if ready = was; was == "" {
			ready = metav1.ConditionUnknown
		}
	case plan.PhaseDeleting:
		reconciling = metav1.ConditionTrue
	}
	reason, message := in.Reason, plan.Clip(in.Message, maxMessage)
	if reason == "" {
		reason = string(in.Phase)
	}
	out := []condition{{"Ready", ready, reason, message}}
	for _, c := range []condition{{kind: "Reconciling", status: reconciling}, {kind: "Stalled", status: stalled}} {
		c.reason = reason
		if c.status == metav1.ConditionTrue {
			c.message = message
		}
		out = append(out, c)
	}
	return out
}

// setConditions returns the list with the conditions set. Others' conditions stay, and so does the time of the last
// transition unless the status flips.
func setConditions(list []any, conditions []condition, observed int64, now time.Time) []any {
	out := append([]any(nil), list...)
	for _, c := range conditions {
		at := now.UTC().Format(time.RFC3339)
		n := len(out)
		for i, e := range out {
			if m, ok := e.(map[string]any); ok && m["type"] == c.kind {
				n = i
				if since, ok := m["lastTransitionTime"].(string); ok && m["status"] == string(c.status) {
					at = since
				}
			}
		}
		entry := map[string]any{
			"type": c.kind, "status": string(c.status), "reason": c.reason, "message": c.message,
			"lastTransitionTime": at, "observedGeneration": observed,
		}
		if n == len(out) {
			out = append(out, entry)
		} else {
			out[n] = entry
		}
	}
	return out
}

// conditionStatus is the status of a condition, or "".
func conditionStatus(list []any, kind string) metav1.ConditionStatus {
	for _, e := range list {
		if m, ok := e.(map[string]any); ok && m["type"] == kind {
			s, _ := m["status"].(string)
			return metav1.ConditionStatus(s)
		}
	}
	return ""
}

// tellTurn emits one Kubernetes Event when an instance becomes ready or stalls. Best effort: an Event is for people who
// look, the condition is what counts.
func (a *Activities) tellTurn(ctx context.Context, in plan.StatusInput, before, after map[string]any) {
	turned := func(kind string) bool {
		was, _ := before["conditions"].([]any)
		is, _ := after["conditions"].([]any)
		return conditionStatus(is, kind) == metav1.ConditionTrue && conditionStatus(was, kind) != metav1.ConditionTrue
	}
	kind := ""
	switch {
	case turned("Stalled"):
		kind = corev1.EventTypeWarning
	case turned("Ready"):
		kind = corev1.EventTypeNormal
	default:
		return
	}
	event := eventOn(in.Instance, kind, in.Reason, in.Message)
	event.GenerateName, event.Action = eventPrefix(in.Instance), string(in.Phase)
	if _, err := a.cluster.typed.EventsV1().Events(event.Namespace).Create(ctx, event, metav1.CreateOptions{}); err != nil {
		a.log.Debug("event not emitted", "instance", in.Instance.String(), "error", err)
	}
}
