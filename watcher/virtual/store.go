// Package virtual is the virtual resource store: the cluster's objects, mapped into an in-memory database inside the
// process, as far as the loaded operators name them.
//
// It is the reflectors' store, so an object is in memory once, as compact JSON and never as a decoded tree: a tenth of
// what an informer's cache takes. It knows which instance an object belongs to, keeps the last state of what was
// deleted for a while, and lets a reader wait until it has seen a certain version.
//
// What doesn't belong here: how objects come in (package watcher), what follows from them, and Temporal. It imports
// nothing else of this module.
//
// Why BuntDB and not a map with a mutex: keys and computed index keys are written in one transaction and in order, so
// that a prefix of a key is a query. Why no index of BuntDB's own: those parse both documents at every comparison.
// BuntDB has one lock for all, so no transaction here parses a document or calls back; readers get what they asked for
// once the lock is released.
package virtual

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/buntdb"
)

// Options of a store.
type Options struct {
	// InstanceLabel is the label whose value names the instance that an object belongs to; empty: no label does.
	InstanceLabel string
	// TombstoneTTL is how long the last state of a deleted object stays readable; default 10 minutes.
	TombstoneTTL time.Duration
}

// Store holds objects. Its methods may be called from any goroutine.
type Store struct {
	db      *buntdb.DB
	options Options
	watch   progress
	changed atomic.Pointer[func(Change)]

	mu    sync.RWMutex
	ids   map[Kind]string
	kinds map[string]Kind
}

// Change is one object's step from Old to Now. Old is the zero Object for one that was not there, Now for one that is
// deleted. Both exist and are equal but for their Instance if an owner or a binding gave the object to another instance.
type Change struct {
	Key Key
	Old Object
	Now Object
}

// Open makes an empty store.
func Open(options Options) (*Store, error) {
	if options.TombstoneTTL <= 0 {
		options.TombstoneTTL = 10 * time.Minute
	}
	db, err := buntdb.Open(":memory:")
	if err != nil {
		return nil, fmt.Errorf("open the virtual resource store: %w", err)
	}
	var config buntdb.Config
	if err := db.ReadConfig(&config); err == nil {
		config.SyncPolicy = buntdb.Never
		err = db.SetConfig(config)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("configure the virtual resource store: %w", err), db.Close())
		}
	}
	return &Store{db: db, options: options, ids: map[Kind]string{}, kinds: map[string]Kind{}}, nil
}

// Close releases the memory. Waiting readers end with their contexts.
func (s *Store) Close() error { return s.db.Close() }

// OnChange makes the store call fn after each change, with no lock held, in the goroutine that made the change. Changes
// of one object that are made one after the other are told in that order. There is one fn; a later one replaces it.
func (s *Store) OnChange(fn func(Change)) { s.changed.Store(&fn) }

// Put stores an object's state and returns the one before. Storing what is already there changes nothing. Possible
// errors: the JSON is no Kubernetes object, or the store is closed.
func (s *Store) Put(key Key, json []byte) (old Object, existed bool, err error) {
	now, err := newRecord(json, s.options.InstanceLabel)
	if err != nil {
		return Object{}, false, fmt.Errorf("put %s: %w", key, err)
	}
	var before record
	var moved []move
	same := false
	at := tail(s.id(key.Kind), key.Namespace, key.Name)
	err = s.db.Update(func(tx *buntdb.Tx) error {
		now.instance = resolve(tx, now)
		before, existed = getRecord(tx, spaceObject+at)
		if existed && before == now {
			same = true
			return nil
		}
		if existed && before.uid != now.uid {
			if err := s.bury(tx, at, before); err != nil {
				return err
			}
		}
		if err := replace(tx, at, before, now); err != nil {
			return err
		}
		if existed && before.uid == now.uid && before.instance == now.instance {
			return nil
		}
		var err error
		moved, err = propagate(tx, now.uid, at)
		return err
	})
	if err != nil {
		return Object{}, false, fmt.Errorf("put %s: %w", key, err)
	}
	if existed {
		old = before.object(key)
	}
	if !same {
		s.tell(Change{Key: key, Old: old, Now: now.object(key)})
		s.tellMoves(moved)
		s.watch.touched(key.Kind)
	}
	return old, existed, nil
}

// Delete removes an object, leaves a tombstone and returns the last state. What it owned stays with its instance: the
// cluster will collect it. Possible errors: the store is closed.
func (s *Store) Delete(key Key) (old Object, existed bool, err error) {
	at := tail(s.id(key.Kind), key.Namespace, key.Name)
	var before record
	err = s.db.Update(func(tx *buntdb.Tx) error {
		before, existed = getRecord(tx, spaceObject+at)
		if !existed {
			return nil
		}
		if err := s.bury(tx, at, before); err != nil {
			return err
		}
		return replace(tx, at, before, record{})
	})
	if err != nil {
		return Object{}, false, fmt.Errorf("delete %s: %w", key, err)
	}
	if !existed {
		return Object{}, false, nil
	}
	old = before.object(key)
	s.tell(Change{Key: key, Old: old})
	s.watch.touched(key.Kind)
	return old, true, nil
}

// Get reads an object.
func (s *Store) Get(key Key) (Object, bool) { return s.read(spaceObject, key) }

// Tombstone reads the last state of an object that was deleted less than TombstoneTTL ago, whether or not another one
// has its name by now.
func (s *Store) Tombstone(key Key) (Object, bool) {
	o, ok := s.read(spaceTombstone, key)
	o.Deleted = ok
	return o, ok
}

func (s *Store) read(space string, key Key) (Object, bool) {
	id, known := s.known(key.Kind)
	if !known {
		return Object{}, false
	}
	var r record
	var ok bool
	err := s.db.View(func(tx *buntdb.Tx) error {
		r, ok = getRecord(tx, space+tail(id, key.Namespace, key.Name))
		return nil
	})
	if err != nil || !ok {
		return Object{}, false
	}
	return r.object(key), true
}

// List calls fn with the objects of a kind, in the order of namespace and name, until it returns false; namespace ""
// means all of them. They are all of one moment, and fn may take its time and use the store.
func (s *Store) List(kind Kind, namespace string, fn func(Object) bool) {
	id, known := s.known(kind)
	if !known {
		return
	}
	prefix := spaceObject + id + sep
	if namespace != "" {
		prefix += namespace + sep
	}
	var found []pair
	// Only the strings' headers are collected: 100,000 of them hold the lock for some milliseconds.
	_ = s.db.View(func(tx *buntdb.Tx) error {
		found = scan(tx, prefix)
		return nil
	})
	s.each(found, fn)
}

// ByInstance calls fn with the objects of a kind that belong to an instance, as List does.
func (s *Store) ByInstance(instance string, kind Kind, fn func(Object) bool) {
	id, known := s.known(kind)
	if !known || instance == "" {
		return
	}
	var found []pair
	_ = s.db.View(func(tx *buntdb.Tx) error {
		for _, entry := range scan(tx, spaceInstance+instance+sep+id+sep) {
			key := spaceObject + lastParts(entry.key)
			if value, err := tx.Get(key); err == nil {
				found = append(found, pair{key, value})
			}
		}
		return nil
	})
	s.each(found, fn)
}

func (s *Store) each(found []pair, fn func(Object) bool) {
	for _, p := range found {
		if !fn(parseRecord(p.value).object(s.key(p.key))) {
			return
		}
	}
}

type pair struct{ key, value string }

// scan collects what begins with prefix. It must not be used to write while it runs, so it returns everything at once.
func scan(tx *buntdb.Tx, prefix string) []pair {
	var found []pair
	_ = tx.AscendGreaterOrEqual("", prefix, func(key, value string) bool {
		if !strings.HasPrefix(key, prefix) {
			return false
		}
		found = append(found, pair{key, value})
		return true
	})
	return found
}

func getRecord(tx *buntdb.Tx, key string) (record, bool) {
	value, err := tx.Get(key)
	if err != nil {
		return record{}, false
	}
	return parseRecord(value), true
}

func (s *Store) tell(c Change) {
	if fn := s.changed.Load(); fn != nil {
		(*fn)(c)
	}
}

func (s *Store) tellMoves(moves []move) {
	for _, m := range moves {
		key := s.key(m.at)
		s.tell(Change{Key: key, Old: m.old.object(key), Now: m.now.object(key)})
	}
}

// id is the short number of a kind.
func (s *Store) id(kind Kind) string {
	if id, ok := s.known(kind); ok {
		return id
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := s.ids[kind]
	if !ok {
		id = strconv.FormatInt(int64(len(s.ids)), 36)
		s.ids[kind], s.kinds[id] = id, kind
	}
	return id
}

func (s *Store) known(kind Kind) (string, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	id, ok := s.ids[kind]
	return id, ok
}

// key is the Key of a database key of any space.
func (s *Store) key(at string) Key {
	id, namespace, name := parseTail(at)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return Key{Kind: s.kinds[id], Namespace: namespace, Name: name}
}
