package virtual

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// uncounted are the members of metadata in which two equal states may differ.
var uncounted = []string{"resourceVersion", "managedFields", "generation"}

// Hash names the state of an object: 11 characters that are the same if, and only if, everything but the
// resourceVersion, managedFields and generation is. The order of keys doesn't count. It stands here and not with the
// watcher because the watcher and the activities must agree on it.
func Hash(json []byte) string {
	// The object is walked, not decoded: that costs a fifth.
	b := make([]byte, 0, len(json)+len(json)/4)
	b = appendCanonical(b, gjson.ParseBytes(json), 0, "")
	return digest(b)
}

// Hash names the object's state; see the function Hash.
func (o Object) Hash() string { return Hash(o.JSON()) }

// HashOf names the state of some of the object's fields, as Hash does that of all of it. A path that leads nowhere is a
// state too.
func (o Object) HashOf(paths []Path) string {
	var b []byte
	for _, path := range paths {
		value := gjson.Parse(o.json)
		for _, name := range path {
			if !value.IsObject() {
				value = gjson.Result{}
				break
			}
			value = member1(value, name)
		}
		if value.Exists() {
			b = appendCanonical(b, value, 2, "")
		}
		b = append(b, ';')
	}
	return digest(b)
}

// member1 is a member by its exact name; gjson's own paths give dots and stars a meaning.
func member1(object gjson.Result, name string) (found gjson.Result) {
	object.ForEach(func(k, v gjson.Result) bool {
		if k.Str == name {
			found = v
			return false
		}
		return true
	})
	return found
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
	return base64.RawURLEncoding.EncodeToString(sum[:8])
}

type member struct {
	name  string
	value gjson.Result
}

// appendCanonical writes v so that equal values, and only they, are equal bytes: members in order, strings unescaped
// and with their length.
func appendCanonical(b []byte, v gjson.Result, depth int, parent string) []byte {
	switch {
	case v.IsObject():
		var members []member
		v.ForEach(func(name, value gjson.Result) bool {
			if depth == 1 && parent == "metadata" && slices.Contains(uncounted, name.Str) {
				return true
			}
			members = append(members, member{name.Str, value})
			return true
		})
		byName := func(a, b member) int { return strings.Compare(a.name, b.name) }
		if !slices.IsSortedFunc(members, byName) {
			slices.SortStableFunc(members, byName)
		}
		b = append(b, '{')
		for _, m := range members {
			b = appendString(b, m.name)
			b = appendCanonical(b, m.value, depth+1, m.name)
		}
		return append(b, '}')
	case v.IsArray():
		b = append(b, '[')
		v.ForEach(func(_, value gjson.Result) bool {
			b = appendCanonical(b, value, depth+1, "")
			return true
		})
		return append(b, ']')
	case v.Type == gjson.String:
		return appendString(b, v.Str)
	default:
		b = append(b, v.Raw...)
		return append(b, ',')
	}
}

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	return append(b, s...)
}
