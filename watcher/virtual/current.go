package virtual

import (
	"strings"
	"sync"
)

// current finds objects of the present state by hashing. Beside snapshots it is needed for its speed: to search the tree
// for one key costs more than all the rest of a query for one object, because nearly each step is a cache miss. It holds
// the strings that the tree holds. Its zero value is ready.
type current struct {
	mu      sync.RWMutex
	records map[string]string // kind, namespace, name → record
	// An object keeps uid, namespace and name all its life, so that this index serves every snapshot: who finds an object
	// through it looks there whether it is there, and has that uid.
	uids map[string]string // uid → kind, namespace, name
}

// note takes changes over. The store's latest snapshot must be forgotten before.
func (c *current) note(changes []treeChange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.records == nil {
		c.records, c.uids = map[string]string{}, map[string]string{}
	}
	for _, change := range changes {
		into := c.records
		at, ok := strings.CutPrefix(change.key, spaceObject)
		if !ok {
			if at, ok = strings.CutPrefix(change.key, spaceUID); !ok {
				continue
			}
			into = c.uids
		}
		if change.gone {
			delete(into, at)
		} else {
			into[at] = change.value
		}
	}
}

func (c *current) uid(uid string) (at string, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	at, ok = c.uids[uid]
	return at, ok
}

// object reads an object of a snapshot by its key in the database. While nothing has changed since the snapshot was
// taken it needs no search.
func (s *Store) object(v *snapshot, key []byte) (record, bool) {
	at := view(key[len(spaceObject):])
	s.current.mu.RLock()
	value, ok := s.current.records[at]
	same := s.latest.Load() == v
	s.current.mu.RUnlock()
	if same {
		return record(value), ok
	}
	return v.record(view(key))
}
