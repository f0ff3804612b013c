package specs

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/validation"
)

// operators of matchExpressions.
var operators = map[string]selection.Operator{
	"In": selection.In, "NotIn": selection.NotIn, "Exists": selection.Exists, "DoesNotExist": selection.DoesNotExist,
}

// selector compiles a label selector, as manifests write it, to the form that the API server takes.
func (c *compiler) selector(m *mapping) string {
	n := m.vals["selector"]
	if key, value, ok := strings.Cut(n.Value, "="); n.Kind == yaml.ScalarNode && ok {
		m.errorf(n, fmt.Sprintf("write selector: {matchLabels: {%s: %s}}", strings.TrimSpace(key), strings.TrimSpace(strings.TrimPrefix(value, "="))),
			`"selector" of watch: expected a mapping, got %s`, kindOf(n))
		return ""
	}
	s := m.open(n, `"selector" of watch`)
	if s == nil {
		return ""
	}
	s.allow(selectorKeys, nil)
	before := len(*m.found)
	var all labels.Requirements
	add := func(key string, op selection.Operator, values []string) {
		r, err := labels.NewRequirement(key, op, values)
		if err != nil {
			if len(*m.found) == before {
				s.errorf(n, "", `"selector" of watch: %v`, err)
			}
			return
		}
		all = append(all, *r)
	}
	if n := s.vals["matchLabels"]; n != nil {
		if l := s.open(n, `"matchLabels"`); l != nil {
			for i := 0; i+1 < len(n.Content); i += 2 {
				key, value := n.Content[i], n.Content[i+1]
				if s.labelKey(key) && s.labelValue(value) {
					add(key.Value, selection.Equals, []string{value.Value})
				}
			}
		}
	}
	for _, n := range s.list("matchExpressions") {
		if e := s.open(n, "an expression of the selector"); e != nil {
			key, op, values, ok := e.expression()
			if ok {
				add(key, op, values)
			}
		}
	}
	if len(all) == 0 && len(*m.found) == before {
		m.errorf(n, "leave it out to watch all objects of the scope", `"selector" of watch is empty`)
	}
	return labels.NewSelector().Add(all...).String()
}

// expression reads one of matchExpressions.
func (m *mapping) expression() (key string, op selection.Operator, values []string, ok bool) {
	m.allow(expressionKeys, nil)
	ok = m.need("key", "the label's key")
	if ok {
		if key, ok = m.str("key"); ok {
			ok = m.labelKey(m.vals["key"])
		}
	}
	if !m.need("operator", "In, NotIn, Exists or DoesNotExist") {
		return "", "", nil, false
	}
	name, known := m.oneOf("operator", []string{"In", "NotIn", "Exists", "DoesNotExist"}, nil)
	if !known {
		return "", "", nil, false
	}
	op = operators[name]
	for _, v := range m.list("values") {
		if m.labelValue(v) {
			values = append(values, v.Value)
		} else {
			ok = false
		}
	}
	switch takes := op == selection.In || op == selection.NotIn; {
	case takes && m.vals["values"] == nil:
		return "", "", nil, m.need("values", "a list of them") && false
	case takes && len(values) == 0 && ok:
		m.errorf(m.vals["values"], "", `"values" of %s is an empty list`, m.what)
		ok = false
	case !takes && m.vals["values"] != nil:
		m.errorf(m.keys["values"], "", "the operator %s takes no values", name)
		ok = false
	}
	return key, op, values, ok
}

func (d *document) labelKey(n *yaml.Node) bool {
	wrong := validation.IsQualifiedName(n.Value)
	if len(wrong) > 0 {
		d.errorf(n, "e.g. app or example.com/tier", "%q is no label's key", n.Value)
	}
	return len(wrong) == 0
}

func (d *document) labelValue(n *yaml.Node) bool {
	switch wrong := validation.IsValidLabelValue(n.Value); {
	case n.Kind != yaml.ScalarNode || n.Tag != "!!str":
		hint := ""
		if n.Kind == yaml.ScalarNode && !isNull(n) {
			hint = fmt.Sprintf("put it in quotes: %q", n.Value)
		}
		d.errorf(n, hint, "a label's value: expected a string, got %s", kindOf(n))
		return false
	case strings.Contains(n.Value, "{{"):
		d.errorf(n, "", "a label's value: a template is not supported here")
		return false
	case len(wrong) > 0:
		d.errorf(n, nameRule, "%q is no label's value", n.Value)
		return false
	}
	return true
}
