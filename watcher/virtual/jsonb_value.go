package virtual

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

type entry struct {
	name  string
	value any
}

// valueWriter appends decoded JSON as JSONB: what becomes of it by way of encoding/json, without the way.
type valueWriter struct {
	// open holds the members of the objects that are being written, each in order.
	open  []entry
	depth int
}

func (w *valueWriter) value(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, jsonNull), nil
	case bool:
		if v {
			return append(b, jsonTrue), nil
		}
		return append(b, jsonFalse), nil
	case string:
		return appendText(b, v), nil
	case int64:
		return appendInt(b, v), nil
	case int:
		return appendInt(b, int64(v)), nil
	case int32:
		return appendInt(b, int64(v)), nil
	case float64:
		return appendFloat(b, v)
	case map[string]any:
		return w.object(b, v)
	case []any:
		if w.depth++; w.depth > maxDepth {
			return nil, errDepth
		}
		at := len(b)
		b = append(b, 0)
		for _, item := range v {
			var err error
			if b, err = w.value(b, item); err != nil {
				return nil, err
			}
		}
		w.depth--
		return closeHead(b, at, jsonArray), nil
	default:
		// Nothing that a client decodes gets here.
		encoded, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		r := textReader{text: string(encoded), depth: w.depth}
		return r.value(b)
	}
}

func (w *valueWriter) object(b []byte, object map[string]any) ([]byte, error) {
	if w.depth++; w.depth > maxDepth {
		return nil, errDepth
	}
	at := len(b)
	b = append(b, 0)
	err := w.members(object, func(name string, value any) (err error) {
		b, err = w.value(appendText(b, name), value)
		return err
	})
	w.depth--
	if err != nil {
		return nil, err
	}
	return closeHead(b, at, jsonObject), nil
}

// members calls fn with an object's members in order: equal objects must become equal bytes.
func (w *valueWriter) members(object map[string]any, fn func(name string, value any) error) error {
	from := len(w.open)
	for name, value := range object {
		w.open = append(w.open, entry{name, value})
	}
	mine := w.open[from:]
	slices.SortFunc(mine, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	for i := range mine {
		if err := fn(mine[i].name, mine[i].value); err != nil {
			return err
		}
	}
	clear(w.open[from:])
	w.open = w.open[:from]
	return nil
}

func appendInt(b []byte, v int64) []byte {
	var digits [20]byte
	d := strconv.AppendInt(digits[:0], v, 10)
	return append(appendHead(b, jsonInt, len(d)), d...)
}

// appendFloat writes a number as encoding/json does.
func appendFloat(b []byte, v float64) ([]byte, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil, fmt.Errorf("%v is no JSON", v)
	}
	encoded, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	r := textReader{text: string(encoded)}
	return r.number(b)
}

// appendText writes a Go string, escaped where it must be.
func appendText(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if !plain[s[i]] || s[i] >= utf8.RuneSelf {
			escaped := appendEscaped(make([]byte, 0, len(s)+len(s)/8+6), s)
			if len(escaped) == len(s) {
				break
			}
			return append(appendHead(b, jsonTextJ, len(escaped)), escaped...)
		}
	}
	return appendElement(b, jsonText, s)
}
