package render

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// filter is a function that both engines know under one name. in is the piped value, arg its argument (nil: none):
// {{ x|indent:4 }} in pongo2, {{ .x | indent 4 }} in helm.
type filter func(in, arg any) (any, error)

// shared are the filters with one name and one meaning in every engine. The helm engine keeps Helm's own "default",
// "indent" and "quote", which these follow.
var shared = map[string]filter{
	"to_json":   func(in, _ any) (any, error) { return toJSON(in) },
	"to_yaml":   func(in, _ any) (any, error) { return toYAML(in) },
	"b64encode": b64encode,
	"b64decode": b64decode,
	"indent":    indent,
	"quote":     quote,
	"default":   orDefault,
	"sha256":    sum256,
}

// printed is a value as a text filter sees it.
func printed(in any) (string, error) {
	s, ok := text(in)
	if !ok {
		return "", errors.New("the value is undefined or null")
	}
	return s, nil
}

func b64encode(in, _ any) (any, error) {
	s, err := printed(in)
	return base64.StdEncoding.EncodeToString([]byte(s)), err
}

func b64decode(in, _ any) (any, error) {
	s, err := printed(in)
	if err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil {
		return nil, fmt.Errorf("decode base64: %w", err)
	}
	return string(b), nil
}

// indent puts arg blanks (default 4) before every line, the first one too, as Helm's does.
func indent(in, arg any) (any, error) {
	s, err := printed(in)
	if err != nil {
		return nil, err
	}
	n := 4
	if arg != nil {
		a, _ := text(arg)
		if n, err = strconv.Atoi(a); err != nil || n < 0 || n > maxDepth {
			return nil, fmt.Errorf("indent by %q: expected a number from 0 to %d", a, maxDepth)
		}
	}
	pad := strings.Repeat(" ", n)
	return pad + strings.ReplaceAll(s, "\n", "\n"+pad), nil
}

// quote is the value's text as a double-quoted YAML string, which a JSON string is.
func quote(in, _ any) (any, error) {
	s, err := printed(in)
	if err != nil {
		return nil, err
	}
	return toJSON(s)
}

// orDefault is arg where in is undefined or empty: nil, false, 0, "", an empty list or map.
func orDefault(in, arg any) (any, error) {
	if empty(in) {
		return arg, nil
	}
	return in, nil
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case int:
		return v == 0
	case int64:
		return v == 0
	case float64:
		return v == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

func sum256(in, _ any) (any, error) {
	s, err := printed(in)
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:]), err
}
