package watcher

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// part is what one reflector watches of a kind. The source's mutex guards it.
type part struct {
	span
	metadata bool
	// seen: a complete list has come. version: everything up to here has.
	seen    bool
	version string
}

// ownerOnly tells whether nobody asked for the kind by name.
func (src *source) ownerOnly() bool {
	src.mu.Lock()
	defer src.mu.Unlock()
	return len(src.needs) == 0
}

// known tells whether the kind has been watched and its objects are in the store.
func (src *source) known() bool {
	src.mu.Lock()
	defer src.mu.Unlock()
	return src.there
}

// begin plans what is to be watched now, which may be nothing; again ends it.
func (s *sources) begin(src *source, namespaced bool, again context.CancelFunc) []*part {
	src.mu.Lock()
	defer src.mu.Unlock()
	spans := narrow(src.needs)
	switch {
	case len(src.needs) == 0 && !namespaced:
		// The Node of a static Pod, say: it belongs to no instance, so nothing is to be learned from it.
		spans = nil
	case src.followed.Load(), !namespaced && spans[0].namespace != "":
		spans = []span{{}}
	}
	if !src.there {
		// While it didn't exist it was as good as synced.
		s.store.SetSynced(src.kind, false)
	}
	src.parts, src.again = nil, again
	for _, s := range spans {
		src.parts = append(src.parts, &part{span: s, metadata: len(src.needs) == 0})
	}
	return src.parts
}

// complete takes in that a part of a kind has been seen completely, up to a version. It tells whether that has settled
// the kind.
func (s *sources) complete(src *source, p *part, version string) (news bool) {
	src.mu.Lock()
	defer src.mu.Unlock()
	p.seen, p.version = true, version
	if !src.complete(p) {
		return false
	}
	s.progress(src)
	if p.whole() && !p.metadata {
		s.store.SetSynced(src.kind, true)
	}
	if !src.there {
		src.there = true
		s.log.Info("watching a kind", "kind", src.kind.String())
	}
	return !src.settled.Swap(true)
}

// complete tells whether a part is still one of those to watch, and all of them have been seen. The mutex is held.
func (src *source) complete(p *part) bool {
	return slices.Contains(src.parts, p) && !slices.ContainsFunc(src.parts, func(p *part) bool { return !p.seen })
}

// reached takes in that a part of a kind has been seen up to a version.
func (s *sources) reached(src *source, p *part, version string) {
	src.mu.Lock()
	defer src.mu.Unlock()
	p.version = version
	if src.complete(p) {
		s.progress(src)
	}
}

// progress tells the store how far a kind has come: as far as the part that is furthest behind. The source's mutex is
// held.
func (s *sources) progress(src *source) {
	version := src.parts[0].version
	for _, p := range src.parts[1:] {
		if order, err := resourceversion.CompareResourceVersion(p.version, version); err == nil && order < 0 {
			version = p.version
		}
	}
	s.store.SetProgress(src.kind, version)
}

// tell tells whether a problem is news; "" is none.
func (src *source) tell(problem string) bool {
	src.mu.Lock()
	defer src.mu.Unlock()
	news := src.problem != problem
	src.problem = problem
	return news
}
