package virtual

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// ErrNotWatched: no reflector fills the store with this kind, so that waiting for it is in vain.
var ErrNotWatched = errors.New("this kind is not watched")

// progress says how far the store has come with each kind, and wakes who waits for more. Its zero value is ready.
type progress struct {
	mu    sync.Mutex
	kinds map[Kind]*track
}

type track struct {
	// declared: a reflector serves the kind; synced: it has seen all that was there when it began.
	declared, synced bool
	// version: everything up to here has been seen.
	version string
	// waiting is closed and forgotten at the next step; nil while nobody waits.
	waiting chan struct{}
}

// locked runs fn on a kind's track; fn tells whether to wake the waiting.
func (p *progress) locked(kind Kind, fn func(*track) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.kinds[kind]
	if t == nil {
		if p.kinds == nil {
			p.kinds = map[Kind]*track{}
		}
		t = &track{}
		p.kinds[kind] = t
	}
	if fn(t) && t.waiting != nil {
		close(t.waiting)
		t.waiting = nil
	}
}

func (p *progress) touched(kind Kind) { p.locked(kind, func(*track) bool { return true }) }

// SetSynced says whether the store has all objects of a kind. The first call, with either value, declares that a
// reflector serves the kind.
func (s *Store) SetSynced(kind Kind, synced bool) {
	s.watch.locked(kind, func(t *track) bool {
		t.declared, t.synced = true, synced
		return true
	})
}

// Watches tells whether the store has all objects of a kind, so that one that it lacks isn't there.
func (s *Store) Watches(kind Kind) (synced bool) {
	s.watch.locked(kind, func(t *track) bool {
		synced = t.synced
		return false
	})
	return synced
}

// SetProgress says that all changes of a kind up to a resourceVersion are in the store.
func (s *Store) SetProgress(kind Kind, resourceVersion string) {
	s.watch.locked(kind, func(t *track) bool {
		t.version = resourceVersion
		return true
	})
}

// WaitFor waits until the store's state of an object is at least that of a resourceVersion, and returns that state;
// false: the object is gone. An empty version means now. It is woken by changes and never polls.
//
// Possible errors, each with the state as it is now: ctx ended; ErrNotWatched; the version is none that can be compared.
func (s *Store) WaitFor(ctx context.Context, key Key, resourceVersion string) (Object, bool, error) {
	for {
		// What wakes is taken before the state is read, so that no change falls in between.
		var next <-chan struct{}
		var declared bool
		var version string
		s.watch.locked(key.Kind, func(t *track) bool {
			declared, version = t.declared, t.version
			if t.waiting == nil {
				t.waiting = make(chan struct{})
			}
			next = t.waiting
			return false
		})
		object, ok := s.Get(key)
		if resourceVersion == "" || version == resourceVersion || ok && object.ResourceVersion == resourceVersion {
			return object, ok, nil
		}
		for _, reached := range []string{object.ResourceVersion, version} {
			if reached == "" {
				continue
			}
			order, err := resourceversion.CompareResourceVersion(reached, resourceVersion)
			if err != nil {
				return object, ok, fmt.Errorf("wait for %s: %w", key, err)
			}
			if order >= 0 {
				return object, ok, nil
			}
		}
		if !declared {
			return object, ok, fmt.Errorf("wait for %s: %w", key, ErrNotWatched)
		}
		select {
		case <-next:
		case <-ctx.Done():
			return object, ok, fmt.Errorf("wait for %s at version %s: %w", key, resourceVersion, ctx.Err())
		}
	}
}
