package virtual

import "fmt"

// plain are the bytes that stand for themselves in a JSON string.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x20 && c != '"' && c != '\\'
	}
	return t
}()

// textReader reads JSON, strictly, and appends it as JSONB.
type textReader struct {
	text  string
	at    int
	depth int
}

// errorf tells where the text is wrong.
func (r *textReader) errorf(format string, args ...any) error {
	return fmt.Errorf("invalid JSON at byte %d: %s", r.at, fmt.Sprintf(format, args...))
}

func (r *textReader) unexpected(wanted string) error {
	if r.at >= len(r.text) {
		return r.errorf("it ends where %s is expected", wanted)
	}
	return r.errorf("%q where %s is expected", r.text[r.at], wanted)
}

// space skips blanks and returns what follows, or 0.
func (r *textReader) space() byte {
	for r.at < len(r.text) {
		switch c := r.text[r.at]; c {
		case ' ', '\n', '\r', '\t':
			r.at++
		default:
			return c
		}
	}
	return 0
}

// end makes sure that nothing follows.
func (r *textReader) end() error {
	if r.space(); r.at < len(r.text) {
		return r.unexpected("the end")
	}
	return nil
}

// value appends the next value.
func (r *textReader) value(b []byte) ([]byte, error) {
	switch c := r.space(); c {
	case '{':
		return r.object(b)
	case '[':
		return r.array(b)
	case '"':
		return r.string(b)
	case 't':
		return r.word(b, "true", jsonTrue)
	case 'f':
		return r.word(b, "false", jsonFalse)
	case 'n':
		return r.word(b, "null", jsonNull)
	default:
		return r.number(b)
	}
}

func (r *textReader) word(b []byte, word string, kind byte) ([]byte, error) {
	if len(r.text)-r.at < len(word) || r.text[r.at:r.at+len(word)] != word {
		return nil, r.unexpected("a value")
	}
	r.at += len(word)
	return append(b, kind), nil
}

func (r *textReader) object(b []byte) ([]byte, error) {
	at := len(b)
	b = append(b, 0)
	err := r.members(func() (err error) {
		if b, err = r.string(b); err != nil {
			return err
		}
		if err = r.colon(); err != nil {
			return err
		}
		b, err = r.value(b)
		return err
	})
	if err != nil {
		return nil, err
	}
	return closeHead(b, at, jsonObject), nil
}

// colon skips what stands between a name and its value.
func (r *textReader) colon() error {
	if r.space() != ':' {
		return r.unexpected("a colon")
	}
	r.at++
	return nil
}

// members calls fn at the beginning of each name of an object; fn reads name and value.
func (r *textReader) members(fn func() error) error {
	return r.list('}', func() error {
		if r.at >= len(r.text) || r.text[r.at] != '"' {
			return r.unexpected("a name")
		}
		return fn()
	})
}

func (r *textReader) array(b []byte) ([]byte, error) {
	at := len(b)
	b = append(b, 0)
	err := r.list(']', func() (err error) {
		b, err = r.value(b)
		return err
	})
	if err != nil {
		return nil, err
	}
	return closeHead(b, at, jsonArray), nil
}

// list reads what stands between brackets and commas.
func (r *textReader) list(end byte, fn func() error) error {
	if r.depth++; r.depth > maxDepth {
		return errDepth
	}
	r.at++
	if r.space() == end {
		r.at++
		r.depth--
		return nil
	}
	for {
		if err := fn(); err != nil {
			return err
		}
		switch r.space() {
		case ',':
			r.at++
			r.space()
		case end:
			r.at++
			r.depth--
			return nil
		default:
			return r.unexpected("a comma")
		}
	}
}

// string appends the next string, as it is written.
func (r *textReader) string(b []byte) ([]byte, error) {
	kind, payload, err := r.quoted()
	if err != nil {
		return nil, err
	}
	return appendElement(b, kind, payload), nil
}

// quoted reads a string and leaves its escapes in it.
func (r *textReader) quoted() (kind byte, payload string, err error) {
	kind = jsonText
	start := r.at + 1
	for i := start; i < len(r.text); i++ {
		c := r.text[i]
		if plain[c] {
			continue
		}
		switch c {
		case '"':
			r.at = i + 1
			return kind, r.text[start:i], nil
		case '\\':
			kind = jsonTextJ
			n := escape(r.text[i:])
			if n == 0 {
				r.at = i
				return 0, "", r.errorf("no escape")
			}
			i += n - 1
		default:
			r.at = i
			return 0, "", r.errorf("control character %#x in a string", c)
		}
	}
	r.at = len(r.text)
	return 0, "", r.errorf("a string has no end")
}

// escape is the length of the escape that s begins with; 0: it is none.
func escape(s string) int {
	if len(s) < 2 {
		return 0
	}
	switch s[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(s) < 6 {
			return 0
		}
		for _, c := range []byte(s[2:6]) {
			if unhex(c) < 0 {
				return 0
			}
		}
		return 6
	}
	return 0
}

func (r *textReader) number(b []byte) ([]byte, error) {
	kind, start := jsonInt, r.at
	digits := func() bool {
		from := r.at
		for r.at < len(r.text) && '0' <= r.text[r.at] && r.text[r.at] <= '9' {
			r.at++
		}
		return r.at > from
	}
	next := func(any string) bool {
		if r.at < len(r.text) {
			for _, c := range []byte(any) {
				if r.text[r.at] == c {
					r.at++
					return true
				}
			}
		}
		return false
	}
	next("-")
	if !next("0") && !digits() {
		return nil, r.unexpected("a value")
	}
	if next(".") {
		kind = jsonFloat
		if !digits() {
			return nil, r.unexpected("a digit")
		}
	}
	if next("eE") {
		kind = jsonFloat
		next("+-")
		if !digits() {
			return nil, r.unexpected("a digit")
		}
	}
	return appendElement(b, kind, r.text[start:r.at]), nil
}
