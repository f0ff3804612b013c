package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/util/retry"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// status merges what the workflow knows into the custom resource's .status. The author's own fields and the conditions
// of others stay. A resource that is gone, or whose name another one has taken, is no error. Nothing is written that
// is there already.
func (a *Activities) status(ctx context.Context, in plan.StatusInput) error {
	now := time.Now()
	before, after, err := a.writeStatus(ctx, in.Instance, func(s map[string]any) {
		mergeStatus(s, in, now)
		if in.RunID != "" {
			s["workflow"] = a.link(in)
		}
	})
	if err != nil {
		return a.local(ctx, fmt.Errorf("write the status of %s: %w", in.Instance, err))
	}
	if after != nil {
		a.tellTurn(ctx, in, before, after)
	}
	return nil
}

// link says where the instance's workflow is.
func (a *Activities) link(in plan.StatusInput) map[string]any {
	id := in.Instance.WorkflowID()
	link := map[string]any{"id": id, "runId": in.RunID}
	if a.ui != "" {
		link["url"] = fmt.Sprintf("%s/namespaces/%s/workflows/%s/%s",
			strings.TrimRight(a.ui, "/"), url.PathEscape(a.namespace), url.PathEscape(id), url.PathEscape(in.RunID))
	}
	return link
}

// writeStatus changes the status of the resource with that very uid, in one conditional write; if someone else was
// faster it reads again. It returns the status before and after, both nil if the resource is gone.
func (a *Activities) writeStatus(ctx context.Context, i plan.Instance, change func(status map[string]any)) (before, after map[string]any, err error) {
	var patch map[string]any
	compute := func(u *unstructured.Unstructured) {
		before, _, _ = unstructured.NestedMap(u.Object, "status") // a status of another shape is replaced
		if before == nil {
			before = map[string]any{}
		}
		after = (&unstructured.Unstructured{Object: before}).DeepCopy().Object
		change(after)
		patch = difference(before, after)
	}
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		patch = nil
		u := a.resources.get(resourceRef(i))
		if u != nil && string(u.GetUID()) == i.UID {
			compute(u)
		}
		if len(patch) == 0 || u == nil || string(u.GetUID()) != i.UID {
			var err error
			if u, err = a.readResource(ctx, i); err != nil {
				return err
			}
			if string(u.GetUID()) != i.UID {
				before, after = nil, nil
				return nil
			}
			if compute(u); len(patch) == 0 {
				return nil
			}
		}
		body, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"uid": u.GetUID(), "resourceVersion": u.GetResourceVersion()},
			"status":   patch,
		})
		if err != nil {
			return fmt.Errorf("encode: %w", err)
		}
		return a.patchResource(ctx, i, body, "status")
	})
	if apierrors.IsNotFound(err) {
		return nil, nil, nil
	}
	return before, after, err
}

// difference is the JSON merge patch between two statuses, on their top level: fields that are equal aren't sent, and
// a list is sent as a whole.
func difference(before, after map[string]any) map[string]any {
	patch := map[string]any{}
	for k, v := range after {
		if !reflect.DeepEqual(before[k], v) {
			patch[k] = v
		}
	}
	for k := range before {
		if _, ok := after[k]; !ok {
			patch[k] = nil
		}
	}
	return patch
}

// mergeStatus is the pure part of the status activity.
func mergeStatus(s map[string]any, in plan.StatusInput, now time.Time) {
	observed, _ := s["observedGeneration"].(int64)
	if in.Generation > observed {
		s["observedGeneration"] = in.Generation
		observed = in.Generation
	}
	if in.Revision != "" {
		s["revision"] = in.Revision
	}
	if in.Phase != "" {
		s["phase"] = string(in.Phase)
		list, _ := s["conditions"].([]any)
		s["conditions"] = setConditions(list, conditionsOf(list, in), observed, now)
	}
	if in.Commands != nil {
		old, _ := s["commands"].([]any)
		s["commands"] = mergeCommands(old, in.Commands)
	}
	if in.Rules != nil {
		s["rules"] = asList(in.Rules)
	}
	if in.Inventory != nil {
		s["inventory"] = asList(in.Inventory)
	}
	if in.Releases != nil {
		s["releases"] = asList(in.Releases)
	}
}

// mergeCommands takes the workflow's list, but keeps what a running command's attempts have told meanwhile: the workflow
// hears of attempts only when the last is over.
func mergeCommands(old []any, commands []plan.CommandStatus) []any {
	list := asList(commands)
	for n, c := range commands {
		if c.State != plan.StateRunning && c.State != plan.StateRetrying {
			continue
		}
		entry, _ := list[n].(map[string]any)
		was := byName(old, c.Name)
		if was == nil || was["state"] != string(plan.StateRetrying) || !sameStart(was["startedAt"], c.Started) {
			continue
		}
		entry["state"] = was["state"]
		if attempts, _ := was["attempts"].(int64); attempts > int64(c.Attempts) {
			entry["attempts"] = attempts
			if was["message"] != nil {
				entry["message"] = was["message"]
			}
		}
	}
	return list
}

// sameStart tells whether an entry is of the run that began at start. An entry without a time was made by an attempt
// that was faster than the workflow's own report.
func sameStart(was any, start *time.Time) bool {
	text, _ := was.(string)
	if text == "" || start == nil {
		return true
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	return err == nil && at.Equal(*start)
}

// byName is the entry of a list of mappings with that name.
func byName(list []any, name string) map[string]any {
	for _, e := range list {
		if m, ok := e.(map[string]any); ok && m["name"] == name {
			return m
		}
	}
	return nil
}

// asList turns a list of structs into decoded JSON, with whole numbers as int64, as the API machinery has them.
func asList[T any](in []T) []any {
	out := make([]any, 0, len(in))
	for _, v := range in {
		b, err := json.Marshal(v)
		if err != nil {
			continue // plain data: it always encodes
		}
		m := map[string]any{}
		if utiljson.Unmarshal(b, &m) == nil {
			out = append(out, m)
		}
	}
	return out
}

// report shows a failed attempt in the resource's status, so that people see it while Temporal waits for the next one.
// It is best effort: the error itself goes to Temporal.
func (t *attempt) report(ctx context.Context, f *fault) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	state := plan.StateRetrying
	if f.Terminal {
		state = plan.StateFailed
	}
	now := time.Now()
	_, _, err := t.writeStatus(ctx, t.in.Instance, func(s map[string]any) {
		if e := t.in.Event; e != nil {
			recordAttempt(s, "rules", e.Rule, "", state, t.number, f.message())
			return
		}
		recordAttempt(s, "commands", t.in.Command.Name, t.in.Command.Kind, state, t.number, f.message())
		if state == plan.StateRetrying {
			observed, _ := s["observedGeneration"].(int64)
			list, _ := s["conditions"].([]any)
			message := plan.Clip(fmt.Sprintf("%s %q: attempt %d failed: %s", t.in.Command.Kind, t.in.Command.Name, t.number, f.message()), maxMessage)
			s["conditions"] = setConditions(list, []condition{
				{"Ready", metav1.ConditionFalse, "Retrying", message}, {"Reconciling", metav1.ConditionTrue, "Retrying", message},
			}, observed, now)
		}
	})
	if err != nil {
		t.log.Debug("attempt not shown in the status", "error", err)
	}
}

// recordAttempt notes an attempt in the entry of that name, and leaves the entry's other fields.
func recordAttempt(s map[string]any, field, name, kind string, state plan.State, attempts int32, message string) {
	list, _ := s[field].([]any)
	entry := byName(list, name)
	if entry == nil {
		entry = map[string]any{"name": name}
		list = append(list, entry)
	}
	if kind != "" {
		entry["cmd"] = kind
	}
	entry["state"], entry["attempts"], entry["message"] = string(state), int64(attempts), message
	s[field] = list
}
