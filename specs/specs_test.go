package specs_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/mainstay-dev/mainstay/specs"
	"github.com/mainstay-dev/mainstay/specs/plan"
)

const widgets = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  names: {plural: widgets, kind: Widget}
  scope: Namespaced
  versions:
    - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
`

// base are the files that an operator of these tests has unless it brings its own.
var base = map[string]string{
	"operator.yaml":   "default:\n  def: crd.yaml\n",
	"crd.yaml":        widgets,
	"values.yaml":     "a: 1\n",
	"patch.yaml":      "a: 1\n",
	"app/Chart.yaml":  "apiVersion: v2\nname: app\nversion: 0.1.0\n",
	"app/values.yaml": "a: 1\n",
}

// folder writes an operator's folder: base, and then files over it.
func folder(t testing.TB, dir string, files map[string]string) string {
	t.Helper()
	for _, set := range []map[string]string{base, files} {
		for name, text := range set {
			p := filepath.Join(dir, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// update writes what is found into the archives as what must be found: read the difference before it is committed.
var update = flag.Bool("update", false, "write the findings into testdata")

func describe(text string) map[string]string { return map[string]string{"operator.yaml": text} }

// TestFindings: every mistake at its place, with its hint, and nothing else.
func TestFindings(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatal("no archives", err)
	}
	for _, name := range archives {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		cases, order := map[string]map[string]string{}, []string{}
		for _, f := range archive.Files {
			c, file, _ := strings.Cut(f.Name, "/")
			if cases[c] == nil {
				cases[c], order = map[string]string{}, append(order, c)
			}
			cases[c][file] = string(f.Data)
		}
		for _, c := range order {
			t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar")+"/"+c, func(t *testing.T) {
				want, ok := cases[c]["want"]
				if !ok {
					t.Fatal("the case has no file want")
				}
				delete(cases[c], "want")
				dir := folder(t, t.TempDir(), cases[c])
				_, err := specs.Load(dir)
				got := ""
				if err != nil {
					got = strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), "") + "\n"
				}
				if *update {
					for i, f := range archive.Files {
						if f.Name == c+"/want" {
							archive.Files[i].Data = []byte(got)
						}
					}
				} else if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("findings (-want +got):\n%s", diff)
				}
			})
		}
		if *update {
			if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestFindingsAreTyped: callers get places without parsing text.
func TestFindingsAreTyped(t *testing.T) {
	dir := folder(t, t.TempDir(), describe("default:\n  def: crd.yaml\n  deplyo: []\n"))
	_, err := specs.Load(dir)
	var all specs.Findings
	var one specs.Finding
	if !errors.As(err, &all) || !errors.As(err, &one) {
		t.Fatalf("error %v is neither Findings nor a Finding", err)
	}
	want := specs.Finding{
		File: filepath.Join(dir, "operator.yaml"), Line: 3, Column: 3,
		Message: `unknown key "deplyo" of profile default`, Hint: `did you mean "deploy"?`,
	}
	if diff := cmp.Diff(specs.Findings{want}, all); diff != "" {
		t.Error(diff)
	}
}

func load(t *testing.T, dir string) *specs.Operator {
	t.Helper()
	op, err := specs.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func duration(t *testing.T, s string) plan.Duration {
	t.Helper()
	var d plan.Duration
	if err := d.UnmarshalText([]byte(s)); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestPlan compiles one of everything.
func TestPlan(t *testing.T) {
	dir := folder(t, filepath.Join(t.TempDir(), "widget"), map[string]string{
		"lib/app-1.2.3.tgz": "\x1f\x8b\x00",
		"extra.yaml.gotmpl": "b: 1\n",
		"operator.yaml": `
default:
  def: ./crd.yaml
  deploy:
    - cmd: helm
      chart: app/
      values: [values.yaml, extra.yaml.gotmpl]
      release: "{{ cr.metadata.name }}"
      namespace: other
    - {cmd: helm, chart: lib/app-1.2.3.tgz, timeout: 90s, deadline: 2m, retry: 1m}
    - {cmd: kube-apply, file: patch.yaml, conflicts: force, retry: {initial: 2s}}
    - cmd: kube-apply
      engine: helm
      retry: {max: 5s}
      manifest:
        - kind: ConfigMap
          data: {port: "{{ .cr.spec.port }}"}
    - {cmd: kube-patch, patch: "a: {{ cr.spec.a }}", patchType: merge, missing: skip, name: app-2}
  maintain:
    - watch: {category: ResourceDidChange, apiVersion: v1, kind: ConfigMap}
      action: [{cmd: kube-patch, file: patch.yaml}, {cmd: kube-patch, file: patch.yaml}]
    - watch: {category: [ResourceDidDelete], apiVersion: v1, kind: ConfigMap, scope: namespace}
      action: [{cmd: kube-patch, file: patch.yaml, name: again}]
    - watch: {category: ResourceDidChange, apiVersion: v1, kind: ConfigMap}
      action: [{cmd: kube-patch, file: patch.yaml}]
none:
  engine: helm
  deploy: [{cmd: kube-apply, file: patch.yaml}]
  undeploy: []
`})
	op := load(t, dir)
	d := func(s string) plan.Duration { return duration(t, s) }
	retry := plan.Retry{Initial: d("1s"), Max: d("30s")}
	patch := func(name string) plan.Command {
		return plan.Command{Kind: "kube-patch", Name: name, Engine: "pongo2", Timeout: d("1m"), Deadline: d("1h"), Retry: retry,
			Patch: &plan.Patch{File: "patch.yaml", Missing: "fail"}}
	}
	manifest := "- kind: ConfigMap\n  data: {port: \"{{ .cr.spec.port }}\"}\n"
	deploy := []plan.Command{
		{Kind: "helm", Name: "app", Engine: "pongo2", Timeout: d("10m"), Deadline: d("1h"), Retry: retry,
			Helm: &plan.Helm{Chart: "app", Values: []string{"values.yaml", "extra.yaml.gotmpl"}, Release: "{{ cr.metadata.name }}", Namespace: "other"}},
		// app-2 is taken by the name that an author gave below.
		{Kind: "helm", Name: "app-3", Engine: "pongo2", Timeout: d("90s"), Deadline: d("2m"), Retry: plan.Retry{Initial: d("1m"), Max: d("1m")},
			Helm: &plan.Helm{Chart: "lib/app-1.2.3.tgz"}},
		{Kind: "kube-apply", Name: "patch", Engine: "pongo2", Timeout: d("1m"), Deadline: d("1h"), Retry: plan.Retry{Initial: d("2s"), Max: d("30s")},
			Apply: &plan.Apply{File: "patch.yaml", Conflicts: "force"}},
		{Kind: "kube-apply", Name: "kube-apply", Engine: "helm", Timeout: d("1m"), Deadline: d("1h"), Retry: plan.Retry{Initial: d("1s"), Max: d("5s")},
			Apply: &plan.Apply{Manifest: manifest, Conflicts: "fail"}},
		{Kind: "kube-patch", Name: "app-2", Engine: "pongo2", Timeout: d("1m"), Deadline: d("1h"), Retry: retry,
			Patch: &plan.Patch{Patch: "a: {{ cr.spec.a }}", Type: "merge", Missing: "skip"}},
	}
	undeploy := []plan.Command{
		{Kind: "kube-apply", Name: "kube-apply", Engine: "helm", Timeout: d("1m"), Deadline: d("1h"), Retry: plan.Retry{Initial: d("1s"), Max: d("5s")},
			Apply: &plan.Apply{Manifest: manifest, Absent: true, Undoes: "kube-apply"}},
		{Kind: "kube-apply", Name: "patch", Engine: "pongo2", Timeout: d("1m"), Deadline: d("1h"), Retry: plan.Retry{Initial: d("2s"), Max: d("30s")},
			Apply: &plan.Apply{File: "patch.yaml", Absent: true, Undoes: "patch"}},
		{Kind: "helm", Name: "app-3", Engine: "pongo2", Timeout: d("90s"), Deadline: d("2m"), Retry: plan.Retry{Initial: d("1m"), Max: d("1m")},
			Helm: &plan.Helm{Chart: "lib/app-1.2.3.tgz", Absent: true, Undoes: "app-3"}},
		{Kind: "helm", Name: "app", Engine: "pongo2", Timeout: d("10m"), Deadline: d("1h"), Retry: retry,
			Helm: &plan.Helm{Chart: "app", Release: "{{ cr.metadata.name }}", Namespace: "other", Absent: true, Undoes: "app"}},
	}
	watch := plan.Watch{Categories: []plan.Category{plan.DidChange}, APIVersion: "v1", Kind: "ConfigMap", Scope: plan.ScopeInstance}
	again := patch("again")
	want := &plan.Operator{
		Name: "widget", Digest: op.Plan.Digest,
		Resource: plan.Resource{Group: "example.com", Version: "v1", Kind: "Widget", Plural: "widgets", Namespaced: true},
		Profiles: map[string]*plan.Profile{
			"default": {Name: "default", Deploy: deploy, Undeploy: undeploy, Rules: []plan.Rule{
				{Name: "config-map-patch", At: "operator.yaml:20:7", Watch: watch, Action: []plan.Command{patch("patch"), patch("patch-2")}},
				{Name: "config-map-again", At: "operator.yaml:22:7", Action: []plan.Command{again},
					Watch: plan.Watch{Categories: []plan.Category{plan.DidDelete}, APIVersion: "v1", Kind: "ConfigMap", Scope: plan.ScopeNamespace}},
				{Name: "config-map-patch-2", At: "operator.yaml:24:7", Watch: watch, Action: []plan.Command{patch("patch")}},
			}},
			"none": {Name: "none", Deploy: []plan.Command{{Kind: "kube-apply", Name: "patch", Engine: "helm", Timeout: d("1m"), Deadline: d("1h"), Retry: retry,
				Apply: &plan.Apply{File: "patch.yaml", Conflicts: "fail"}}}},
		},
	}
	if diff := cmp.Diff(want, op.Plan); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if got, want := op.Chart("app"), filepath.Join(dir, "app"); got != want {
		t.Errorf("Chart: %s, want %s", got, want)
	}
	if got := op.Chart("../../etc"); !strings.HasPrefix(got, dir) {
		t.Errorf("Chart leads out of the folder: %s", got)
	}
}

// TestWindowsText: a byte order mark and CRLF are no mistakes.
func TestWindowsText(t *testing.T) {
	text := "\ufeff" + strings.ReplaceAll("default:\n  def: crd.yaml\n  deploy:\n    - cmd: helm\n      chart: app\n", "\n", "\r\n")
	op := load(t, folder(t, t.TempDir(), map[string]string{"operator.yaml": text, "crd.yaml": "\ufeff" + strings.ReplaceAll(widgets, "\n", "\r\n")}))
	if len(op.Plan.Profiles["default"].Deploy) != 1 {
		t.Error("the command is lost")
	}
}

func TestGarbage(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"binary":   {"\x00\x01\xff", "operator.yaml: no text: not valid UTF-8, or with NUL characters in it"},
		"control":  {"default: \x01", "operator.yaml: no valid YAML: control characters are not allowed"},
		"large":    {strings.Repeat("# comment\n", 110_000), "operator.yaml: is larger than 1024 KiB"},
		"brackets": {strings.Repeat("[", 20_000), "operator.yaml: no valid YAML: exceeded max depth of 10000"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, t.TempDir(), describe(c.text))
			_, err := specs.Load(dir)
			if err == nil || strings.ReplaceAll(err.Error(), dir+"/", "") != c.want {
				t.Errorf("error %v\nwant  %s", err, c.want)
			}
		})
	}
}

func FuzzLoad(f *testing.F) {
	seed, err := os.ReadFile("library/vvp/operator.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(seed))
	f.Add("default:\n  def: crd.yaml\n  deploy:\n    - {cmd: kube-apply, manifest: {a: [1, {b: c}]}, retry: {max: 5s}, timeout: 1m}\n")
	f.Add("default:\n  def: crd.yaml\n  maintain:\n    - watch: {category: ResourceDidChange, apiVersion: v1, kind: Pod, fields: [spec], selector: {matchLabels: {a: b}}}\n" +
		"      decide:\n        sql: |\n          SELECT name FROM pods\n          WHERE uid = :object_uid\n        when: size(rows) > 0\n" +
		"      action: [{cmd: sql, statement: UPDATE pods SET labels = :x; SELECT 1, params: {x: 1}}]\n")
	f.Add("default:\n  def: crd.yaml\n  maintain:\n    - watch: {category: TimerDidFire, cron: '0 3 * * *'}\n      action: []\n    - watch: {category: QueryDidChange, sql: \"SELECT '{{'\"}\n")
	f.Add("? [a]\n: &x {*x : 1}\n---\n<<: 1\n")
	dir := folder(f, f.TempDir(), nil)
	f.Fuzz(func(t *testing.T, text string) {
		// One folder for all: the fuzzer runs the cases of one process one after the other.
		folder(t, dir, describe(text))
		op, err := specs.Load(dir)
		var found specs.Findings
		switch {
		case err == nil && (op == nil || op.Plan.Profiles[plan.DefaultProfile] == nil):
			t.Error("no error and no default profile")
		case err != nil && (!errors.As(err, &found) || len(found) == 0):
			t.Errorf("error %v without findings", err)
		}
	})
}
