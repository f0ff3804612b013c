package virtual

import (
	"fmt"
	"slices"
)

// An object belongs to the instance that its label names; else to the one that its Helm release is bound to; else to
// that of an owner, which is a custom resource or another object, and so on upwards. The outcome is stored with the
// object, and whatever can change it (a label, a binding, an owner that comes later) has the objects below evaluated
// anew, in the same transaction.

// move is a record whose instance changed without a write to the object.
type move struct {
	at       string
	old, now record
}

// BindOwner says that the objects which the object with this uid owns belong to an instance: the object is the
// instance's custom resource. An empty instance takes that back.
func (s *Store) BindOwner(uid, instance string) error {
	if err := s.bind(spaceOwnerBind+uid, instance, func(tx *txn) ([]move, error) {
		return propagate(tx, uid, "")
	}); err != nil {
		return fmt.Errorf("bind owner %s: %w", uid, err)
	}
	return nil
}

// BindRelease says that the objects of a Helm release belong to an instance. An empty instance takes that back.
func (s *Store) BindRelease(namespace, release, instance string) error {
	name := namespace + sep + release
	if err := s.bind(spaceReleaseRef+name, instance, func(tx *txn) ([]move, error) {
		var moved []move
		for _, entry := range tx.scan(spaceRelease + name + sep) {
			m, err := reevaluate(tx, lastParts(entry))
			if err != nil {
				return nil, err
			}
			moved = append(moved, m...)
		}
		return moved, nil
	}); err != nil {
		return fmt.Errorf("bind release %s/%s: %w", namespace, release, err)
	}
	return nil
}

func (s *Store) bind(key, instance string, reach func(*txn) ([]move, error)) error {
	var moved []move
	err := s.update(func(tx *txn) error {
		if before, err := tx.Get(key); before == instance && (err == nil || instance == "") {
			return nil
		}
		var err error
		if instance == "" {
			err = tx.remove(key)
		} else {
			err = tx.set(key, instance, nil)
		}
		if err != nil {
			return err
		}
		moved, err = reach(tx)
		return err
	})
	if err != nil {
		return err
	}
	s.tellMoves(moved)
	return nil
}

// resolve finds the instance of r. It walks up from scratch and never trusts an owner's stored instance: two objects
// that own each other must not keep each other in an instance which neither has a reason to be in.
func resolve(tx *txn, r record) string { return climb(tx, r, []string{r.uid()}) }

func climb(tx *txn, r record, seen []string) string {
	if label := r.label(tx.store.options.InstanceLabel); label != "" {
		return label
	}
	if release := r.release(); release != "" {
		if instance, err := tx.Get(spaceReleaseRef + release); err == nil {
			return instance
		}
	}
	instance := ""
	r.eachOwner(func(uid string) bool {
		instance, _ = tx.Get(spaceOwnerBind + uid)
		return instance == ""
	})
	if instance != "" {
		return instance
	}
	r.eachOwner(func(uid string) bool {
		if slices.Contains(seen, uid) {
			return true
		}
		seen = append(seen, uid)
		if owner, ok := byUID(tx, uid); ok {
			instance = climb(tx, owner, seen)
		}
		return instance == ""
	})
	return instance
}

// byUID finds an object, or its tombstone: what is being collected after its owner still belongs where it did.
func byUID(tx *txn, uid string) (record, bool) {
	at, err := tx.Get(spaceUID + uid)
	if err != nil {
		return "", false
	}
	for _, space := range []string{spaceObject, spaceTombstone} {
		if r, ok := tx.record(space + at); ok && r.uid() == uid {
			return r, true
		}
	}
	return "", false
}

// propagate evaluates what the object with this uid owns, and what that owns in turn where it moved. The object at
// skip, where the change came from, is left alone.
func propagate(tx *txn, uid, skip string) ([]move, error) {
	var moved []move
	seen := map[string]bool{skip: true}
	for open := []string{uid}; len(open) > 0; open = open[1:] {
		if open[0] == "" {
			continue
		}
		for _, entry := range tx.scan(spaceDependent + open[0] + sep) {
			at := lastParts(entry)
			if seen[at] {
				continue
			}
			seen[at] = true
			m, ok, err := evaluate(tx, at)
			if err != nil {
				return nil, err
			}
			if ok {
				moved = append(moved, m)
				open = append(open, m.now.uid())
			}
		}
	}
	return moved, nil
}

// reevaluate evaluates one object and, if it moved, what it owns.
func reevaluate(tx *txn, at string) ([]move, error) {
	m, ok, err := evaluate(tx, at)
	if err != nil || !ok {
		return nil, err
	}
	below, err := propagate(tx, m.now.uid(), at)
	return append([]move{m}, below...), err
}

func evaluate(tx *txn, at string) (m move, moved bool, err error) {
	old, ok := tx.record(spaceObject + at)
	if !ok {
		return move{}, false, nil
	}
	now := old.in(resolve(tx, old))
	if now == old {
		return move{}, false, nil
	}
	return move{at: at, old: old, now: now}, true, replace(tx, at, old, now)
}
