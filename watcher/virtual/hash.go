package virtual

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// uncounted are the members of metadata in which two equal states may differ.
var uncounted = []string{"resourceVersion", "managedFields", "generation"}

// HoldPrefix begins the names of the finalizers by which rules hold objects. They don't count either: what a rule does to
// hold an object is no change of it.
const HoldPrefix = "mainstay.dev/hold-"

// isHold tells whether an element of the list of finalizers is one of those.
func isHold(item string) bool {
	kind, payload, _, err := element(item)
	return err == nil && strings.HasPrefix(unescaped(kind, payload), HoldPrefix)
}

// Hash names the state of an object: 11 characters that are the same if, and only if, everything but the
// resourceVersion, managedFields and generation is. The order of keys doesn't count. It stands here and not with the
// watcher because the watcher and the activities must agree on it.
func Hash(json []byte) string {
	r := textReader{text: view(json)}
	b, err := r.value(nil)
	if err != nil {
		return digest(json)
	}
	return hashOf(view(b))
}

// Hash names the object's state; see the function Hash.
func (o Object) Hash() (hash string) {
	o.document(func(b string) { hash = hashOf(b) })
	return hash
}

func hashOf(b string) string {
	buffer := buffers.Get().(*[]byte)
	*buffer = appendCanonical((*buffer)[:0], b, documentLevel)
	hash := digest(*buffer)
	keep(buffer)
	return hash
}

// HashOf names the state of some of the object's fields, as Hash does that of all of it. A path that leads nowhere is a
// state too.
func (o Object) HashOf(paths []Path) string {
	var b []byte
	for _, path := range paths {
		level := innerLevel
		if len(path) == 1 && path[0] == "metadata" {
			level = metadataLevel
		}
		o.field(path, func(value string) { b = appendCanonical(b, value, level) })
		b = append(b, ';')
	}
	return digest(b)
}

// field calls fn with the element that a path leads to, if it leads to one.
func (o Object) field(path Path, fn func(value string)) {
	follow := func(value string, path Path) {
		for _, name := range path {
			if value = lookup(value, name); value == "" {
				return
			}
		}
		if value != "" {
			fn(value)
		}
	}
	switch first := strings.Join(path[:min(2, len(path))], "."); {
	case path[0] == "spec":
		follow(o.record.section(secSpec), path[1:])
	case path[0] == "status":
		follow(o.record.section(secStatus), path[1:])
	case path[0] == "data":
		follow(o.record.section(secData), path[1:])
	case first == "metadata.labels":
		follow(o.record.section(secLabels), path[2:])
	case first == "metadata.annotations":
		follow(o.record.section(secAnnotations), path[2:])
	default:
		o.document(func(b string) { follow(b, path) })
	}
}

// Path leads to a field of an object: the names of the members on the way.
type Path []string

// ParsePath reads a path: names parted by dots, and names that hold dots in brackets and quotes:
// metadata.annotations["example.com/team"].
func ParsePath(text string) (Path, error) {
	var path Path
	for rest := text; ; {
		if strings.HasPrefix(rest, `["`) {
			end := strings.Index(rest, `"]`)
			if end < 3 {
				return nil, fmt.Errorf(`path %q: [" has no "] after a name`, text)
			}
			path, rest = append(path, rest[2:end]), rest[end+2:]
		} else {
			end := strings.IndexAny(rest, `.["`)
			if end < 0 {
				end = len(rest)
			}
			if end == 0 {
				return nil, fmt.Errorf("path %q: a name is missing", text)
			}
			path, rest = append(path, rest[:end]), rest[end:]
		}
		switch {
		case rest == "":
			return path, nil
		case rest[0] == '.' && len(rest) > 1:
			rest = rest[1:]
		case !strings.HasPrefix(rest, `["`):
			return nil, fmt.Errorf(`path %q: expected a dot or [" before %q`, text, rest)
		}
	}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:9])[:11]
}

type member struct{ name, value string }

// level says where in a document a value stands.
type level int

const (
	documentLevel level = iota
	metadataLevel
	finalizersLevel
	innerLevel
)

// below is the level of a member.
func (l level) below(name string) level {
	if l == documentLevel && name == "metadata" {
		return metadataLevel
	}
	if l == metadataLevel && name == "finalizers" {
		return finalizersLevel
	}
	return innerLevel
}

// appendCanonical writes an element so that equal values, and only they, are equal bytes: members in order, strings
// unescaped and with their length.
func appendCanonical(b []byte, value string, at level) []byte {
	kind, payload, _, err := element(value)
	if err != nil {
		return b
	}
	switch kind {
	case jsonObject:
		var few [16]member
		members := few[:0]
		eachMember(value, func(kind byte, name, value string) bool {
			name = unescaped(kind, name)
			if at == metadataLevel && (slices.Contains(uncounted, name) || name == "finalizers" && onlyHolds(value)) {
				return true
			}
			members = append(members, member{name, value})
			return true
		})
		byName := func(a, b member) int { return strings.Compare(a.name, b.name) }
		if !slices.IsSortedFunc(members, byName) {
			slices.SortStableFunc(members, byName)
		}
		b = append(b, '{')
		for _, m := range members {
			b = appendCanonical(appendString(b, m.name), m.value, at.below(m.name))
		}
		return append(b, '}')
	case jsonArray:
		b = append(b, '[')
		eachItem(value, func(item string) bool {
			if at != finalizersLevel || !isHold(item) {
				b = appendCanonical(b, item, innerLevel)
			}
			return true
		})
		return append(b, ']')
	case jsonNull:
		return append(b, "null,"...)
	case jsonTrue:
		return append(b, "true,"...)
	case jsonFalse:
		return append(b, "false,"...)
	case jsonInt, jsonInt5, jsonFloat, jsonFloat5:
		return append(append(b, payload...), ',')
	}
	return appendString(b, unescaped(kind, payload))
}

// onlyHolds tells whether a list of finalizers has none but those of rules.
func onlyHolds(list string) bool {
	only := true
	eachItem(list, func(item string) bool {
		only = isHold(item)
		return only
	})
	return only
}

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	return append(b, s...)
}
