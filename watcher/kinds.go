package watcher

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// retries is how what fails at the API server is tried again: soon, then less and less often. A kind that doesn't exist
// is asked for as in absences, so that it is watched within seconds of its CRD.
var (
	retries  = wait.Backoff{Duration: 200 * time.Millisecond, Cap: 10 * time.Second, Factor: 2, Jitter: 0.5, Steps: 50}
	absences = wait.Backoff{Duration: 200 * time.Millisecond, Cap: 2 * time.Second, Factor: 2, Jitter: 0.5, Steps: 50}
)

// sources are the kinds that are watched, for all rules, statements and operators that name them.
type sources struct {
	cluster *cluster
	store   *virtual.Store
	log     *slog.Logger
	// onSettled is called when a kind has been seen completely, or is found not to exist; onLocated when a table's kind
	// has been found.
	onSettled func()
	onLocated func(table string, kind virtual.Kind)
	// unreachable: the API server is. All kinds find that at once, one line says it.
	unreachable atomic.Bool

	mu     sync.RWMutex
	kinds  map[virtual.Kind]*source
	tables map[string]*table
	// served says which kind is the table of a name: there can be one version of it only.
	served map[string]virtual.Kind
	// start runs what works until the end; nil before run.
	start func(func(context.Context))
}

// source is one kind that is watched.
type source struct {
	kind virtual.Kind
	// followOwners: what owns these objects decides whether they belong to an instance.
	followOwners atomic.Bool
	// followed: such an object is owned by one of these.
	followed atomic.Bool
	// settled: all that is needed of it has been seen once, or it was found not to exist.
	settled atomic.Bool
	// started: it is being watched, or asked for. The sources' mutex guards it.
	started bool
	// missed counts the answers that it isn't there, since it was.
	missed int

	mu sync.Mutex
	// needs are what rules and statements need of it. None: it is watched as an owner only, and its metadata is enough.
	needs []span
	// parts are what is watched, each by a reflector; again has that planned anew.
	parts []*part
	again context.CancelFunc
	// there: it has been watched and its objects are in the store.
	there bool
	// problem is the last one that was told.
	problem string
}

func newSources(cluster *cluster, store *virtual.Store, log *slog.Logger) *sources {
	return &sources{
		cluster: cluster, store: store, log: log, onSettled: func() {}, onLocated: func(string, virtual.Kind) {},
		kinds: map[virtual.Kind]*source{}, tables: map[string]*table{}, served: map[string]virtual.Kind{},
	}
}

// add has a kind watched, as much of it as is needed.
func (s *sources) add(kind virtual.Kind, need span) *source {
	s.mu.Lock()
	defer s.mu.Unlock()
	src := s.source(kind)
	defer s.begun(src)
	src.mu.Lock()
	defer src.mu.Unlock()
	src.needs = append(src.needs, need)
	s.widen(src, func(p *part) bool { return !p.metadata && (p.whole() || p.span == need) })
	return src
}

// follow has a kind watched because it owns objects of an instance-wide rule: the ReplicaSet between a Deployment and
// its Pods. Its metadata is enough, but of all of its objects: who the next owner is can't be known.
func (s *sources) follow(kind virtual.Kind) {
	s.mu.RLock()
	src := s.kinds[kind]
	s.mu.RUnlock()
	if src != nil && src.followed.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	src = s.source(kind)
	defer s.begun(src)
	src.mu.Lock()
	defer src.mu.Unlock()
	if !src.followed.Swap(true) {
		// Their owners count as well, those of the objects that are there included.
		following := src.followOwners.Swap(true)
		s.widen(src, func(p *part) bool { return following && p.whole() })
	}
}

// source is the source of a kind, a new one if there is none. The mutex is held.
func (s *sources) source(kind virtual.Kind) *source {
	src := s.kinds[kind]
	if src == nil {
		src = &source{kind: kind}
		s.kinds[kind] = src
		s.store.SetSynced(kind, false)
	}
	return src
}

// begun has a source watched, if it is new and this is the time. The mutex is held.
func (s *sources) begun(src *source) {
	if s.start != nil && !src.started {
		src.started = true
		s.start(func(ctx context.Context) { s.watch(ctx, src) })
	}
}

// widen has a source watched anew unless one of its parts is enough. Until then it is not settled. Both mutexes are held.
func (s *sources) widen(src *source, enough func(*part) bool) {
	if src.again == nil || slices.ContainsFunc(src.parts, enough) {
		return
	}
	src.parts = nil
	src.settled.Store(false)
	s.store.SetSynced(src.kind, false)
	src.again()
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
		if other.followed.Load() && !other.settled.Load() {
			return false
		}
	}
	return true
}

// run watches all kinds until ctx ends.
func (s *sources) run(ctx context.Context) {
	var all sync.WaitGroup
	s.mu.Lock()
	s.start = func(fn func(context.Context)) { all.Go(func() { fn(ctx) }) }
	for _, src := range s.kinds {
		s.begun(src)
	}
	for _, t := range s.tables {
		s.start(func(ctx context.Context) { s.locate(ctx, t) })
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
		resource, err := s.discover(ctx, src.kind)
		switch {
		case err != nil:
			s.report(src, err)
		case resource == nil:
			s.absent(src)
			pause(ctx, absence())
			continue
		default:
			src.missed = 0
			if !src.ownerOnly() {
				s.claim(*resource)
			}
			s.reflect(ctx, src, *resource)
		}
		pause(ctx, delay())
	}
}

// believed is how many answers it takes to believe that a kind which was there is gone: to believe it wrongly would
// tell every workflow that its resource is.
const believed = 3

// absent takes in that the API server has no such kind, and so no objects of it.
func (s *sources) absent(src *source) {
	if src.known() {
		if src.missed++; src.missed < believed {
			return
		}
		src.mu.Lock()
		src.there = false
		src.mu.Unlock()
		s.store.SetSynced(src.kind, false)
		if err := s.replace(src, "", nil); err != nil {
			s.log.Error("the objects of a removed kind can't be removed", "kind", src.kind.String(), "error", err)
		}
	}
	if src.tell("absent") {
		s.log.Warn("a watched kind doesn't exist; waiting for it", "kind", src.kind.String())
	}
	if s.isTable(src.kind) {
		// An empty one, which statements can read.
		s.store.SetSynced(src.kind, true)
	}
	s.settle(src)
}

// settle takes in that what there is of a kind is known.
func (s *sources) settle(src *source) {
	if !src.settled.Swap(true) {
		s.onSettled()
	}
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
