package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/utils/lru"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

const (
	// markedInstances is for how many instances it is remembered what was written of late.
	markedInstances = 1024
	// maxMarks is how many marks an instance may have; above, all are forgotten.
	maxMarks = 1000
	// goneEvery is how often it is looked whether a deleted object has left the store.
	goneEvery = 10 * time.Millisecond
)

// marks remember up to where this process has written, for each instance, so that a statement which reads what a
// command wrote a moment ago waits until the watch has brought it. A watch is in order: to have seen the newest write of
// a kind in a namespace is to have seen all before.
type marks struct {
	mu        sync.Mutex
	instances *lru.Cache // by uid: map[place]mark
}

// place is what one watch surely brings in order.
type place struct {
	group, kind, namespace string
	// gone is the name of a deleted object: deletions are noted one by one, because their order isn't known.
	gone string
}

// mark is the newest write at a place.
type mark struct {
	key virtual.Key
	// version that the object has now; empty for one that is gone, of which the uid is known.
	version, uid string
}

func newMarks() *marks { return &marks{instances: lru.New(markedInstances)} }

func (m *marks) wrote(instance string, key virtual.Key, version string) {
	m.set(instance, place{key.Group, key.Kind.Kind, key.Namespace, ""}, mark{key: key, version: version})
}

func (m *marks) deleted(instance string, key virtual.Key, uid string) {
	m.set(instance, place{key.Group, key.Kind.Kind, key.Namespace, key.Name}, mark{key: key, uid: uid})
}

func (m *marks) set(instance string, at place, now mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all map[place]mark
	if v, ok := m.instances.Get(instance); ok {
		all = v.(map[place]mark)
	}
	if all == nil || len(all) >= maxMarks {
		all = map[place]mark{}
		m.instances.Add(instance, all)
	}
	if old, ok := all[at]; ok && now.version != "" {
		if order, err := resourceversion.CompareResourceVersion(old.version, now.version); err == nil && order > 0 {
			return // writes side by side needn't be noted in their order
		}
	}
	all[at] = now
}

// of are an instance's marks on some kinds.
func (m *marks) of(instance string, kinds []virtual.Kind) map[place]mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.instances.Get(instance)
	if !ok {
		return nil
	}
	out := map[place]mark{}
	for at, mark := range v.(map[place]mark) {
		if slices.ContainsFunc(kinds, func(k virtual.Kind) bool { return k.Group == at.group && k.Kind == at.kind }) {
			out[at] = mark
		}
	}
	return out
}

// reached forgets a mark unless it has moved on.
func (m *marks) reached(instance string, at place, was mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.instances.Get(instance); ok {
		if all := v.(map[place]mark); all[at] == was {
			delete(all, at)
		}
	}
}

// await waits until the store has what this process wrote of some kinds for the instance. A kind that isn't watched is
// not waited for. Error: ctx ended.
func (m *marks) await(ctx context.Context, store *virtual.Store, instance string, kinds []virtual.Kind) error {
	for at, mark := range m.of(instance, kinds) {
		key := mark.key
		for _, k := range kinds {
			if k.Group == at.group && k.Kind == at.kind {
				key.Kind = k // in the version in which the store has it
			}
		}
		var err error
		if mark.version != "" {
			_, _, err = store.WaitFor(ctx, key, mark.version)
		} else {
			err = awaitGone(ctx, store, key, func(o virtual.Object) bool { return o.UID != mark.uid })
		}
		if err != nil && !errors.Is(err, virtual.ErrNotWatched) {
			return err
		}
		m.reached(instance, at, mark)
	}
	return nil
}

// awaitGone waits until the store has an object no more, has it as one that is being deleted, or has one that counts as
// another. It looks again and again: a deletion has no version that its request would tell, to be waited for. Error: ctx
// ended.
func awaitGone(ctx context.Context, store *virtual.Store, key virtual.Key, other func(virtual.Object) bool) error {
	tick := time.NewTicker(goneEvery)
	defer tick.Stop()
	for {
		if o, ok := store.Get(key); !ok || o.Deleting() || other(o) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until %s is gone: %w", key, ctx.Err())
		}
	}
}
