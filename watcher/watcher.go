// Package watcher is the way up: what happens in the cluster becomes signals to the workflows that maintain the custom
// resources.
//
// Reflectors keep the virtual resource store up to date, for exactly the kinds that the loaded operators name; a change
// in the store is matched with the operators' rules; what a rule watches is queued for the custom resources concerned;
// and a queue becomes signals. Nothing here decides what is to be done about a change: a signal says which objects
// differ and in which state they are now, as a hash, and the workflow compares that with what it has handled.
//
// Everything here follows the level, not the edge. A queue holds names only, and what a signal says about them is read
// from the store when it is sent. So changes coalesce, the newest state wins, nothing has to be kept that is not in the
// cluster or in Temporal, and after a crash the resync tells the workflows what was missed.
//
// Why not client-go's informers: they keep each object as a decoded tree, in a cache of their own, and tell handlers of
// edges. Why not one workflow signal per event: Temporal allows a workflow 10,000 of them.
//
// What doesn't belong here: the store itself (package virtual) and what a workflow does with a signal.
package watcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/sdk/client"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/mainstay-dev/mainstay/specs"
	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// Options of a watcher. All but SearchAttributes and Log are required.
type Options struct {
	REST     *rest.Config
	Temporal client.Client
	Store    *virtual.Store
	// Operators to serve: each one's Plan; no two for the same kind of custom resource.
	Operators []*specs.Operator
	// SearchAttributes are registered with Temporal's namespace, so that workflows can be started with them.
	SearchAttributes bool
	// Log defaults to slog.Default().
	Log *slog.Logger
}

func (o Options) validate() error {
	switch {
	case o.REST == nil:
		return errors.New("new watcher: no Kubernetes configuration")
	case o.Temporal == nil:
		return errors.New("new watcher: no Temporal client")
	case o.Store == nil:
		return errors.New("new watcher: no virtual resource store")
	}
	return nil
}

// Watcher watches the cluster and signals the workflows.
type Watcher struct {
	store     *virtual.Store
	log       *slog.Logger
	operators map[virtual.Kind]*plan.Operator
	rules     map[virtual.Kind][]ruleRef
	sources   *sources
	*sender
}

// New makes a watcher for a set of operators. It calls neither the cluster nor Temporal.
func New(o Options) (*Watcher, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	cluster, err := clusterOf(o.REST)
	if err != nil {
		return nil, fmt.Errorf("new watcher: %w", err)
	}
	return newWatcher(o, cluster, o.Temporal)
}

func newWatcher(o Options, cluster *cluster, temporal signaler) (*Watcher, error) {
	log := o.Log
	if log == nil {
		log = slog.Default()
	}
	w := &Watcher{
		store:     o.Store,
		log:       log,
		operators: map[virtual.Kind]*plan.Operator{},
		rules:     map[virtual.Kind][]ruleRef{},
	}
	w.sources = newSources(cluster, o.Store, log)
	w.sender = newSender(temporal, o.Store, w.sources.settled, o.SearchAttributes, log)
	for _, op := range o.Operators {
		if err := w.serve(op.Plan); err != nil {
			return nil, fmt.Errorf("new watcher: %w", err)
		}
	}
	w.sources.onSettled = w.recheck
	o.Store.OnChange(w.changed)
	return w, nil
}

// serve takes in an operator: the kinds it names and its rules.
func (w *Watcher) serve(op *plan.Operator) error {
	kind := virtual.Kind{Group: op.Resource.Group, Version: op.Resource.Version, Kind: op.Resource.Kind}
	if other := w.operators[kind]; other != nil {
		return fmt.Errorf("operators %q and %q both serve %s", other.Name, op.Name, kind)
	}
	w.operators[kind] = op
	w.sources.add(kind)
	for _, profile := range op.Profiles {
		for i := range profile.Rules {
			rule := &profile.Rules[i]
			if rule.Watch.Scope == plan.ScopeNamespace && !op.Resource.Namespaced {
				w.log.Warn("a rule of scope namespace sees nothing, because its resource is in no namespace",
					"operator", op.Name, "profile", profile.Name, "rule", rule.Name)
				continue
			}
			watched := kindOf(rule)
			w.rules[watched] = append(w.rules[watched], ruleRef{op: op, profile: profile, rule: rule})
			source := w.sources.add(watched)
			if rule.Watch.Scope == plan.ScopeInstance {
				source.followOwners.Store(true)
			}
		}
	}
	return nil
}

// Run watches and signals until ctx ends, and then returns nil. What was not sent by then is found again at the next
// start. It may be called once.
func (w *Watcher) Run(ctx context.Context) error {
	// The store may hold resources already, and the reflectors tell of differences only.
	for kind := range w.operators {
		w.store.List(kind, "", func(object virtual.Object) bool {
			w.changed(virtual.Change{Key: object.Key, Now: object})
			return true
		})
	}
	var all sync.WaitGroup
	all.Go(func() { w.sources.run(ctx) })
	all.Go(func() { w.sender.run(ctx) })
	all.Wait()
	return nil
}

// Synced tells whether all kinds that the operators name have been seen completely, or are known not to exist.
func (w *Watcher) Synced() bool {
	for kind := range w.operators {
		if !w.sources.settled(kind) {
			return false
		}
	}
	for kind := range w.rules {
		if !w.sources.settled(kind) {
			return false
		}
	}
	return true
}

// cluster is the API server as the reflectors use it.
type cluster struct {
	discovery *discovery.DiscoveryClient
	objects   dynamic.Interface
	metadata  metadata.Interface
}

func clusterOf(config *rest.Config) (*cluster, error) {
	config = rest.CopyConfig(config)
	// A handful of long requests for each kind: the server's own fairness is limit enough, and a client-side one
	// would hold up a start and a recovery.
	config.QPS = -1
	config.Timeout = 0
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	d, err := discovery.NewDiscoveryClientForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	o, err := dynamic.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	m, err := metadata.NewForConfigAndClient(metadata.ConfigFor(config), httpClient)
	if err != nil {
		return nil, err
	}
	return &cluster{discovery: d, objects: o, metadata: m}, nil
}

// resyncPatience is how long an instance's changes wait for the kinds that its first resync still lacks. After that
// they are sent without it.
const resyncPatience = 10 * time.Second
