// Package specs reads operators: folders of YAML, as their authors write them, become plans.
//
// Everything that can be wrong with a folder is found here, before anything runs, with file, line, column and what
// was probably meant: unknown keys, wrong types, missing files, names given twice. All mistakes of a folder are
// reported at once. What belongs here is the language and nothing else: no cluster, no clock, no workflow. The plan
// that comes out is in package plan, which workflows share; templates are rendered by package render, when they run.
//
// YAML is read as nodes instead of being unmarshalled into structs, because a struct knows no columns, and because
// unmarshalling resolves anchors, takes the last of two equal keys and drops what it doesn't know.
package specs

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// Description is the file's name that makes a folder an operator.
const Description = "operator.yaml"

// Operator is one folder, loaded and checked. It is not changed after Load, and may be read concurrently.
type Operator struct {
	Plan *plan.Operator
	// Dir is the folder's absolute path.
	Dir string
	// CRD is the CustomResourceDefinition as the author wrote it. InstallableCRD is what to install.
	CRD map[string]any
	// Files are the texts of the folder as they were when it was loaded, by slash path relative to Dir: every regular
	// file that is text, except those within charts. An edit of the folder doesn't change a revision that runs.
	Files map[string]string

	// served is where the description names the CRD.
	served Finding
	// tables and labels are those of the operator's SQL.
	tables, labels []string
}

// Tables are the full names of all tables that the operator's SQL reads or writes, in order: "services",
// "ingresses.networking.k8s.io". The two that are no kind's, "resources" and "events", may be among them.
func (o *Operator) Tables() []string { return slices.Clone(o.tables) }

// IndexedLabels are the keys of the labels that the operator's SQL compares by equality, in order.
func (o *Operator) IndexedLabels() []string { return slices.Clone(o.labels) }

func (o *Operator) sort() {
	slices.Sort(o.tables)
	slices.Sort(o.labels)
	o.tables, o.labels = slices.Compact(o.tables), slices.Compact(o.labels)
}

// Load reads the operator in the folder dir.
//
// Possible errors: Findings.
func Load(dir string) (*Operator, error) {
	op, found := load(dir)
	if err := found.err(); err != nil {
		return nil, err
	}
	return op, nil
}

// LoadAll reads dir if it holds an operator.yaml, and else every subfolder that holds one, in the order of their
// names; other subfolders and hidden ones are passed over. A mistake in one operator doesn't keep the others from
// being returned. Of two operators that serve the same kind of resource the second is a mistake.
//
// Possible errors: Findings, beside the operators that have none.
func LoadAll(dir string) ([]*Operator, error) {
	dirs, found := operatorsIn(dir)
	var ops []*Operator
	served := map[string]*Operator{}
	for _, d := range dirs {
		op, f := load(d)
		if len(f) > 0 {
			found = append(found, f...)
			continue
		}
		crd := op.Plan.Resource.CRD()
		if first := served[crd]; first != nil {
			f := op.served
			f.Message = fmt.Sprintf("%s is served by the operator %q already", crd, first.Plan.Name)
			found = append(found, f)
			continue
		}
		served[crd] = op
		ops = append(ops, op)
	}
	return ops, found.err()
}

// Chart is the absolute path of a chart's folder or archive that the plan names.
func (o *Operator) Chart(chart string) string {
	return filepath.Join(o.Dir, filepath.FromSlash(path.Clean("/"+chart)))
}

func operatorsIn(dir string) (dirs []string, found Findings) {
	bad := func(message, hint string) ([]string, Findings) {
		return nil, Findings{{File: dir, Message: message, Hint: hint}}
	}
	info, err := os.Stat(dir)
	switch {
	case os.IsNotExist(err):
		return bad("no such folder", "")
	case err != nil:
		return bad(fmt.Sprintf("can't be read: %v", cause(err)), "")
	case !info.IsDir():
		return bad("is no folder", "name the folder that holds "+Description)
	case hasDescription(dir):
		return []string{dir}, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return bad(fmt.Sprintf("can't be read: %v", cause(err)), "")
	}
	hint := ""
	for _, e := range entries {
		sub := filepath.Join(dir, e.Name())
		if e.Name() == "operator.yml" {
			hint = "rename operator.yml to " + Description
		}
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		// A link to a folder counts: Stat follows it.
		if info, err := os.Stat(sub); err == nil && info.IsDir() && hasDescription(sub) {
			dirs = append(dirs, sub)
		}
	}
	if len(dirs) == 0 {
		return bad("holds no operator: neither "+Description+" nor a folder with one", hint)
	}
	return dirs, nil
}

func hasDescription(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, Description))
	return err == nil && !info.IsDir() || err != nil && !os.IsNotExist(err)
}

// load reads a folder and compiles it. The operator counts only if there are no findings.
func load(dir string) (*Operator, Findings) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, Findings{{File: dir, Message: fmt.Sprintf("has no absolute path: %v", err)}}
	}
	f := readFolder(dir)
	description, ok := f.files[Description]
	if !ok {
		if len(f.found) == 0 {
			f.add(Description, "", "no such file")
		}
		return nil, f.found
	}
	if !description.isText {
		return nil, f.found
	}
	c := &compiler{folder: f, op: &Operator{
		Dir: abs, Files: f.texts(),
		Plan: &plan.Operator{Name: filepath.Base(abs), Digest: f.digest, Profiles: map[string]*plan.Profile{}},
	}}
	if d := parse(f.path(Description), description.text, &f.found); d != nil {
		c.operator(d)
	}
	return c.op, f.found
}
