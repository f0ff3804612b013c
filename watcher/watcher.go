// Package watcher is the way up: what happens in the cluster becomes signals to the workflows that maintain the custom
// resources.
//
// Reflectors keep the virtual resource store up to date, for exactly the kinds, namespaces, names and labels that the
// rules and statements of the loaded operators name; a change in the store is matched with the rules; what a rule watches
// is queued for the custom resources concerned; and a queue becomes signals. Nothing here decides what is to be done
// about a change: a signal says which objects differ and in which state a rule sees them now (package sense), and the
// workflow compares that with what it has handled.
//
// Of several processes one leads, by a Lease: it alone signals. The others keep their stores as warm and their queues
// empty. A new leader trusts nothing that was told before it: it sends every workflow a complete list.
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
	"slices"
	"sync"
	"time"

	"go.temporal.io/sdk/client"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/mainstay-dev/mainstay/specs"
	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// Options of a watcher. All but Lease, SearchAttributes and Log are required.
type Options struct {
	REST     *rest.Config
	Temporal client.Client
	Store    *virtual.Store
	// Operators to serve: each one's Plan; no two for the same kind of custom resource.
	Operators []*specs.Operator
	// Lease elects the one process that signals, among all that work for the same operators. Nil: this one always does.
	Lease *LeaseOptions
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

// Watcher watches the cluster and, while it leads, signals the workflows.
type Watcher struct {
	store     *virtual.Store
	log       *slog.Logger
	operators map[virtual.Kind]*operator
	rules     map[virtual.Kind][]ruleRef
	sources   *sources
	lease     *lease
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
	w, err := newWatcher(o, cluster, o.Temporal)
	if err != nil {
		return nil, fmt.Errorf("new watcher: %w", err)
	}
	return w, nil
}

func newWatcher(o Options, cluster *cluster, temporal signaler) (*Watcher, error) {
	log := o.Log
	if log == nil {
		log = slog.Default()
	}
	w := &Watcher{
		store:     o.Store,
		log:       log,
		operators: map[virtual.Kind]*operator{},
		rules:     map[virtual.Kind][]ruleRef{},
	}
	w.sources = newSources(cluster, o.Store, log)
	w.sender = newSender(temporal, o.Store, w.sources, o.SearchAttributes, log)
	if o.Lease != nil {
		var err error
		if w.lease, err = newLease(*o.Lease, cluster.leases, log); err != nil {
			return nil, err
		}
		w.fenced = w.lease.expired
	}
	known := virtual.BuiltIn()
	for _, op := range o.Operators {
		if err := w.serve(op.Plan); err != nil {
			return nil, err
		}
		known = append(known, resourceOf(op.Plan))
	}
	for _, op := range o.Operators {
		for _, name := range tables(op.Plan) {
			w.sources.addTable(name, known)
		}
	}
	w.listen()
	w.sources.onSettled, w.sources.onLocated = w.recheck, w.located
	o.Store.OnChange(w.changed)
	return w, nil
}

func resourceOf(op *plan.Operator) virtual.Resource {
	r := op.Resource
	return virtual.Resource{
		Kind: virtual.Kind{Group: r.Group, Version: r.Version, Kind: r.Kind}, Plural: r.Plural, Namespaced: r.Namespaced,
	}
}

// serve takes in an operator: the kinds it names and its rules.
func (w *Watcher) serve(plain *plan.Operator) error {
	op, err := newOperator(plain)
	if err != nil {
		return err
	}
	if other := w.operators[op.kind]; other != nil {
		return fmt.Errorf("operators %q and %q both serve %s", other.Name, op.Name, op.kind)
	}
	w.operators[op.kind] = op
	w.sources.claim(resourceOf(plain))
	w.sources.add(op.kind, span{})
	for _, p := range op.profiles {
		w.live = append(w.live, p.live...)
		for i, rule := range p.rules {
			watch := rule.Watch
			if rule.Kind == (virtual.Kind{}) {
				continue // a live query or a timer
			}
			if watch.Scope == plan.ScopeNamespace && !op.Resource.Namespaced {
				w.log.Warn("a rule of scope namespace sees nothing, because its resource is in no namespace",
					"operator", op.Name, "profile", p.Name, "rule", rule.Name)
				continue
			}
			w.rules[rule.Kind] = append(w.rules[rule.Kind], ruleRef{op: op, profile: p, rule: rule, index: int32(i)})
			source := w.sources.add(rule.Kind, span{namespace: watch.Namespace, name: watch.Name, selector: watch.Selector})
			if watch.Scope != plan.ScopeNamespace && watch.Scope != plan.ScopeCluster {
				source.followOwners.Store(true)
			}
		}
	}
	return nil
}

// listen has the live queries touched by what they read, as far as their tables' kinds are known.
func (w *Watcher) listen() {
	for _, l := range w.live {
		for _, name := range l.rule.Watch.SQL.Reads {
			if name == tableResources || name == tableEvents {
				w.readingAny = append(w.readingAny, l)
			}
		}
	}
	for name, kind := range w.sources.served {
		w.located(name, kind)
	}
}

// located takes in which kind a table is.
func (w *Watcher) located(table string, kind virtual.Kind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.live {
		if slices.Contains(l.rule.Watch.SQL.Reads, table) && !slices.Contains(w.reading[kind], l) {
			w.reading[kind] = append(w.reading[kind], l)
			w.touch(l)
		}
	}
}

// Run watches and, while it leads, signals, until ctx ends; then it gives the lease back and returns nil. What was not
// sent by then is found again by who leads next. It may be called once.
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
	all.Go(func() {
		if w.lease == nil {
			w.term(ctx)
		} else {
			w.lease.run(ctx, w.term)
		}
	})
	all.Wait()
	return nil
}

// term is one term as the leader.
func (w *Watcher) term(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { w.sweep(ctx) })
	w.lead(ctx)
	all.Wait()
}

// Leading tells whether this process signals.
func (w *Watcher) Leading() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.leading
}

// Synced tells whether all kinds and tables that the operators name have been seen completely, or are known not to exist.
func (w *Watcher) Synced() bool { return w.sources.synced() }

// cluster is the API server as the reflectors use it.
type cluster struct {
	discovery *discovery.DiscoveryClient
	objects   dynamic.Interface
	metadata  metadata.Interface
	leases    coordinationv1.LeasesGetter
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
	l, err := coordinationv1.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	return &cluster{discovery: d, objects: o, metadata: m, leases: l}, nil
}

// resyncPatience is how long an instance's changes wait for the kinds that its first resync still lacks. After that
// they are sent without it.
const resyncPatience = 10 * time.Second
