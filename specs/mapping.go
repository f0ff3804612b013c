package specs

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// mapping is a YAML mapping of which the language knows the keys.
type mapping struct {
	*document
	node *yaml.Node
	what string // for messages: "command helm"
	keys map[string]*yaml.Node
	vals map[string]*yaml.Node
	// meant are known keys that an unknown one was probably meant to be. They count as given, so that one mistake
	// is one finding.
	meant map[string]bool
}

// open is n as a mapping, or nil with a finding.
func (d *document) open(n *yaml.Node, what string) *mapping {
	if n.Kind != yaml.MappingNode {
		d.errorf(n, "", "%s: expected a mapping, got %s", what, kindOf(n))
		return nil
	}
	m := &mapping{
		document: d, node: n, what: what,
		keys: map[string]*yaml.Node{}, vals: map[string]*yaml.Node{}, meant: map[string]bool{},
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		m.keys[n.Content[i].Value], m.vals[n.Content[i].Value] = n.Content[i], n.Content[i+1]
	}
	return m
}

// allow reports every key that is neither known nor planned for later.
func (m *mapping) allow(known, later []string) {
	for i := 0; i < len(m.node.Content); i += 2 {
		key := m.node.Content[i]
		switch {
		case slices.Contains(known, key.Value):
		case slices.Contains(later, key.Value):
			m.errorf(key, "", "key %q of %s is not supported yet", key.Value, m.what)
		default:
			var missing []string
			for _, k := range known {
				if !m.has(k) {
					missing = append(missing, k)
				}
			}
			n := nearest(key.Value, missing)
			hint := fmt.Sprintf("did you mean %q?", n)
			if n == "" {
				if hint = didYouMean(key.Value, slices.Concat(known, later)); hint == "" {
					hint = "it knows " + strings.Join(known, ", ")
				}
			}
			m.meant[n] = true
			m.errorf(key, hint, "unknown key %q of %s", key.Value, m.what)
		}
	}
}

// has tells whether a key is given, or meant.
func (m *mapping) has(key string) bool { return m.vals[key] != nil || m.meant[key] }

// need reports a key that is neither given nor meant.
func (m *mapping) need(key, hint string) bool {
	if m.vals[key] != nil {
		return true
	}
	if !m.meant[key] {
		m.errorf(m.node, hint, "%s needs the key %q", m.what, key)
	}
	return false
}

// str is the string under key; ok is false if there is none, with a finding if there is something else.
func (m *mapping) str(key string) (s string, ok bool) {
	n := m.vals[key]
	if n == nil {
		return "", false
	}
	return m.text(n, fmt.Sprintf("%q of %s", key, m.what))
}

// text is n as a string that isn't empty.
func (d *document) text(n *yaml.Node, what string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		hint := ""
		if n.Kind == yaml.ScalarNode && !isNull(n) {
			hint = fmt.Sprintf("put it in quotes: %q", n.Value)
		}
		d.errorf(n, hint, "%s: expected a string, got %s", what, kindOf(n))
		return "", false
	}
	if strings.TrimSpace(n.Value) == "" {
		d.errorf(n, "", "%s is an empty string", what)
		return "", false
	}
	return n.Value, true
}

// oneOf is the string under key if it is one of the allowed; what is planned for later is told apart from what is
// not a value at all.
func (m *mapping) oneOf(key string, allowed, later []string) (string, bool) {
	s, ok := m.str(key)
	if !ok {
		return "", false
	}
	return s, m.among(m.vals[key], fmt.Sprintf("%q of %s", key, m.what), allowed, later)
}

func (d *document) among(n *yaml.Node, what string, allowed, later []string) bool {
	switch {
	case slices.Contains(allowed, n.Value):
		return true
	case slices.Contains(later, n.Value):
		d.errorf(n, "", "%s: %q is not supported yet", what, n.Value)
	default:
		hint := didYouMean(n.Value, slices.Concat(allowed, later))
		if hint == "" {
			hint = "expected " + strings.Join(allowed, ", ")
		}
		d.errorf(n, hint, "%s: unknown value %q", what, n.Value)
	}
	return false
}

// list are the items under key, none if there is no such key.
func (m *mapping) list(key string) []*yaml.Node {
	n := m.vals[key]
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		hint := ""
		if n.Kind == yaml.MappingNode {
			hint = `each item starts with "- "`
		}
		m.errorf(n, hint, "%q of %s: expected a list, got %s", key, m.what, kindOf(n))
		return nil
	}
	return n.Content
}
