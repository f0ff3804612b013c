package virtual

import (
	"sync"
	"time"
)

// event is a row of the table events.
type event struct {
	time     time.Time
	category string
	Key
	uid, resourceVersion, instance string
}

// The categories of events, named as rules name them.
const (
	didCreate = "ResourceDidCreate"
	didUpdate = "ResourceDidUpdate"
	didDelete = "ResourceDidDelete"
)

// events are the last lifecycle events, for people who look. The ring is bounded, and so is what an entry holds.
type events struct {
	mu   sync.Mutex
	size int
	ring []event
	next int
}

func (e *events) add(category string, o Object) {
	if e.size <= 0 {
		return
	}
	entry := event{time.Now(), category, o.Key, o.UID, o.ResourceVersion, o.Instance}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.ring) < e.size {
		e.ring = append(e.ring, entry)
		return
	}
	e.ring[e.next] = entry
	e.next = (e.next + 1) % e.size
}

// all are the events, oldest first.
func (e *events) all() []event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append(append([]event{}, e.ring[e.next:]...), e.ring[:e.next]...)
}

// happened notes what a change of an object means to those who look.
func (s *Store) happened(c Change) {
	switch old, now := c.Old.Exists(), c.Now.Exists(); {
	case old && now && c.Old.UID == c.Now.UID:
		if !sameState(c.Old.record, c.Now.record) {
			s.events.add(didUpdate, c.Now)
		}
	default:
		if old {
			s.events.add(didDelete, c.Old)
		}
		if now {
			s.events.add(didCreate, c.Now)
		}
	}
}

// sameState tells whether two states of an object differ in their resourceVersion only. Comparing hashes would cost more
// than storing the object.
func sameState(a, b record) bool {
	for s := range sections {
		if s != textVersion && a.section(s) != b.section(s) {
			return false
		}
	}
	return true
}
