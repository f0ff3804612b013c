// Package worker is the only wiring: it loads the operators, connects to Kubernetes and Temporal, and starts the
// watcher (the way up) and the Temporal workers (the way down) beside each other. The program and the tests start
// Mainstay through New, Run and Close.
//
// What belongs here: who gets which client, in which order things start and stop, how long a start waits for what.
// What does not: anything that a resource or a command would notice.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	sdk "go.temporal.io/sdk/worker"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/mainstay-dev/mainstay/activities"
	"github.com/mainstay-dev/mainstay/specs"
	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/specs/sense"
	"github.com/mainstay-dev/mainstay/watcher"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
	"github.com/mainstay-dev/mainstay/workflows"
)

// Options say what to run and against what.
type Options struct {
	// Operators is an operator's folder, or a folder of such folders. Required.
	Operators string
	// REST reaches the API server. Required.
	REST *rest.Config
	// Temporal reaches the Temporal server; Logger and Identity are set by New where they are empty.
	Temporal client.Options
	// UI is the base URL of Temporal's web UI, for the links in statuses; empty: no links.
	UI string
	// StopTimeout is how long running activities get to end when Run's context does. Default: 30 s.
	StopTimeout time.Duration
	// Lease elects the replica that signals.
	Lease Lease
	// Log gets everything that is worth a line. Default: slog.Default().
	Log *slog.Logger
}

func (o *Options) validate() error {
	if o.Operators == "" {
		return errors.New("no folder of operators is given")
	}
	if o.REST == nil {
		return errors.New("no connection to Kubernetes is given")
	}
	if o.StopTimeout == 0 {
		o.StopTimeout = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Temporal.Logger == nil {
		// The SDK reports as warnings and errors what statuses and the Temporal UI show better (an attempt that
		// failed, a task that was lost), so it gets a voice only in a debug log.
		o.Temporal.Logger = quiet{sdklog.NewStructuredLogger(o.Log)}
	}
	return nil
}

// Worker is a running Mainstay.
type Worker struct {
	opts      Options
	operators []*specs.Operator
	store     *virtual.Store
	watcher   *watcher.Watcher
	synced    chan struct{}
}

// New loads the operators. An operator with a mistake is logged, each finding with its place, and left out; it is an
// error only if none remains. Nothing is contacted yet.
func New(opts Options) (*Worker, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	operators, err := specs.LoadAll(opts.Operators)
	if err != nil {
		var findings specs.Findings
		if errors.As(err, &findings) {
			for _, f := range findings {
				opts.Log.Error("operator skipped", "error", f.Error())
			}
		} else {
			opts.Log.Error("operator skipped", "error", err)
		}
	}
	if len(operators) == 0 {
		return nil, fmt.Errorf("no operator to run in %s", opts.Operators)
	}
	var labels []string
	for _, op := range operators {
		labels = append(labels, op.IndexedLabels()...)
	}
	store, err := virtual.Open(virtual.Options{InstanceLabel: plan.InstanceLabel, IndexedLabels: labels, Ready: ready})
	if err != nil {
		return nil, fmt.Errorf("open the virtual store: %w", err)
	}
	return &Worker{opts: opts, operators: operators, store: store, synced: make(chan struct{})}, nil
}

// Close frees what New took. Call it after Run has returned.
func (w *Worker) Close() error { return w.store.Close() }

// Run works until ctx ends; then it takes no more work, lets running activities end within the stop timeout, and
// returns nil. It waits for an API server or a Temporal that cannot be reached, with one log line for each reason.
func (w *Worker) Run(ctx context.Context) error {
	log := w.opts.Log
	acts, err := activities.New(activities.Options{
		REST: w.opts.REST, Objects: w.store, Log: log, UI: w.opts.UI, Namespace: w.namespace(),
	})
	if err != nil {
		return fmt.Errorf("prepare activities: %w", err)
	}
	temporal, attributes, err := w.dial(ctx)
	if err != nil {
		return orDone(ctx, err)
	}
	defer temporal.Close()

	var background sync.WaitGroup
	defer background.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before the wait
	if err := w.installAll(ctx, &background); err != nil {
		return orDone(ctx, err)
	}
	lease := w.lease()
	kube, err := kubernetes.NewForConfig(w.opts.REST)
	if err != nil {
		return fmt.Errorf("prepare the Lease: %w", err)
	}
	inherit(ctx, kube, lease, log)
	w.watcher, err = watcher.New(watcher.Options{
		REST: w.opts.REST, Temporal: temporal, Store: w.store, Operators: w.operators, SearchAttributes: attributes,
		Lease: lease, Log: log,
	})
	if err != nil {
		return fmt.Errorf("prepare the watcher: %w", err)
	}

	var workers []sdk.Worker
	for _, op := range w.operators {
		wk := sdk.New(temporal, op.Plan.Resource.TaskQueue(), sdk.Options{
			WorkerStopTimeout: w.opts.StopTimeout,
			// Commands mostly wait; what costs CPU is limited where it is done. A stalled fleet must not take up
			// the places of others.
			MaxConcurrentActivityExecutionSize:      1000,
			MaxConcurrentLocalActivityExecutionSize: 200,
			DisableRegistrationAliasing:             true,
			MaxConcurrentWorkflowTaskPollers:        8,
		})
		workflows.Register(wk)
		acts.Register(wk, op)
		if err := wk.Start(); err != nil {
			return orDone(ctx, fmt.Errorf("start the worker of operator %q: %w", op.Plan.Name, err))
		}
		workers = append(workers, wk)
		log.Info("operator serves", "operator", op.Plan.Name, "resource", op.Plan.Resource.CRD(), "revision", op.Plan.Digest[:12])
	}
	err = w.watcher.Run(ctx)
	stop(workers)
	return orDone(ctx, err)
}

// ready is the column "ready" of SQL.
func ready(o virtual.Object) (ready, known bool) { return sense.Health(o) == plan.Ready, true }

// stop ends all workers at once, so that their stop timeouts run side by side.
func stop(workers []sdk.Worker) {
	var wg sync.WaitGroup
	for _, wk := range workers {
		wg.Go(wk.Stop)
	}
	wg.Wait()
}

// orDone is nil if ctx has ended: then err is a consequence of that.
func orDone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (w *Worker) namespace() string {
	if w.opts.Temporal.Namespace == "" {
		return client.DefaultNamespace
	}
	return w.opts.Temporal.Namespace
}

// quiet turns the SDK's lines into debug lines.
type quiet struct{ sdklog.Logger }

func (q quiet) Info(msg string, kv ...any)  { q.Debug(msg, kv...) }
func (q quiet) Warn(msg string, kv ...any)  { q.Debug(msg, kv...) }
func (q quiet) Error(msg string, kv ...any) { q.Debug(msg, kv...) }
