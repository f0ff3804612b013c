package virtual

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"

	"github.com/ncruces/go-sqlite3"
)

// subtypeJSON is how SQLite marks text that is JSON.
const subtypeJSON = 'J'

// value is a text or BLOB of the result as Go has it. The bytes are SQLite's.
func (st *statement) value(column int, b []byte) any {
	v := st.stmt.ColumnValue(column)
	if v.Type() == sqlite3.BLOB {
		if decoded, err := decode(view(b)); err == nil {
			return decoded
		}
		return base64.StdEncoding.EncodeToString(b)
	}
	s := string(b)
	if v.Subtype() == subtypeJSON {
		if decoded, err := parseJSON(s); err == nil {
			return decoded
		}
	}
	return s
}

// parseJSON decodes JSON text as the Kubernetes clients do.
func parseJSON(text string) (any, error) {
	r := textReader{text: text}
	b, err := r.value(nil)
	if err == nil {
		err = r.end()
	}
	if err != nil {
		return nil, err
	}
	return decode(view(b))
}

// bind gives the parameters their values. Possible errors: *SQLError, if one is missing or can't be bound.
func (st *statement) bind(params map[string]any) error {
	for i, name := range st.params {
		v, ok := params[name]
		if !ok {
			e := &SQLError{Message: "parameter :" + name + " has no value", Offset: -1, Hint: "there are no parameters"}
			if len(params) > 0 {
				e.Hint = "there are " + list(slices.Sorted(maps.Keys(params)), 20)
			}
			return e
		}
		if err := st.bindOne(i+1, v); err != nil {
			if err == sqlite3.TOOBIG {
				return &LimitError{"bytes", maxLength}
			}
			return &SQLError{Message: fmt.Sprintf("parameter :%s: %v", name, err), Offset: -1}
		}
	}
	return nil
}

func (st *statement) bindOne(i int, v any) error {
	switch v := v.(type) {
	case nil:
		return st.stmt.BindNull(i)
	case string:
		if len(v) > maxLength {
			return sqlite3.TOOBIG
		}
		return st.stmt.BindText(i, v)
	case bool:
		return st.stmt.BindBool(i, v)
	case int64:
		return st.stmt.BindInt64(i, v)
	case float64:
		return st.stmt.BindFloat(i, v)
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return st.stmt.BindInt64(i, n)
		}
		f, err := v.Float64()
		if err != nil {
			return err
		}
		return st.stmt.BindFloat(i, f)
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.String:
		return st.bindOne(i, r.String())
	case reflect.Bool:
		return st.stmt.BindBool(i, r.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return st.stmt.BindInt64(i, r.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if n := r.Uint(); n <= math.MaxInt64 {
			return st.stmt.BindInt64(i, int64(n))
		}
	case reflect.Float32:
		return st.stmt.BindFloat(i, r.Float())
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return st.bindOne(i, string(text))
}

// sameJSON tells whether two decoded values are equal; 1 and 1.0 are.
func sameJSON(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, sameJSON)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, sameJSON)
	case int64:
		if b, ok := b.(float64); ok {
			return float64(a) == b
		}
	case float64:
		if b, ok := b.(int64); ok {
			return a == float64(b)
		}
	}
	return a == b
}

// hasJSON tells whether all that is in part is in whole too: what an API server adds by itself doesn't count.
func hasJSON(whole, part any) bool {
	switch part := part.(type) {
	case map[string]any:
		whole, ok := whole.(map[string]any)
		if !ok {
			return false
		}
		for name, v := range part {
			if w, ok := whole[name]; !ok && v != nil || !hasJSON(w, v) {
				return false
			}
		}
		return true
	case []any:
		whole, ok := whole.([]any)
		return ok && slices.EqualFunc(whole, part, hasJSON)
	}
	return sameJSON(whole, part)
}
