package virtual

import (
	"errors"
	"fmt"
)

var errNothing = errors.New("there is nothing to store")

// batch is how many objects of a first list go in at once. It bounds how long another writer waits.
const batch = 256

// Apply stores objects in one transaction: a reader sees all of it or nothing. One that is Deleted is removed, and only
// its Key counts. Possible errors, after which nothing is stored: one is the zero Object, or the store is closed.
func (s *Store) Apply(objects []Object) error {
	_, err := s.apply(objects)
	if err != nil {
		return fmt.Errorf("store %d objects: %w", len(objects), err)
	}
	return nil
}

// Replace makes a kind's objects these and no others. Only what differs is written, in one transaction, but for the
// first list of a kind, on which nobody relies before SetSynced. Possible errors: an object is of another kind or none
// at all, or the store is closed.
func (s *Store) Replace(kind Kind, objects []Object) error {
	id := s.id(kind)
	v := s.snapshot()
	there := make(map[string]bool, len(objects))
	var changed []Object
	for _, o := range objects {
		if o.Kind != kind || !o.Exists() {
			return fmt.Errorf("replace the objects of %s: %w", kind, errNothing)
		}
		at := spaceObject + tail(id, o.Namespace, o.Name)
		there[at] = true
		if old, ok := v.record(at); !ok || old.document() != o.record.document() {
			changed = append(changed, o)
		}
	}
	for c := v.seek(spaceObject + id + sep); c.next(); {
		if !there[c.key] {
			changed = append(changed, Object{Key: s.key(c.key), Deleted: true})
		}
	}
	for size := batch; len(changed) > 0; changed = changed[size:] {
		if size = min(size, len(changed)); s.Watches(kind) {
			size = len(changed)
		}
		if err := s.Apply(changed[:size]); err != nil {
			return fmt.Errorf("replace the objects of %s: %w", kind, err)
		}
	}
	return nil
}

// apply stores objects in one transaction and tells of it. It returns a change for each of them, in their order.
func (s *Store) apply(objects []Object) ([]Change, error) {
	changes := make([]Change, len(objects))
	moved := make([][]move, len(objects))
	for _, o := range objects {
		if !o.Deleted && o.record == "" {
			return nil, errNothing
		}
	}
	err := s.update(func(tx *txn) error {
		for i, o := range objects {
			at := tail(s.id(o.Kind), o.Namespace, o.Name)
			var old, now record
			var err error
			if o.Deleted {
				old, err = s.remove(tx, at)
			} else {
				old, now, moved[i], err = s.put(tx, at, record(o.record.document()))
			}
			if err != nil {
				return err
			}
			changes[i] = Change{Key: o.Key, Old: old.object(o.Key), Now: now.object(o.Key)}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var last Kind
	for i, c := range changes {
		if c.Old.record == c.Now.record {
			continue
		}
		s.happened(c)
		s.tell(c)
		s.tellMoves(moved[i])
		if i == 0 || last != c.Key.Kind {
			s.watch.touched(c.Key.Kind)
			last = c.Key.Kind
		}
	}
	return changes, nil
}

// put writes an object that has no instance yet.
func (s *Store) put(tx *txn, at string, now record) (old, stored record, moved []move, err error) {
	now = now.in(resolve(tx, now))
	old, existed := tx.record(spaceObject + at)
	if existed && old == now {
		return old, now, nil, nil
	}
	if existed && old.uid() != now.uid() {
		if err := s.bury(tx, at, old); err != nil {
			return "", "", nil, err
		}
	}
	if err := replace(tx, at, old, now); err != nil {
		return "", "", nil, err
	}
	if !existed || old.uid() != now.uid() || old.instance() != now.instance() {
		moved, err = propagate(tx, now.uid(), at)
	}
	return old, now, moved, err
}

// remove deletes an object and leaves its tombstone.
func (s *Store) remove(tx *txn, at string) (old record, err error) {
	old, existed := tx.record(spaceObject + at)
	if !existed {
		return "", nil
	}
	if err := s.bury(tx, at, old); err != nil {
		return "", err
	}
	return old, replace(tx, at, old, "")
}
