package virtual

import (
	"crypto/sha256"
	"encoding/base64"
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
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:])[:11]
}

// Hash names the object's state; see the function Hash.
func (o Object) Hash() string { return Hash(o.JSON) }

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
