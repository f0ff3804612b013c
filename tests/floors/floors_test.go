// Package floors holds the house's walls: who may import whom. It parses imports and builds nothing.
package floors

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/mainstay-dev/mainstay/"

// allowed says for each package which other packages of the module it may import. Each stands on the floors below it;
// those of one floor don't import each other.
var allowed = map[string][]string{
	"specs/plan":      {},
	"specs/render":    {},
	"watcher/virtual": {},
	"specs/library":   {},
	"specs/expr":      {},
	"specs/sense":     {"specs/plan", "watcher/virtual"},
	"specs":           {"specs/plan", "specs/render", "specs/expr", "watcher/virtual"},
	"workflows":       {"specs/plan"},
	"activities":      {"specs", "specs/plan", "specs/render", "specs/expr", "specs/sense", "watcher/virtual"},
	"watcher":         {"specs", "specs/plan", "specs/sense", "watcher/virtual"},
	"worker":          {"specs", "specs/plan", "specs/sense", "specs/library", "workflows", "activities", "watcher", "watcher/virtual"},
	"cmd/mainstay":    {"worker", "specs", "specs/plan", "specs/sense", "specs/library", "watcher/virtual"},
}

// outside says which modules a package must not import although the Go compiler would let it.
var outside = []struct {
	pkg, why  string
	forbidden []string
}{
	{"workflows", "workflow code stays deterministic: Helm and client-go belong into activities", []string{"helm.sh/", "k8s.io/", "github.com/tidwall/", "os", "net/http", "math/rand"}},
	{"specs/plan", "histories hold plain data", []string{"k8s.io/", "helm.sh/", "go.temporal.io/", "go.yaml.in/"}},
	{"specs/render", "engines reach nothing but the text that they are given", []string{"k8s.io/", "go.temporal.io/", "net", "net/http", "os"}},
	{"specs", "the language is pure: no cluster, no clock", []string{"k8s.io/client-go", "go.temporal.io/", "time.Now"}},
	{"watcher/virtual", "the store knows neither informers nor Temporal", []string{"k8s.io/client-go", "go.temporal.io/", "helm.sh/"}},
	{"watcher", "what is watched knows nothing of what is done about it", []string{"helm.sh/"}},
}

func TestFloors(t *testing.T) {
	seen := map[string]bool{}
	for pkg, imports := range packages(t) {
		if strings.HasPrefix(pkg, "tests/") {
			continue
		}
		below, known := allowed[pkg]
		if !known {
			t.Errorf("package %s has no floor: give it one here and in ARCHITECTURE.md", pkg)
			continue
		}
		seen[pkg] = true
		for imp, file := range imports {
			if own, ok := strings.CutPrefix(imp, module); ok && !slices.Contains(below, own) {
				t.Errorf("%s: %s must not import %s", file, pkg, own)
			}
		}
	}
	for _, rule := range outside {
		for imp, file := range packages(t)[rule.pkg] {
			for _, f := range rule.forbidden {
				if imp == f || strings.HasSuffix(f, "/") && strings.HasPrefix(imp, f) || strings.HasPrefix(imp, f+"/") {
					t.Errorf("%s: %s must not import %s: %s", file, rule.pkg, imp, rule.why)
				}
			}
		}
	}
	for _, pkg := range []string{"specs/plan", "specs", "workflows", "activities", "watcher", "watcher/virtual", "worker", "cmd/mainstay"} {
		if !seen[pkg] {
			t.Errorf("package %s is missing: is this test looking at the right tree?", pkg)
		}
	}
}

// packages maps each package of the module to what it imports and a file that does; test files are left out.
func packages(t *testing.T) map[string]map[string]string {
	t.Helper()
	root := filepath.Join("..", "..")
	out := map[string]map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() {
			if name := d.Name(); path != root && (strings.HasPrefix(name, ".") && name != ".." || name == "testdata" || rel == "bin") {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil && path != root {
				return filepath.SkipDir // a module of its own
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(rel))
		if out[pkg] == nil {
			out[pkg] = map[string]string{}
		}
		for _, imp := range f.Imports {
			out[pkg][strings.Trim(imp.Path.Value, `"`)] = rel
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLeanModule: neither Temporal's server nor Kubernetes itself comes into the program; they live in devstack.
func TestLeanModule(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, heavy := range []string{"go.temporal.io/server ", "k8s.io/kubernetes ", "go.etcd.io/etcd/server", "sigs.k8s.io/kwok "} {
		if strings.Contains(string(mod), heavy) {
			t.Errorf("go.mod requires %s: that belongs into devstack/go.mod", strings.TrimSpace(heavy))
		}
	}
}
