package specs_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/mainstay-dev/mainstay/specs"
)

// TestLanguageDoc: the examples of docs/language.md load.
func TestLanguageDoc(t *testing.T) {
	doc, err := os.ReadFile("../docs/language.md")
	if err != nil {
		t.Fatal(err)
	}
	spec := "type: object, properties: {spec: {type: object, properties: {size: {type: string}, host: {type: string}, port: {type: integer}}}}"
	files := map[string]string{
		"crd.yaml":       strings.Replace(widgets, "{openAPIV3Schema: {type: object}}", "{openAPIV3Schema: {"+spec+"}}", 1),
		"web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 0.1.0\n",
	}
	for _, m := range regexp.MustCompile(`(?:file:|\[|, )\s*([\w-]+\.yaml)`).FindAllStringSubmatch(string(doc), -1) {
		if m[1] != "crd.yaml" && m[1] != "operator.yaml" {
			files[m[1]] = "a: 1\n"
		}
	}
	const top = "default:\n  def: crd.yaml\n"
	indented := func(text string) string {
		return strings.ReplaceAll("\n"+strings.TrimSpace(text), "\n", "\n    ") + "\n"
	}
	loaded := 0
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(doc), -1) {
		text := block[1]
		switch {
		case strings.HasPrefix(text, "default:"):
		case strings.HasPrefix(text, "- cmd:"):
			text = top + "  deploy:" + indented(text)
		case strings.HasPrefix(text, "- watch:"):
			text = top + "  maintain:" + indented(text)
		case strings.HasPrefix(text, "maintain:"):
			text = top + strings.TrimPrefix(indented(text), "\n  ")
		case strings.HasPrefix(text, "decide:"):
			text = top + "  maintain:\n    - watch: {category: ResourceDidChange, apiVersion: v1, kind: Service}\n      action: [{cmd: kube-patch, file: patch.yaml}]" +
				strings.ReplaceAll(indented(text), "\n    ", "\n      ")
		default:
			continue // a file of its own
		}
		loaded++
		files["operator.yaml"] = text
		if _, err := specs.Load(folder(t, t.TempDir(), files)); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
	if loaded < 12 {
		t.Errorf("only %d examples were found", loaded)
	}
}
