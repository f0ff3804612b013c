package virtual

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tidwall/buntdb"
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
	if err := s.bind(spaceOwnerBind+uid, instance, func(tx *buntdb.Tx) ([]move, error) {
		return propagate(tx, uid, "")
	}); err != nil {
		return fmt.Errorf("bind owner %s: %w", uid, err)
	}
	return nil
}

// BindRelease says that the objects of a Helm release belong to an instance. An empty instance takes that back.
func (s *Store) BindRelease(namespace, release, instance string) error {
	name := namespace + sep + release
	if err := s.bind(spaceReleaseRef+name, instance, func(tx *buntdb.Tx) ([]move, error) {
		var moved []move
		for _, entry := range scan(tx, spaceRelease+name+sep) {
			m, err := reevaluate(tx, lastParts(entry.key))
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

func (s *Store) bind(key, instance string, reach func(*buntdb.Tx) ([]move, error)) error {
	var moved []move
	err := s.db.Update(func(tx *buntdb.Tx) error {
		if before, err := tx.Get(key); before == instance && (err == nil || instance == "") {
			return nil
		}
		var err error
		if instance == "" {
			err = remove(tx, key)
		} else {
			_, _, err = tx.Set(key, instance, nil)
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
func resolve(tx *buntdb.Tx, r record) string { return climb(tx, r, []string{r.uid}) }

func climb(tx *buntdb.Tx, r record, seen []string) string {
	if r.label != "" {
		return r.label
	}
	if r.release != "" {
		if instance, err := tx.Get(spaceReleaseRef + r.release); err == nil {
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
func byUID(tx *buntdb.Tx, uid string) (record, bool) {
	at, err := tx.Get(spaceUID + uid)
	if err != nil {
		return record{}, false
	}
	for _, space := range []string{spaceObject, spaceTombstone} {
		if r, ok := getRecord(tx, space+at); ok && r.uid == uid {
			return r, true
		}
	}
	return record{}, false
}

// propagate evaluates what the object with this uid owns, and what that owns in turn where it moved. The object at
// skip, where the change came from, is left alone.
func propagate(tx *buntdb.Tx, uid, skip string) ([]move, error) {
	var moved []move
	seen := map[string]bool{skip: true}
	for open := []string{uid}; len(open) > 0; open = open[1:] {
		if open[0] == "" {
			continue
		}
		for _, entry := range scan(tx, spaceDependent+open[0]+sep) {
			at := lastParts(entry.key)
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
				open = append(open, m.now.uid)
			}
		}
	}
	return moved, nil
}

// reevaluate evaluates one object and, if it moved, what it owns.
func reevaluate(tx *buntdb.Tx, at string) ([]move, error) {
	m, ok, err := evaluate(tx, at)
	if err != nil || !ok {
		return nil, err
	}
	below, err := propagate(tx, m.now.uid, at)
	return append([]move{m}, below...), err
}

func evaluate(tx *buntdb.Tx, at string) (m move, moved bool, err error) {
	old, ok := getRecord(tx, spaceObject+at)
	if !ok {
		return move{}, false, nil
	}
	now := old
	now.instance = resolve(tx, old)
	if now.instance == old.instance {
		return move{}, false, nil
	}
	return move{at: at, old: old, now: now}, true, replace(tx, at, old, now)
}

// replace writes an object and all its index keys. A zero old means that there was none, a zero now that there is none
// any more.
func replace(tx *buntdb.Tx, at string, old, now record) error {
	gone, set := indexKeys(at, old), indexKeys(at, now)
	for _, key := range gone {
		if !slices.Contains(set, key) {
			if err := remove(tx, key); err != nil {
				return err
			}
		}
	}
	for _, key := range set {
		if !slices.Contains(gone, key) {
			if _, _, err := tx.Set(key, "", nil); err != nil {
				return err
			}
		}
	}
	if now == (record{}) {
		return remove(tx, spaceObject+at)
	}
	if now.uid != "" && now.uid != old.uid {
		if _, _, err := tx.Set(spaceUID+now.uid, at, nil); err != nil {
			return err
		}
	}
	_, _, err := tx.Set(spaceObject+at, now.encode(), nil)
	return err
}

func indexKeys(at string, r record) []string {
	var keys []string
	if r.instance != "" {
		keys = append(keys, spaceInstance+r.instance+sep+at)
	}
	if r.release != "" {
		keys = append(keys, spaceRelease+r.release+sep+at)
	}
	r.eachOwner(func(uid string) bool {
		keys = append(keys, spaceDependent+uid+sep+at)
		return true
	})
	return keys
}

// bury leaves r's tombstone. Its uid stays known as long: see byUID.
func (s *Store) bury(tx *buntdb.Tx, at string, r record) error {
	expiring := &buntdb.SetOptions{Expires: true, TTL: s.options.TombstoneTTL}
	if _, _, err := tx.Set(spaceTombstone+at, r.encode(), expiring); err != nil {
		return err
	}
	if there, err := tx.Get(spaceUID + r.uid); err != nil || there != at {
		return nil
	}
	_, _, err := tx.Set(spaceUID+r.uid, at, expiring)
	return err
}

// remove deletes a key that may be missing.
func remove(tx *buntdb.Tx, key string) error {
	_, err := tx.Delete(key)
	if errors.Is(err, buntdb.ErrNotFound) {
		return nil
	}
	return err
}
