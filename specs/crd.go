package specs

import (
	"fmt"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/json"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

var (
	label     = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)
	subdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$`)
	version   = regexp.MustCompile(`^v[1-9][0-9]*((alpha|beta)[1-9][0-9]*)?$`)
)

// definition reads a document as a CustomResourceDefinition. It checks what Mainstay itself relies on, and what the
// API server would refuse only after the operator has started; the rest is the API server's.
func (d *document) definition() (crd map[string]any, r plan.Resource, ok bool) {
	before := len(*d.found)
	m := d.open(d.root, "the definition")
	m.expect("apiVersion", "apiextensions.k8s.io/v1")
	m.expect("kind", "CustomResourceDefinition")
	if spec := m.sub("spec"); spec != nil {
		r.Group = spec.form("group", subdomain, "a domain, e.g. example.com")
		if names := spec.sub("names"); names != nil {
			r.Plural = names.form("plural", label, "lower case, e.g. widgets")
			r.Kind = names.form("kind", kindName, "CamelCase, e.g. Widget")
		}
		if spec.need("scope", "Namespaced or Cluster") {
			s, _ := spec.oneOf("scope", []string{"Namespaced", "Cluster"}, nil)
			r.Namespaced = s == "Namespaced"
		}
		r.Version = spec.storage()
	}
	if meta := m.sub("metadata"); meta != nil && meta.need("name", "") {
		if s, isText := meta.str("name"); isText && r.Group != "" && r.Plural != "" && s != r.CRD() {
			meta.errorf(meta.vals["name"], "", "the name must be plural and group: %q", r.CRD())
		}
	}
	if len(*d.found) > before {
		return nil, r, false
	}
	crd, err := d.tree()
	if err != nil {
		d.errorf(d.root, "", "%v", err)
		return nil, r, false
	}
	return crd, r, true
}

// tree is the document as JSON has it, with int64 and float64.
func (d *document) tree() (map[string]any, error) {
	var out map[string]any
	err := decodeNode(d.root, &out)
	return out, err
}

// decodeNode decodes a node as JSON has it: numbers are int64 or float64.
func decodeNode(n *yaml.Node, out any) error {
	b, err := yaml.Marshal(n)
	if err != nil {
		return fmt.Errorf("write as YAML: %w", err)
	}
	if b, err = sigsyaml.YAMLToJSON(b); err != nil {
		return fmt.Errorf("convert to JSON: %w", err)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("read as JSON: %w", err)
	}
	return nil
}

// storage is the version that the API server stores, which is the one that Mainstay reads and writes.
func (m *mapping) storage() string {
	if !m.need("versions", "") {
		return ""
	}
	var stored *mapping
	name := ""
	for _, n := range m.list("versions") {
		v := m.open(n, "a version")
		if v == nil {
			continue
		}
		this := v.form("name", version, "e.g. v1alpha1")
		v.flag("served")
		if !v.flag("storage") {
			continue
		}
		if stored != nil {
			v.errorf(v.vals["storage"], "", "two versions have storage: true; exactly one is stored")
			continue
		}
		stored, name = v, this
	}
	switch {
	case stored == nil:
		if m.vals["versions"].Kind == yaml.SequenceNode {
			m.errorf(m.vals["versions"], "", "no version has storage: true")
		}
		return ""
	case stored.vals["served"] != nil && stored.vals["served"].Value == "false":
		stored.errorf(stored.vals["served"], "", "the stored version %s must be served: Mainstay works with it", name)
	}
	if schema := stored.sub("schema"); schema != nil {
		schema.what = fmt.Sprintf("the schema of version %s", name)
		schema.sub("openAPIV3Schema")
	}
	return name
}

// sub is the mapping under a key that must be there.
func (m *mapping) sub(key string) *mapping {
	if !m.need(key, "") {
		return nil
	}
	return m.open(m.vals[key], fmt.Sprintf("%q", key))
}

func (m *mapping) expect(key, want string) {
	if !m.need(key, "expected "+want) {
		return
	}
	if s, ok := m.str(key); ok && s != want {
		m.errorf(m.vals[key], "expected "+want, "%s %q", key, s)
	}
}

// form is the string under a key that must be there and look a certain way; "" after a finding.
func (m *mapping) form(key string, re *regexp.Regexp, hint string) string {
	if !m.need(key, hint) {
		return ""
	}
	s, ok := m.str(key)
	if ok && !re.MatchString(s) {
		m.errorf(m.vals[key], hint, "%q is no %s", s, key)
		return ""
	}
	return s
}

// flag is the bool under a key that must be there.
func (m *mapping) flag(key string) bool {
	if !m.need(key, "true or false") {
		return false
	}
	n := m.vals[key]
	if n.Tag != "!!bool" {
		m.errorf(n, "", "%q of %s: expected true or false, got %s", key, m.what, kindOf(n))
		return false
	}
	return slices.Contains([]string{"true", "True", "TRUE"}, n.Value)
}
