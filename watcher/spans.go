package watcher

import (
	"maps"
	"slices"
	"strings"
)

// span is a part of a kind's objects: those in a namespace, with a name, under a label selector; what is empty picks
// all. Rules need spans, and a reflector watches one.
type span struct{ namespace, name, selector string }

// whole tells whether a span is all there is of a kind.
func (s span) whole() bool { return s == span{} }

// narrow finds the fewest objects to watch so that every need is met: a namespace each if all of them name one, else
// the whole cluster; and there only what a selector or a name picks on which all agree. There is one span for a
// namespace, so that an object is in one span only.
func narrow(needs []span) []span {
	in := map[string][]span{}
	for _, need := range needs {
		if need.namespace == "" {
			in = map[string][]span{"": needs}
			break
		}
		in[need.namespace] = append(in[need.namespace], need)
	}
	var out []span
	for _, namespace := range slices.Sorted(maps.Keys(in)) {
		s := in[namespace][0]
		s.namespace = namespace
		for _, need := range in[namespace] {
			if need.name != s.name {
				s.name = ""
			}
			if need.selector != s.selector {
				s.selector = ""
			}
		}
		out = append(out, s)
	}
	return out
}

// fieldSelector picks a span's name among the objects, beside what else has to hold.
func (s span) fieldSelector(more ...string) string {
	if s.name != "" {
		more = append(more, "metadata.name="+s.name)
	}
	return strings.Join(more, ",")
}
