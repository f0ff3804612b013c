// Package activities is where Mainstay touches the cluster: every command of an operator, and the small local steps
// that read the plan, hold the finalizer and write the status, are activities here. One file a command.
//
// All of them are idempotent: they look at what is there, name it, and do what is missing. Temporal repeats them after
// a crash, a timeout or a failure, so that each must be able to take up what an earlier attempt left half done. None
// keeps state of its own; the truth is in Kubernetes, and for Helm in Helm's own release records.
//
// What belongs here: API calls, templates that are rendered on the way to them, and the judgement which error may be
// retried (errors.go, and nowhere else). What does not: the order of commands, deadlines and backoff (package
// workflows), the shape of an operator (package specs), and watching (package watcher).
package activities

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
	"k8s.io/client-go/rest"

	"github.com/mainstay-dev/mainstay/specs"
	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// Options say where the activities act and what they share with the rest of the process.
type Options struct {
	// REST is how the API server is reached. It is copied. Where it sets no limit on requests, none is set: the API
	// server's priority and fairness is the better judge, and it asks clients to wait.
	REST *rest.Config
	// Objects is the process's virtual store; nil: every object is read from the API server.
	Objects *virtual.Store
	// Log is where to log; nil: slog.Default().
	Log *slog.Logger
	// UI is the base URL of Temporal's web UI, for the link in .status; "" leaves the link out.
	UI string
	// Namespace is Temporal's namespace, for the same link.
	Namespace string
}

func (o *Options) validate() error {
	if o.REST == nil {
		return errors.New("no REST config")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	return nil
}

// Activities are shared by all operators of a process: clients, discovery and charts are read once.
type Activities struct {
	cluster   *cluster
	objects   *virtual.Store
	log       *slog.Logger
	ui        string
	namespace string
	charts    charts
	targets   locks
	patched   *lastSeen
	resources *lastSeen
	marks     *marks
	// prepared are the rules of profiles and the conditions of decisions, compiled: *plan.Profile → []*sense.Rule,
	// *plan.Decide → *expr.Program.
	prepared sync.Map
}

// New connects to nothing yet; a wrong configuration fails here, an unreachable server at the first use.
func New(o Options) (*Activities, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("activities: %w", err)
	}
	c, err := newCluster(o.REST)
	if err != nil {
		return nil, fmt.Errorf("activities: %w", err)
	}
	return &Activities{cluster: c, objects: o.Objects, log: o.Log, ui: o.UI, namespace: o.Namespace,
		patched: newLastSeen(), resources: newLastSeen(), marks: newMarks()}, nil
}

// Register registers all activities under their names, for one operator. A worker serves one operator only.
//
// The operator's charts are read here, so that an edit in the folder can't reach a revision that is running.
func (a *Activities) Register(r worker.ActivityRegistry, op *specs.Operator) {
	for _, p := range op.Plan.Profiles {
		for _, c := range p.Deploy {
			if c.Helm != nil && c.Helm.Chart != "" {
				_, _ = a.charts.load(op.Plan.Digest, op.Chart(c.Helm.Chart)) // the command itself tells what is wrong with it
			}
		}
	}
	commands := map[string]command{
		plan.KindHelm:      (*attempt).helm,
		plan.KindKubeApply: (*attempt).kubeApply,
		plan.KindKubePatch: (*attempt).kubePatch,
		plan.KindSQL:       (*attempt).sql,
	}
	for kind, run := range commands {
		r.RegisterActivityWithOptions(a.command(op, run), activity.RegisterOptions{Name: kind})
	}
	others := map[string]any{
		plan.ActivityPlan: func(ctx context.Context, in plan.PlanInput) (plan.PlanResult, error) {
			return a.plan(ctx, op, in)
		},
		plan.ActivityFinalizer: a.finalizer,
		plan.ActivityStatus:    a.status,
		plan.ActivityDecide: func(ctx context.Context, in plan.DecideInput) (plan.DecideResult, error) {
			return a.decide(ctx, op, in)
		},
		plan.ActivityNext:     a.next,
		plan.ActivityHold:     a.hold,
		plan.ActivityAnnounce: a.announce,
	}
	for name, run := range others {
		r.RegisterActivityWithOptions(run, activity.RegisterOptions{Name: name})
	}
}
