package watcher

import (
	"context"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// The two tables that are no kind's.
const (
	tableResources = "resources"
	tableEvents    = "events"
)

// table is a table that a statement names and of which the kind has to be asked for, because it is neither built in nor
// an operator's own. The sources' mutex guards it.
type table struct {
	name string
	// kind is the one found; absent: there is none as yet, so that the table is empty.
	kind   virtual.Kind
	absent bool
}

// addTable has the kind watched that is a table, all of it: a statement may ask for anything. known are the kinds of
// which the resource needs no question.
func (s *sources) addTable(name string, known []virtual.Resource) {
	if name == tableResources || name == tableEvents {
		return
	}
	for _, r := range known {
		if r.Table() == name {
			s.claim(r)
			s.add(r.Kind, span{})
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tables[name] == nil {
		s.tables[name] = &table{name: name}
	}
}

// claim makes a kind the table of its name, unless that is another version of it.
func (s *sources) claim(r virtual.Resource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := r.Table()
	if _, taken := s.served[name]; taken || s.tables[name] != nil && s.tables[name].kind != r.Kind {
		return
	}
	s.served[name] = r.Kind
	s.store.Serve(r)
}

// isTable tells whether a kind is a table.
func (s *sources) isTable(kind virtual.Kind) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, k := range s.served {
		if k == kind {
			return true
		}
	}
	return false
}

// tableSettled tells whether the store has everything of a table, or knows that there is nothing.
func (s *sources) tableSettled(name string) bool {
	switch name {
	case tableEvents:
		return true
	case tableResources:
		return s.synced()
	}
	s.mu.RLock()
	kind, served := s.served[name]
	t := s.tables[name]
	absent := t != nil && t.absent
	s.mu.RUnlock()
	return absent || served && s.settled(kind)
}

// synced tells whether everything has been seen that rules and statements name.
func (s *sources) synced() bool {
	s.mu.RLock()
	var kinds []virtual.Kind
	absent := true
	for kind, src := range s.kinds {
		if !src.ownerOnly() {
			kinds = append(kinds, kind)
		}
	}
	for _, t := range s.tables {
		absent = absent && (t.absent || t.kind != (virtual.Kind{}))
	}
	s.mu.RUnlock()
	return absent && !slices.ContainsFunc(kinds, func(k virtual.Kind) bool { return !s.settled(k) })
}

// locate finds the kind of a table and has it watched. Until its CRD is there it is asked for, and the table is empty.
func (s *sources) locate(ctx context.Context, t *table) {
	delay := retries.DelayWithReset(clock.RealClock{}, 2*time.Minute)
	absence := absences.DelayWithReset(clock.RealClock{}, 2*time.Minute)
	told := false
	for ctx.Err() == nil {
		r, err := s.discoverTable(ctx, t.name)
		switch {
		case err != nil:
			if !told && ctx.Err() == nil {
				told = true
				s.log.Warn("the kind of a table can't be found; trying again", "table", t.name, "error", err)
			}
			pause(ctx, delay())
		case r == nil:
			s.missing(t)
			pause(ctx, absence())
		default:
			s.found(t, *r)
			return
		}
	}
}

// missing takes in that a table has no kind as yet: it is served as an empty one, under a kind that stands for the one to
// come.
func (s *sources) missing(t *table) {
	s.mu.Lock()
	news := !t.absent
	t.absent = true
	s.mu.Unlock()
	if !news {
		return
	}
	s.log.Warn("a table's kind doesn't exist; waiting for it", "table", t.name)
	plural, group, _ := strings.Cut(t.name, ".")
	stand := virtual.Resource{Kind: virtual.Kind{Group: group, Kind: plural}, Plural: plural}
	s.store.Serve(stand)
	s.store.SetSynced(stand.Kind, true)
	s.onSettled()
}

// found takes in the kind of a table.
func (s *sources) found(t *table, r virtual.Resource) {
	s.mu.Lock()
	t.kind, t.absent = r.Kind, false
	s.served[t.name] = r.Kind
	s.mu.Unlock()
	s.store.Serve(r)
	s.add(r.Kind, span{})
	s.onLocated(t.name, r.Kind)
}
