package virtual

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// appendJSON appends the JSONB element b as compact JSON.
func appendJSON(dst []byte, b string) ([]byte, error) {
	dst, rest, err := appendNext(dst, b, 0)
	if err == nil && rest != "" {
		err = errMalformed
	}
	return dst, err
}

func appendNext(dst []byte, b string, depth int) (_ []byte, rest string, err error) {
	kind, payload, rest, err := element(b)
	if err != nil {
		return nil, "", err
	}
	switch kind {
	case jsonNull:
		dst = append(dst, "null"...)
	case jsonTrue:
		dst = append(dst, "true"...)
	case jsonFalse:
		dst = append(dst, "false"...)
	case jsonInt, jsonFloat:
		dst = append(dst, payload...)
	case jsonInt5, jsonFloat5:
		dst, err = appendNumber5(dst, payload)
	case jsonText, jsonTextJ:
		dst = append(append(append(dst, '"'), payload...), '"')
	case jsonText5, jsonTextRaw:
		dst = append(appendEscaped(append(dst, '"'), unescaped(kind, payload)), '"')
	default:
		dst, err = appendMembers(dst, kind, payload, depth+1)
	}
	return dst, rest, err
}

func appendMembers(dst []byte, kind byte, payload string, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, errDepth
	}
	ends := "[]"
	if kind == jsonObject {
		ends = "{}"
	}
	dst = append(dst, ends[0])
	for n := 0; payload != ""; n++ {
		if n > 0 {
			dst = append(dst, ',')
		}
		var err error
		if kind == jsonObject {
			if !isText(payload[0] & 0x0f) {
				return nil, errMalformed
			}
			if dst, payload, err = appendNext(dst, payload, depth); err != nil {
				return nil, err
			}
			dst = append(dst, ':')
		}
		if dst, payload, err = appendNext(dst, payload, depth); err != nil {
			return nil, err
		}
	}
	return append(dst, ends[1]), nil
}

// appendNumber5 makes JSON of a number in JSON5: +1, 0x1f, .5, 5.
func appendNumber5(dst []byte, payload string) ([]byte, error) {
	s := strings.TrimPrefix(payload, "+")
	digits := strings.TrimPrefix(s, "-")
	if len(digits) > 2 && (digits[1] == 'x' || digits[1] == 'X') {
		n, err := strconv.ParseUint(digits[2:], 16, 64)
		if err != nil {
			return nil, fmt.Errorf("%w: number %q", errMalformed, payload)
		}
		return strconv.AppendUint(append(dst, s[:len(s)-len(digits)]...), n, 10), nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) {
		return nil, fmt.Errorf("%w: number %q", errMalformed, payload)
	}
	encoded, err := json.Marshal(finite(f))
	if err != nil {
		return nil, fmt.Errorf("%w: number %q", errMalformed, payload)
	}
	return append(dst, encoded...), nil
}

// decode makes of an element what the Kubernetes clients decode JSON to: integers are int64 where they fit.
func decode(b string) (any, error) {
	v, rest, err := decodeNext(b, 0)
	if err == nil && rest != "" {
		err = errMalformed
	}
	return v, err
}

func decodeNext(b string, depth int) (v any, rest string, err error) {
	kind, payload, rest, err := element(b)
	if err != nil {
		return nil, "", err
	}
	if depth > maxDepth {
		return nil, "", errDepth
	}
	switch kind {
	case jsonNull:
	case jsonTrue, jsonFalse:
		v = kind == jsonTrue
	case jsonInt, jsonInt5, jsonFloat, jsonFloat5:
		v, err = decodeNumber(kind, payload)
	case jsonArray:
		items := []any{}
		for payload != "" {
			if v, payload, err = decodeNext(payload, depth+1); err != nil {
				return nil, "", err
			}
			items = append(items, v)
		}
		v = items
	case jsonObject:
		members := map[string]any{}
		for payload != "" {
			kind, name, after, err := element(payload)
			if err != nil || !isText(kind) {
				return nil, "", errMalformed
			}
			if v, payload, err = decodeNext(after, depth+1); err != nil {
				return nil, "", err
			}
			members[strings.Clone(unescaped(kind, name))] = v
		}
		v = members
	default:
		// A string that shared the record's memory would keep all of it.
		v = strings.Clone(unescaped(kind, payload))
	}
	return v, rest, err
}

func decodeNumber(kind byte, payload string) (any, error) {
	if kind == jsonInt5 || kind == jsonFloat5 {
		n, err := appendNumber5(nil, payload)
		if err != nil {
			return nil, err
		}
		kind, payload = jsonInt, string(n)
	}
	if kind == jsonInt {
		if n, err := strconv.ParseInt(payload, 10, 64); err == nil {
			return n, nil
		}
	}
	f, err := strconv.ParseFloat(payload, 64)
	if err != nil && !math.IsInf(f, 0) {
		return nil, fmt.Errorf("%w: number %q", errMalformed, payload)
	}
	return finite(f), nil
}

// finite keeps a number that no float can hold from becoming what no JSON can say.
func finite(f float64) float64 { return max(-math.MaxFloat64, min(math.MaxFloat64, f)) }

const hex = "0123456789abcdef"

// appendEscaped escapes a string as encoding/json does, but for what only web pages need.
func appendEscaped(b []byte, s string) []byte {
	from := 0
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if plain[c] {
				i++
				continue
			}
			b = append(b, s[from:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\b':
				b = append(b, '\\', 'b')
			case '\f':
				b = append(b, '\\', 'f')
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			from = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(append(b, s[from:i]...), `\ufffd`...)
			from = i + n
		case r == '\u2028' || r == '\u2029':
			b = append(append(b, s[from:i]...), '\\', 'u', '2', '0', '2', hex[r&15])
			from = i + n
		}
		i += n
	}
	return append(b, s[from:]...)
}

// appendUnescaped is its inverse. It knows the escapes of JSON5 too, and lets stand what is none.
func appendUnescaped(b []byte, s string) []byte {
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 || i+1 == len(s) {
			return append(b, s...)
		}
		b = append(b, s[:i]...)
		c := s[i+1]
		s = s[i+2:]
		switch c {
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'v':
			b = append(b, '\v')
		case '0':
			b = append(b, 0)
		case '\n':
			// A string goes on in the next line.
		case '\r':
			s = strings.TrimPrefix(s, "\n")
		case 'x':
			r, ok := hexRune(s, 2)
			if !ok {
				b = append(b, c)
				continue
			}
			b, s = utf8.AppendRune(b, r), s[2:]
		case 'u':
			r, ok := hexRune(s, 4)
			if !ok {
				b = append(b, c)
				continue
			}
			s = s[4:]
			if utf16.IsSurrogate(r) {
				low, ok := rune(0), false
				if strings.HasPrefix(s, `\u`) {
					low, ok = hexRune(s[2:], 4)
				}
				if r = utf16.DecodeRune(r, low); ok && r != utf8.RuneError {
					s = s[6:]
				} else {
					r = utf8.RuneError
				}
			}
			b = utf8.AppendRune(b, r)
		default:
			b = append(b, c)
		}
	}
}

func hexRune(s string, n int) (r rune, ok bool) {
	if len(s) < n {
		return 0, false
	}
	for _, c := range []byte(s[:n]) {
		d := unhex(c)
		if d < 0 {
			return 0, false
		}
		r = r<<4 | d
	}
	return r, true
}

// unhex is the value of a digit; -1: it is none.
func unhex(c byte) rune {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0')
	case 'a' <= c && c <= 'f':
		return rune(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}
