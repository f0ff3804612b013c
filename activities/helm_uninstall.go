package activities

import (
	"context"
	"fmt"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/release"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// uninstall removes a release and waits until its objects are gone. A release that isn't there is done; one that isn't
// this resource's is left alone, and that is no error: nothing of ours is left, and the resource must be able to go.
func (t *attempt) uninstall(ctx context.Context, h *client) (plan.CommandResult, error) {
	history, err := h.history()
	if err != nil {
		return plan.CommandResult{}, err
	}
	switch observe(history, "", t.in.Instance.Label()) {
	case stateAbsent:
		return plan.CommandResult{Message: fmt.Sprintf("release %q in %s is not there", h.name, h.namespace)}, nil
	case stateForeign:
		return plan.CommandResult{Message: fmt.Sprintf("release %q in %s is not this resource's; left alone", h.name, h.namespace)}, nil
	}
	t.phase("uninstall", fmt.Sprintf("release %q in %s", h.name, h.namespace))
	h.begin()
	if err := t.remove(ctx, h, history); err != nil {
		return plan.CommandResult{}, err
	}
	return plan.CommandResult{Changed: true, Message: fmt.Sprintf("uninstalled release %q in %s", h.name, h.namespace)}, nil
}

// remove uninstalls, waits until everything is gone, and only then deletes the records, the newest last: whenever it is
// interrupted, the next attempt still knows what there is to remove.
func (t *attempt) remove(ctx context.Context, h *client, history []*release.Release) error {
	last := history[len(history)-1]
	if last.Info.Status != release.StatusUninstalled {
		h.objects.lenient = true
		un := action.NewUninstall(h.config)
		un.KeepHistory, un.Description, un.Timeout = true, t.description("uninstalled"), remaining(ctx)
		un.DeletionPropagation = "foreground"
		_, err := un.Run(h.name)
		h.objects.lenient = false
		if err := h.outcome("uninstall", err, nil); err != nil {
			return err
		}
	}
	parts, err := t.parts(last)
	if err != nil {
		return err
	}
	wait, err := t.leftovers(ctx, h, parts, history)
	if err != nil {
		return fmt.Errorf("delete what earlier revisions of %q left: %w", h.name, err)
	}
	for _, p := range parts {
		if !p.kept {
			wait = append(wait, p.ref)
		}
	}
	if err := t.await(ctx, "waiting until deleted", wait, gone); err != nil {
		return fmt.Errorf("uninstall release %q: %w", h.name, err)
	}
	for _, r := range history {
		if err := h.drop(r); err != nil {
			return err
		}
	}
	return nil
}
