// Package virtual is the virtual resource store: the cluster's objects, mapped into an in-memory database inside the
// process, as far as the loaded operators name them.
//
// It is the reflectors' store, so an object is in memory once, as SQLite's JSONB and never as a decoded tree: an eighth of
// what an informer's cache takes. It knows which instance an object belongs to, keeps the last state of what was
// deleted for a while, answers SQL, and lets a reader wait until it has seen a certain version.
//
// What doesn't belong here: how objects come in (package watcher), what follows from them, and Temporal. It imports
// nothing else of this module.
//
// Why BuntDB and not a map with a mutex: keys and computed index keys are written in one transaction and in order, so
// that a prefix of a key is a query; and what is buried expires. Why no index of BuntDB's own: those parse both documents
// at every comparison. BuntDB has one lock for all and no versions, so only writers go there: what a transaction has
// done is published, all at once, in a tree of the same strings, and readers take copy-on-write snapshots of that. No
// transaction parses a document or calls back.
package virtual

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/btree"
	"github.com/tidwall/buntdb"
)

// Options of a store.
type Options struct {
	// InstanceLabel is the label whose value names the instance that an object belongs to; empty: no label does.
	InstanceLabel string
	// TombstoneTTL is how long the last state of a deleted object stays readable; default 10 minutes.
	TombstoneTTL time.Duration
	// IndexedLabels are the keys of the labels by whose values objects are found without a scan. Default (nil): app,
	// app.kubernetes.io/name and app.kubernetes.io/instance.
	IndexedLabels []string
	// Ready tells whether an object is ready, for the column of that name, and whether that is known. Nil: it never is.
	Ready func(Object) (ready, known bool)
	// Events is how many lifecycle events the table events keeps; default 1000, none if negative.
	Events int
}

// Store holds objects. Its methods may be called from any goroutine.
type Store struct {
	db      *buntdb.DB
	options Options
	watch   progress
	events  events
	sql     engine
	current current
	changed atomic.Pointer[func(Change)]

	// pending is what the running transaction will do to the tree.
	pending []treeChange
	// tree holds what the database holds; latest is a copy of it, nil if it has changed since.
	treeMu sync.Mutex
	tree   *btree.Map[string, string]
	latest atomic.Pointer[snapshot]

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
	if options.IndexedLabels == nil {
		options.IndexedLabels = []string{"app", "app.kubernetes.io/name", "app.kubernetes.io/instance"}
	}
	if options.Events == 0 {
		options.Events = 1000
	}
	s := &Store{
		options: options, events: events{size: options.Events}, tree: btree.NewMap[string, string](0),
		ids: map[Kind]string{}, kinds: map[string]Kind{},
	}
	db, err := buntdb.Open(":memory:")
	if err != nil {
		return nil, fmt.Errorf("open the virtual resource store: %w", err)
	}
	var config buntdb.Config
	if err := db.ReadConfig(&config); err == nil {
		config.SyncPolicy = buntdb.Never
		config.OnExpiredSync = s.expired
		err = db.SetConfig(config)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("configure the virtual resource store: %w", err), db.Close())
		}
	}
	s.db = db
	return s, nil
}

// Close releases the memory. Waiting readers end with their contexts.
func (s *Store) Close() error {
	s.sql.close()
	return s.db.Close()
}

// OnChange makes the store call fn after each change, with no lock held, in the goroutine that made the change. Changes
// of one object that are made one after the other are told in that order. There is one fn; a later one replaces it.
func (s *Store) OnChange(fn func(Change)) { s.changed.Store(&fn) }

// Put stores an object's state and returns the one before. Storing what is already there changes nothing. Possible
// errors: the JSON is no Kubernetes object, or the store is closed.
func (s *Store) Put(key Key, json []byte) (old Object, existed bool, err error) {
	now, err := NewObject(key, json)
	if err != nil {
		return Object{}, false, fmt.Errorf("put %w", err)
	}
	return s.PutObject(now)
}

// PutObject is Put for an object that is made already. Possible errors: it is the zero Object, or the store is closed.
func (s *Store) PutObject(now Object) (old Object, existed bool, err error) {
	changes, err := s.apply([]Object{now})
	if err != nil {
		return Object{}, false, fmt.Errorf("put %s: %w", now.Key, err)
	}
	old = changes[0].Old
	return old, old.Exists(), nil
}

// Delete removes an object, leaves a tombstone and returns the last state. What it owned stays with its instance: the
// cluster will collect it. Possible errors: the store is closed.
func (s *Store) Delete(key Key) (old Object, existed bool, err error) {
	changes, err := s.apply([]Object{{Key: key, Deleted: true}})
	if err != nil {
		return Object{}, false, fmt.Errorf("delete %s: %w", key, err)
	}
	old = changes[0].Old
	return old, old.Exists(), nil
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
	r, ok := s.snapshot().record(space + tail(id, key.Namespace, key.Name))
	if !ok {
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
	for c := s.snapshot().seek(prefix); c.next(); {
		if !fn(record(c.value).object(s.key(c.key))) {
			return
		}
	}
}

// ByInstance calls fn with the objects of a kind that belong to an instance, as List does.
func (s *Store) ByInstance(instance string, kind Kind, fn func(Object) bool) {
	id, known := s.known(kind)
	if !known || instance == "" {
		return
	}
	v := s.snapshot()
	for c := v.seek(spaceInstance + instance + sep + id + sep); c.next(); {
		if r, ok := v.record(spaceObject + lastParts(c.key)); ok && !fn(r.object(s.key(c.key))) {
			return
		}
	}
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
