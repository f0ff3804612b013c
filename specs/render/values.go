package render

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// plainVars copies vars into what JSON has: maps, lists, strings, bools, nil, int64 and float64. A copy, because a
// rendering that ran out of time may still read it; and one form of numbers, because JSON decoders disagree: 8080
// arrives as int64, float64 or json.Number, and must be 8080 in all cases.
func plainVars(vars map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(vars))
	for k, v := range vars {
		p, err := plain(v)
		if err != nil {
			return nil, fmt.Errorf("variable %q: %w", k, err)
		}
		out[k] = p
	}
	return out, nil
}

func plain(v any) (any, error) {
	switch v := v.(type) {
	case nil, string, bool, int64:
		return v, nil
	case int:
		return int64(v), nil
	case int32:
		return int64(v), nil
	case float64:
		return number(v), nil
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i, nil
		}
		f, err := v.Float64()
		if err != nil {
			return nil, fmt.Errorf("number %q: %w", v, err)
		}
		return number(f), nil
	case map[string]any:
		if v == nil {
			return nil, nil
		}
		out := make(map[string]any, len(v))
		for k, e := range v {
			p, err := plain(e)
			if err != nil {
				return nil, err
			}
			out[k] = p
		}
		return out, nil
	case []any:
		if v == nil {
			return nil, nil
		}
		out := make([]any, len(v))
		for i, e := range v {
			p, err := plain(e)
			if err != nil {
				return nil, err
			}
			out[i] = p
		}
		return out, nil
	}
	// Anything else is what its JSON says.
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%T has no JSON: %w", v, err)
	}
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.UseNumber()
	var out any
	if err := dec.Decode(&out); err != nil {
		return nil, fmt.Errorf("%T has no JSON: %w", v, err)
	}
	return plain(out)
}

// number is f as an int64 if nothing is lost by that. 2^53 bounds what a float64 holds exactly.
func number(f float64) any {
	if f == math.Trunc(f) && math.Abs(f) <= 1<<53 {
		return int64(f)
	}
	return f
}

// text is how a value is printed: as YAML would read it back. ok is false for what has no text of its own (nil).
func text(v any) (s string, ok bool) {
	switch v := v.(type) {
	case nil:
		return "", false
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return formatFloat(v), true
	case float32:
		return formatFloat(float64(v)), true
	case fmt.Stringer:
		return v.String(), true
	case map[string]any, []any, []string, []int:
		// A list or map in the middle of a text: JSON is YAML too, the engines' own forms are not.
		j, err := toJSON(v)
		return j, err == nil
	}
	return fmt.Sprint(v), true
}

func formatFloat(f float64) string {
	if n, ok := number(f).(int64); ok {
		return strconv.FormatInt(n, 10)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// toJSON is compact, with sorted keys, and leaves <, > and & as they are.
func toJSON(v any) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", fmt.Errorf("to JSON: %w", err)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// toYAML is block style with sorted keys, without a newline at its end, so that it can be indented.
func toYAML(v any) (string, error) {
	b, err := yaml.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("to YAML: %w", err)
	}
	return strings.TrimSuffix(string(b), "\n"), nil
}
