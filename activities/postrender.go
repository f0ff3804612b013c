package activities

import (
	"bytes"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// labeller is a Helm post-renderer: it marks every object of a release as the instance's. Pod templates are left as
// they are: a label there would restart pods, and what an object owns is found through its owner. Helm doesn't hand
// its hooks to post-renderers, so that these carry no mark.
type labeller struct {
	value string
	// ran tells that the chart has rendered: what fails afterwards is not the templates' fault.
	ran bool
}

// Run implements postrender.PostRenderer. The order of the documents stays.
func (l *labeller) Run(in *bytes.Buffer) (*bytes.Buffer, error) {
	docs, err := splitDocuments(in.String())
	if err != nil {
		return nil, fmt.Errorf("label the manifest: %w", err)
	}
	out := &bytes.Buffer{}
	for i, doc := range docs {
		v, err := parseDocument(doc, false)
		if err != nil {
			return nil, fmt.Errorf("label document %d (%s): %w", i+1, origin(doc), err)
		}
		if v == nil {
			continue
		}
		if err := label(v, l.value); err != nil {
			return nil, fmt.Errorf("label document %d (%s): %w", i+1, origin(doc), err)
		}
		b, err := yaml.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("label document %d (%s): %w", i+1, origin(doc), err)
		}
		fmt.Fprintf(out, "---\n%s%s", preamble(doc), b)
	}
	l.ran = true
	return out, nil
}

// label sets the instance's label on an object, or on the items of a List.
func label(v any, value string) error {
	m, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("not an object but %s", shape(v))
	}
	if items, ok := listItems(m); ok {
		for _, item := range items {
			if err := label(item, value); err != nil {
				return err
			}
		}
		return nil
	}
	for _, key := range []string{"apiVersion", "kind"} {
		if s, _ := m[key].(string); s == "" {
			return fmt.Errorf("%s is missing", key)
		}
	}
	meta, err := child(m, "metadata")
	if err != nil {
		return err
	}
	labels, err := child(meta, "labels")
	if err != nil {
		return err
	}
	labels[plan.InstanceLabel] = value
	return nil
}

// child is the mapping under key, made if there is none.
func child(m map[string]any, key string) (map[string]any, error) {
	switch c := m[key].(type) {
	case map[string]any:
		return c, nil
	case nil:
		c2 := map[string]any{}
		m[key] = c2
		return c2, nil
	default:
		return nil, fmt.Errorf("%s is not a mapping but %s", key, shape(c))
	}
}

// preamble is the comment at a document's head, where Helm says which template it came from.
func preamble(doc string) string {
	var b strings.Builder
	for _, line := range strings.SplitAfter(doc, "\n") {
		switch t := strings.TrimSpace(line); {
		case strings.HasPrefix(t, "#"):
			b.WriteString(strings.TrimRight(line, "\n") + "\n")
		case t == "" || t == "---":
		default:
			return b.String()
		}
	}
	return b.String()
}

// origin is the template's name out of Helm's comment.
func origin(doc string) string {
	for _, line := range strings.Split(preamble(doc), "\n") {
		if name, ok := strings.CutPrefix(line, "# Source: "); ok {
			return name
		}
	}
	return "unknown template"
}
