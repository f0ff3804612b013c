package activities

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// splitDocuments splits a YAML stream as Kubernetes does, at lines that start with "---". Documents without content
// are left out.
func splitDocuments(text string) ([]string, error) {
	var docs []string
	r := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		b, err := r.Read()
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, fmt.Errorf("split into documents: %w", err)
		}
		// The first document may keep its separator and the comment behind it.
		doc := strings.TrimPrefix(string(b), "---\n")
		if hasContent(doc) {
			docs = append(docs, doc)
		}
	}
}

func hasContent(doc string) bool {
	for _, line := range strings.Split(doc, "\n") {
		line = strings.TrimSpace(line)
		if line != "" && line != "---" && !strings.HasPrefix(line, "#") {
			return true
		}
	}
	return false
}

// parseDocument reads a document as data, with numbers kept as they are written. It is nil if there is none. Strict
// makes a key that stands twice an error; charts are not held to that, as Helm doesn't.
func parseDocument(doc string, strict bool) (any, error) {
	toJSON := yaml.YAMLToJSON
	if strict {
		toJSON = yaml.YAMLToJSONStrict
	}
	b, err := toJSON([]byte(doc))
	if err != nil {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	return v, nil
}

// parseObjects reads rendered manifests. Lists are taken apart. Errors are the author's fault and name the document.
func parseObjects(source, text string) ([]*unstructured.Unstructured, error) {
	docs, err := splitDocuments(text)
	if err != nil {
		return nil, invalid(fmt.Errorf("%s: %w", source, err), "")
	}
	var out []*unstructured.Unstructured
	for i, doc := range docs {
		where := fmt.Sprintf("%s, document %d", source, i+1)
		v, err := parseDocument(doc, true)
		if err != nil {
			return nil, invalid(fmt.Errorf("%s: %w", where, err), "render the template to see what it makes")
		}
		if v == nil {
			continue
		}
		m, ok := v.(map[string]any)
		if !ok {
			return nil, invalid(fmt.Errorf("%s: not an object but %s", where, shape(v)), "a manifest needs apiVersion, kind and metadata.name")
		}
		if out, err = appendObjects(out, m, where); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func appendObjects(out []*unstructured.Unstructured, m map[string]any, where string) ([]*unstructured.Unstructured, error) {
	if items, ok := listItems(m); ok {
		for i, item := range items {
			im, ok := item.(map[string]any)
			if !ok {
				return nil, invalid(fmt.Errorf("%s, item %d: not an object but %s", where, i+1, shape(item)), "")
			}
			var err error
			if out, err = appendObjects(out, im, fmt.Sprintf("%s, item %d", where, i+1)); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	for _, path := range [][]string{{"apiVersion"}, {"kind"}, {"metadata", "name"}} {
		if s, ok, _ := unstructured.NestedString(m, path...); !ok || s == "" {
			return nil, invalid(fmt.Errorf("%s: %s is missing", where, strings.Join(path, ".")), "a manifest needs apiVersion, kind and metadata.name")
		}
	}
	u, err := toUnstructured(m)
	if err != nil {
		return nil, invalid(fmt.Errorf("%s: %w", where, err), "")
	}
	return append(out, u), nil
}

// listItems are the items of a List; a kind that is merely called …List has none.
func listItems(m map[string]any) ([]any, bool) {
	kind, _ := m["kind"].(string)
	items, ok := m["items"].([]any)
	return items, ok && strings.HasSuffix(kind, "List")
}

// toUnstructured turns data into an object whose numbers are int64 and float64, as client-go wants them.
func toUnstructured(m map[string]any) (*unstructured.Unstructured, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(b); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return u, nil
}

// shape names what a value is without showing it.
func shape(v any) string {
	switch v.(type) {
	case nil:
		return "nothing"
	case map[string]any:
		return "a mapping"
	case []any:
		return "a list"
	case string:
		return "a text"
	case bool:
		return "a boolean"
	}
	return "a number"
}

// refOf names an object.
func refOf(u *unstructured.Unstructured) plan.ObjectRef {
	return plan.ObjectRef{APIVersion: u.GetAPIVersion(), Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName()}
}

// describe names an object for people: "Service default/demo".
func describe(r plan.ObjectRef) string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// parseManifest reads the objects of a manifest that Helm has made. It is lenient: what is no object is left out.
func parseManifest(text string) ([]*unstructured.Unstructured, error) {
	docs, err := splitDocuments(text)
	if err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	for i, doc := range docs {
		v, err := parseDocument(doc, false)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", i+1, err)
		}
		if m, ok := v.(map[string]any); ok {
			if out, err = appendObjects(out, m, fmt.Sprintf("document %d", i+1)); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}
