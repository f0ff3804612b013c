package virtual

import (
	"errors"
	"strings"

	"github.com/tidwall/buntdb"
)

// txn is a write transaction. BuntDB has one lock for all and no versions, so nobody reads there but who writes: what a
// transaction changes it also changes, all at once at its end, in a tree of the same strings of which readers take a
// copy-on-write snapshot.
type txn struct {
	*buntdb.Tx
	store *Store
}

// treeChange is a change that the tree still has to see.
type treeChange struct {
	key, value string
	gone       bool
}

// update runs fn in a transaction. An error undoes it.
func (s *Store) update(fn func(*txn) error) error {
	return s.db.Update(func(tx *buntdb.Tx) error {
		// BuntDB's lock guards pending.
		s.pending = s.pending[:0]
		if err := fn(&txn{tx, s}); err != nil {
			return err
		}
		s.publish()
		return nil
	})
}

// publish shows readers what the transaction has done.
func (s *Store) publish() {
	if len(s.pending) == 0 {
		return
	}
	s.treeMu.Lock()
	defer s.treeMu.Unlock()
	s.latest.Store(nil)
	s.current.note(s.pending)
	for _, c := range s.pending {
		if c.gone {
			s.tree.Delete(c.key)
		} else {
			s.tree.Set(c.key, c.value)
		}
	}
	clear(s.pending)
	if cap(s.pending) > 1<<16 {
		s.pending = nil
	}
}

// expired is what BuntDB calls, in a transaction of its own, for each key whose time is over.
func (s *Store) expired(key, _ string, tx *buntdb.Tx) error {
	s.pending = s.pending[:0]
	if err := (&txn{tx, s}).remove(key); err != nil {
		return err
	}
	s.publish()
	return nil
}

// set writes a key. Options may be nil.
func (t *txn) set(key, value string, options *buntdb.SetOptions) error {
	if _, _, err := t.Set(key, value, options); err != nil {
		return err
	}
	t.store.pending = append(t.store.pending, treeChange{key: key, value: value})
	return nil
}

// remove deletes a key that may be missing.
func (t *txn) remove(key string) error {
	if _, err := t.Delete(key); err != nil && !errors.Is(err, buntdb.ErrNotFound) {
		return err
	}
	t.store.pending = append(t.store.pending, treeChange{key: key, gone: true})
	return nil
}

// record reads the record at a key.
func (t *txn) record(key string) (record, bool) {
	value, err := t.Get(key)
	return record(value), err == nil
}

// scan collects the keys that begin with prefix. BuntDB can't be written to while it iterates, so it returns them all.
func (t *txn) scan(prefix string) []string {
	var found []string
	_ = t.AscendGreaterOrEqual("", prefix, func(key, _ string) bool {
		if !strings.HasPrefix(key, prefix) {
			return false
		}
		found = append(found, key)
		return true
	})
	return found
}
