package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// maxSteps bounds how often an attempt looks at the release and acts: the longest way is finish uninstalling, install.
const maxSteps = 5

// helm brings a release to its state: it looks at the release's records, names what it sees, and takes one step after
// another until the release is made from the wanted chart and values; then it waits until every object is healthy.
// With Absent it uninstalls.
//
// What Helm does, once begun, is not cut off: half a write to its records is what leaves releases stuck elsewhere.
func (t *attempt) helm(ctx context.Context) (plan.CommandResult, error) {
	spec := t.in.Command.Helm
	if spec == nil {
		return plan.CommandResult{}, invalid(errors.New("the command has no chart"), "")
	}
	vars, err := t.vars(ctx)
	if errors.Is(err, errObjectGone) {
		return plan.CommandResult{Message: err.Error()}, nil
	}
	if err != nil {
		return plan.CommandResult{}, err
	}
	name, namespace, err := t.releaseName(ctx, vars)
	if err != nil {
		return plan.CommandResult{}, err
	}
	if namespace == "" {
		return plan.CommandResult{}, invalid(fmt.Errorf("release %q has no namespace: %s is cluster-scoped", name, t.in.Instance), "set namespace in the command")
	}
	if err := chartutil.ValidateReleaseName(name); err != nil {
		return plan.CommandResult{}, invalid(fmt.Errorf("release name %q: %w", name, err), "at most 53 lower-case letters, digits, - and .")
	}
	h, err := t.helmClient(name, namespace)
	if err != nil {
		return plan.CommandResult{}, err
	}
	if spec.Absent {
		return t.uninstall(ctx, h)
	}
	w, err := t.wantedRelease(ctx, h, vars)
	if err != nil {
		return plan.CommandResult{}, err
	}
	return t.deploy(ctx, h, w)
}

// wanted is what a release is to be made from.
type wanted struct {
	chart  *loadedChart
	values map[string]any
	digest string
}

func (t *attempt) wantedRelease(ctx context.Context, h *client, vars map[string]any) (*wanted, error) {
	t.phase("rendering", "")
	ch, err := t.charts.load(t.op.Plan.Digest, t.op.Chart(t.in.Command.Helm.Chart))
	if err != nil {
		return nil, err
	}
	values, err := t.values(ctx, vars)
	if err != nil {
		return nil, err
	}
	digest, err := releaseDigest(ch.digest, h.name, h.namespace, t.in.Instance.Label(), values)
	if err != nil {
		return nil, err
	}
	return &wanted{ch, values, digest}, nil
}

// errMissing says that an object of a release isn't there, though the release is deployed.
var errMissing = errors.New("not there")

// deploy takes steps until the release is current, and waits for its health. If the release was current already and an
// object is missing, someone has deleted it; waiting for it would never end, so that the release is applied anew.
func (t *attempt) deploy(ctx context.Context, h *client, w *wanted) (plan.CommandResult, error) {
	did, history, err := t.converge(ctx, h, w, false)
	if err != nil {
		return plan.CommandResult{}, err
	}
	if did == "" {
		err := t.settle(ctx, h, history, func(ref plan.ObjectRef, u *unstructured.Unstructured) verdict {
			if u == nil {
				return verdict{why: "not there", err: fmt.Errorf("%s: %w", describe(ref), errMissing)}
			}
			return healthy(ref, u)
		})
		if err == nil {
			return released("nothing to do for", h, history, false), nil
		}
		if !errors.Is(err, errMissing) {
			return plan.CommandResult{}, err
		}
		t.log.Info("applying the release anew", "reason", err)
		if did, history, err = t.converge(ctx, h, w, true); err != nil {
			return plan.CommandResult{}, err
		}
	}
	if err := t.settle(ctx, h, history, healthy); err != nil {
		return plan.CommandResult{}, err
	}
	return released(did, h, history, true), nil
}

func released(did string, h *client, history []*release.Release, changed bool) plan.CommandResult {
	revision := history[len(history)-1].Version
	return plan.CommandResult{
		Changed: changed,
		Message: fmt.Sprintf("%s release %q in %s, revision %d", did, h.name, h.namespace, revision),
		Release: &plan.Release{Name: h.name, Namespace: h.namespace, Revision: revision},
	}
}

// settle deletes what failed attempts left and waits until look is done with every object of the newest revision.
func (t *attempt) settle(ctx context.Context, h *client, history []*release.Release, look func(plan.ObjectRef, *unstructured.Unstructured) verdict) error {
	current := history[len(history)-1]
	parts, err := t.parts(current)
	if err != nil {
		return err
	}
	if _, err := t.leftovers(ctx, h, parts, unfinished(history)); err != nil {
		return fmt.Errorf("delete what failed revisions of %q left: %w", h.name, err)
	}
	refs := make([]plan.ObjectRef, 0, len(parts))
	for _, p := range parts {
		if !p.fleeting {
			refs = append(refs, p.ref)
		}
	}
	if err := t.await(ctx, "waiting until healthy", refs, look); err != nil {
		return fmt.Errorf("release %q in %s, revision %d: %w", h.name, h.namespace, current.Version, err)
	}
	return nil
}

// converge takes steps until the release is current. It says in a word what was done, "" if nothing was, and returns
// the records, of which the newest is current. Again upgrades a release that is current already, once.
func (t *attempt) converge(ctx context.Context, h *client, w *wanted, again bool) (did string, history []*release.Release, err error) {
	for range maxSteps {
		if err := ctx.Err(); err != nil {
			return did, nil, context.Cause(ctx)
		}
		if history, err = h.history(); err != nil {
			return did, nil, err
		}
		state := observe(history, w.digest, t.in.Instance.Label())
		step := choose(state)
		if step == stepNone && again {
			step, again = stepUpgrade, false
		}
		if step == stepNone {
			return did, history, nil
		}
		t.phase(string(step), fmt.Sprintf("release %q in %s", h.name, h.namespace))
		t.log.Info("release", "name", h.name, "namespace", h.namespace, "state", string(state), "step", string(step))
		h.begin()
		var made *release.Release
		switch step {
		case stepInstall, stepReinstall:
			made, err = t.install(ctx, h, w, step == stepReinstall)
			did = "installed"
		case stepUpgrade:
			made, err = t.upgrade(ctx, h, w)
			did = "upgraded"
		case stepRedo:
			h.records.replaced = history[len(history)-1]
		case stepGiveUp:
			last := history[len(history)-1]
			last.SetStatus(release.StatusFailed, "interrupted, and superseded by a newer state")
			err = h.config.Releases.Update(last)
		case stepUninstall:
			err = t.remove(ctx, h, history)
		default:
			err = retryable(TypeConflict, fmt.Errorf("release %q in %s is not this resource's", h.name, h.namespace),
				"uninstall it, or give the command another release name")
		}
		if err != nil {
			return did, nil, err
		}
		if made != nil {
			return did, append(history, made), nil
		}
	}
	return did, nil, retryable(TypeConflict, fmt.Errorf("release %q in %s keeps changing", h.name, h.namespace), "find out who else changes it")
}

// install makes a revision with Helm's install. Replace lets it follow records of revisions that are not up.
func (t *attempt) install(ctx context.Context, h *client, w *wanted, replace bool) (*release.Release, error) {
	chrt, values, err := t.inputs(ctx, h, w, true)
	if err != nil {
		return nil, err
	}
	post := &labeller{value: t.in.Instance.Label()}
	in := action.NewInstall(h.config)
	in.ReleaseName, in.Namespace, in.Replace = h.name, h.namespace, replace
	in.Labels, in.PostRenderer, in.Description = t.recordLabels(w), post, t.description("installed")
	in.DisableOpenAPIValidation, in.Timeout = true, remaining(ctx)
	made, err := in.Run(chrt, values)
	return made, h.outcome("install", err, post)
}

// upgrade makes the next revision with Helm's upgrade.
func (t *attempt) upgrade(ctx context.Context, h *client, w *wanted) (*release.Release, error) {
	chrt, values, err := t.inputs(ctx, h, w, false)
	if err != nil {
		return nil, err
	}
	post := &labeller{value: t.in.Instance.Label()}
	up := action.NewUpgrade(h.config)
	up.Namespace, up.MaxHistory = h.namespace, maxHistory
	up.ResetValues = true // else no values would mean the old ones
	up.Labels, up.PostRenderer, up.Description = t.recordLabels(w), post, t.description("upgraded")
	up.DisableOpenAPIValidation, up.Timeout = true, remaining(ctx)
	made, err := up.Run(h.name, chrt, values)
	return made, h.outcome("upgrade", err, post)
}

// begin forgets what the step before has left in the recorders.
func (h *client) begin() {
	h.rec.reset()
	h.records.failed, h.records.created, h.objects.hook = nil, false, nil
}

// outcome judges what Helm returned, and what it kept to itself.
func (h *client) outcome(what string, err error, post *labeller) error {
	if err != nil {
		return fmt.Errorf("%s release %q: %w", what, h.name, h.explain(err, post))
	}
	if failed := h.records.failed; failed != nil {
		return fmt.Errorf("%s release %q: record it: %w", what, h.name, failed)
	}
	return nil
}

// inputs are fresh copies for Helm to change.
func (t *attempt) inputs(ctx context.Context, h *client, w *wanted, install bool) (*chart.Chart, map[string]any, error) {
	chrt, err := w.chart.parse()
	if err != nil {
		return nil, nil, err
	}
	values, err := freshValues(w.values)
	if err != nil {
		return nil, nil, err
	}
	h.config.Capabilities = nil
	if install && len(chrt.CRDObjects()) > 0 {
		return chrt, values, nil // Helm reads the kinds itself, after it has made the chart's own
	}
	if h.config.Capabilities, err = t.cluster.capabilities(ctx); err != nil {
		return nil, nil, err
	}
	return chrt, values, nil
}

func (t *attempt) recordLabels(w *wanted) map[string]string {
	return map[string]string{plan.InstanceLabel: t.in.Instance.Label(), plan.DigestLabel: w.digest}
}

func (t *attempt) description(what string) string {
	return fmt.Sprintf("%s by Mainstay for %s", what, t.in.Instance)
}

// remaining is the time that Helm may spend on a hook.
func remaining(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 5 * time.Minute
	}
	return max(time.Until(deadline), time.Second)
}
