package virtual

import (
	"errors"
	"fmt"
	"strings"
)

// Documents are kept in SQLite's JSONB (sqlite.org/jsonb.html), so that SQL works on what is stored as it is: an element
// is a head, which says its type and the size of its payload, and the payload. The encoders write, byte for byte, what
// SQLite's own jsonb() makes of the same text.

// The types of elements.
const (
	jsonNull byte = iota
	jsonTrue
	jsonFalse
	jsonInt
	jsonInt5 // as JSON5 writes them, here and below; only SQLite makes these
	jsonFloat
	jsonFloat5
	jsonText  // no escapes
	jsonTextJ // JSON's escapes
	jsonText5
	jsonTextRaw // not escaped at all; only SQLite makes these
	jsonArray
	jsonObject
)

// maxDepth is how deeply SQLite lets elements nest.
const maxDepth = 1000

var (
	errMalformed = errors.New("malformed JSONB")
	errDepth     = fmt.Errorf("nested more than %d levels deep", maxDepth)
)

// appendHead appends the head of an element whose payload has n bytes.
func appendHead(b []byte, kind byte, n int) []byte {
	switch {
	case n <= 11:
		return append(b, byte(n)<<4|kind)
	case n <= 0xff:
		return append(b, 0xc0|kind, byte(n))
	case n <= 0xffff:
		return append(b, 0xd0|kind, byte(n>>8), byte(n))
	}
	return append(b, 0xe0|kind, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// appendElement appends a whole element.
func appendElement(b []byte, kind byte, payload string) []byte {
	return append(appendHead(b, kind, len(payload)), payload...)
}

// closeHead writes the head of the array or object that begins at a byte that was kept free for it and ends with b.
func closeHead(b []byte, at int, kind byte) []byte {
	n := len(b) - at - 1
	if n <= 11 {
		b[at] = byte(n)<<4 | kind
		return b
	}
	var head [5]byte
	h := appendHead(head[:0], kind, n)
	b = append(b, h[1:]...)
	copy(b[at+len(h):], b[at+1:at+1+n])
	copy(b[at:], h)
	return b
}

// element takes the first element off b.
func element(b string) (kind byte, payload, rest string, err error) {
	if b == "" {
		return 0, "", "", errMalformed
	}
	kind = b[0] & 0x0f
	n, head := int(b[0]>>4), 1
	if n > 11 {
		head += 1 << (n - 12)
		if len(b) < head {
			return 0, "", "", errMalformed
		}
		n = 0
		for _, c := range []byte(b[1:head]) {
			if n > 1<<31 {
				return 0, "", "", errMalformed
			}
			n = n<<8 | int(c)
		}
	}
	if kind > jsonObject || n > len(b)-head {
		return 0, "", "", errMalformed
	}
	return kind, b[head : head+n], b[head+n:], nil
}

// isText tells whether a type is one of strings.
func isText(kind byte) bool { return kind >= jsonText && kind <= jsonTextRaw }

// textIs tells whether an element is the string s.
func textIs(kind byte, payload, s string) bool {
	if kind == jsonText || kind == jsonTextRaw {
		return payload == s
	}
	return isText(kind) && unescaped(kind, payload) == s
}

// eachMember calls fn with the members of the object b, each value as a whole element, until fn returns false. What is
// no object has no members.
func eachMember(b string, fn func(kind byte, name, value string) bool) {
	kind, rest, _, err := element(b)
	if err != nil || kind != jsonObject {
		return
	}
	for rest != "" {
		kind, name, after, err := element(rest)
		if err != nil || !isText(kind) {
			return
		}
		_, _, next, err := element(after)
		if err != nil || !fn(kind, name, after[:len(after)-len(next)]) {
			return
		}
		rest = next
	}
}

// eachItem calls fn with the items of the array b, each as a whole element, until fn returns false.
func eachItem(b string, fn func(item string) bool) {
	kind, rest, _, err := element(b)
	if err != nil || kind != jsonArray {
		return
	}
	for rest != "" {
		_, _, next, err := element(rest)
		if err != nil || !fn(rest[:len(rest)-len(next)]) {
			return
		}
		rest = next
	}
}

// lookup finds the member of an object by its name; the result is a whole element, or nothing.
func lookup(b, name string) string {
	kind, rest, _, err := element(b)
	if err != nil || kind != jsonObject {
		return ""
	}
	for rest != "" {
		kind, label, value, err := element(rest)
		if err != nil {
			return ""
		}
		_, _, next, err := element(value)
		if err != nil {
			return ""
		}
		if textIs(kind, label, name) {
			return value[:len(value)-len(next)]
		}
		rest = next
	}
	return ""
}

// text is the string that an element is; false: it is none. It copies nothing unless there are escapes.
func text(b string) (string, bool) {
	kind, payload, _, err := element(b)
	if err != nil || !isText(kind) {
		return "", false
	}
	return unescaped(kind, payload), true
}

// unescaped is the string that a text's payload stands for.
func unescaped(kind byte, payload string) string {
	if kind == jsonText || kind == jsonTextRaw || strings.IndexByte(payload, '\\') < 0 {
		return payload
	}
	return string(appendUnescaped(make([]byte, 0, len(payload)), payload))
}
