package plan

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// UnmarshalJSON implements json.Unmarshaler. It keeps the integers among the params integers, which a map of any would
// turn into floats: SQL would write 3.0 where the author wrote 3.
func (s *SQL) UnmarshalJSON(b []byte) error {
	type plain SQL
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode((*plain)(s)); err != nil {
		return fmt.Errorf("sql command: %w", err)
	}
	for name, value := range s.Params {
		s.Params[name] = numbers(value)
	}
	return nil
}

// numbers makes int64 and float64 of the numbers in a decoded value.
func numbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = numbers(v[name])
		}
	}
	return value
}
