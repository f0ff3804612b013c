package watcher

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// discoveryTimeout bounds one question to the API server what a group has.
const discoveryTimeout = 15 * time.Second

// retries is how what fails at the API server is tried again: soon, then less and less often. A kind that doesn't exist
// is asked for as in absences, so that it is watched within seconds of its CRD.
var (
	retries  = wait.Backoff{Duration: 200 * time.Millisecond, Cap: 10 * time.Second, Factor: 2, Jitter: 0.5, Steps: 50}
	absences = wait.Backoff{Duration: 200 * time.Millisecond, Cap: 2 * time.Second, Factor: 2, Jitter: 0.5, Steps: 50}
)

// sources are the kinds that are watched, each with one reflector for all rules and operators that name it.
type sources struct {
	cluster *cluster
	store   *virtual.Store
	log     *slog.Logger
	// onSettled is called when a kind has been seen completely, or is found not to exist.
	onSettled func()
	// unreachable: the API server is. All kinds find that at once, one line says it.
	unreachable atomic.Bool

	mu    sync.RWMutex
	kinds map[virtual.Kind]*source
	// start runs a source; nil before run.
	start func(*source)
}

// source is one kind that is watched.
type source struct {
	kind virtual.Kind
	// followOwners: what owns these objects decides whether they belong to an instance.
	followOwners atomic.Bool
	// owner: it is watched for that reason alone, as metadata, and nobody asked for it.
	owner bool
	// settled: all of its objects have been seen once, or it was found not to exist.
	settled atomic.Bool
	// there: it has been watched and its objects are in the store. missed counts the answers since that it isn't.
	there  bool
	missed int

	mu sync.Mutex
	// problem is the last one that was told.
	problem string
}

func newSources(cluster *cluster, store *virtual.Store, log *slog.Logger) *sources {
	return &sources{cluster: cluster, store: store, log: log, onSettled: func() {}, kinds: map[virtual.Kind]*source{}}
}

// add has a kind watched that an operator names.
func (s *sources) add(kind virtual.Kind) *source {
	s.mu.Lock()
	defer s.mu.Unlock()
	if src := s.kinds[kind]; src != nil {
		return src
	}
	src := &source{kind: kind}
	s.kinds[kind] = src
	s.store.SetSynced(kind, false)
	return src
}

// follow has a kind watched because it owns objects of an instance-wide rule: the ReplicaSet between a Deployment and
// its Pods. Its metadata is enough.
func (s *sources) follow(kind virtual.Kind) {
	s.mu.RLock()
	_, known := s.kinds[kind]
	s.mu.RUnlock()
	if known {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kinds[kind] != nil {
		return
	}
	src := &source{kind: kind, owner: true}
	src.followOwners.Store(true)
	s.kinds[kind] = src
	s.start(src)
}

// settled tells whether the store has everything of a kind that decides about its objects' instances too.
func (s *sources) settled(kind virtual.Kind) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	src := s.kinds[kind]
	if src == nil || !src.settled.Load() {
		return false
	}
	if !src.followOwners.Load() {
		return true
	}
	for _, other := range s.kinds {
		if other.owner && !other.settled.Load() {
			return false
		}
	}
	return true
}

// run watches all kinds until ctx ends.
func (s *sources) run(ctx context.Context) {
	var all sync.WaitGroup
	s.mu.Lock()
	s.start = func(src *source) { all.Go(func() { s.watch(ctx, src) }) }
	for _, src := range s.kinds {
		s.start(src)
	}
	s.mu.Unlock()
	<-ctx.Done()
	all.Wait()
}

// watch keeps the store's objects of one kind as the cluster's are.
func (s *sources) watch(ctx context.Context, src *source) {
	delay := retries.DelayWithReset(clock.RealClock{}, 2*time.Minute)
	absence := absences.DelayWithReset(clock.RealClock{}, 2*time.Minute)
	for ctx.Err() == nil {
		resource, namespaced, err := s.discover(ctx, src.kind)
		switch {
		case err != nil:
			s.report(src, err)
		case resource == nil:
			s.absent(src)
			pause(ctx, absence())
			continue
		case src.owner && !namespaced:
			// The Node of a static Pod, say: it belongs to no instance, so nothing is to be learned from it.
			s.settle(src)
			return
		default:
			src.missed = 0
			s.reflect(ctx, src, *resource, delay)
			continue
		}
		pause(ctx, delay())
	}
}

// discover asks the API server for a kind's resource; nil: there is no such kind. It asks for the one group and
// version, because a list of all groups hides those that just can't be reached, and a kind that can't be reached must
// not pass for one that doesn't exist.
func (s *sources) discover(ctx context.Context, kind virtual.Kind) (*schema.GroupVersionResource, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, discoveryTimeout)
	defer cancel()
	list, err := s.cluster.discovery.ServerResourcesForGroupVersionWithContext(ctx, kind.APIVersion())
	if apierrors.IsNotFound(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("ask for the resources of %s: %w", kind.APIVersion(), err)
	}
	for _, r := range list.APIResources {
		// A subresource's name has a slash.
		if r.Kind == kind.Kind && !strings.Contains(r.Name, "/") {
			gvr := schema.GroupVersionResource{Group: kind.Group, Version: kind.Version, Resource: r.Name}
			return &gvr, r.Namespaced, nil
		}
	}
	if kind.Group == "" && len(list.APIResources) == 0 {
		// The discovery client takes a missing core group for an empty one.
		return nil, false, fmt.Errorf("ask for the resources of %s: the API server lists none", kind.APIVersion())
	}
	return nil, false, nil
}

// believed is how many answers it takes to believe that a kind which was there is gone: to believe it wrongly would
// tell every workflow that its resource is.
const believed = 3

// absent takes in that the API server has no such kind, and so no objects of it.
func (s *sources) absent(src *source) {
	if src.there {
		if src.missed++; src.missed < believed {
			return
		}
		src.there = false
		s.store.SetSynced(src.kind, false)
		if err := s.replace(src, nil); err != nil {
			s.log.Error("the objects of a removed kind can't be removed", "kind", src.kind.String(), "error", err)
		}
	}
	if src.tell("absent") {
		s.log.Warn("a watched kind doesn't exist; waiting for it", "kind", src.kind.String())
	}
	s.settle(src)
}

// settle takes in that what there is of a kind is known.
func (s *sources) settle(src *source) {
	if !src.settled.Swap(true) {
		s.onSettled()
	}
}

// tell tells whether a problem is news; "" is none.
func (src *source) tell(problem string) bool {
	src.mu.Lock()
	defer src.mu.Unlock()
	news := src.problem != problem
	src.problem = problem
	return news
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
