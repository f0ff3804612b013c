package specs

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/specs/render"
)

// What a command has if its author says nothing.
const (
	defaultTimeout     = time.Minute
	defaultHelmTimeout = 10 * time.Minute // of a helm command, which waits until what it made is healthy
	defaultDeadline    = time.Hour
	defaultInitial     = time.Second
	defaultMax         = 30 * time.Second
)

// command compiles one command; nil if not even its kind is known. Object tells that there is one that it reacts to.
func (c *compiler) command(d *document, n *yaml.Node, engine string, object bool) (*plan.Command, naming) {
	m := d.open(n, "a command")
	if m == nil {
		return nil, naming{}
	}
	if m.vals["cmd"] == nil {
		all := slices.Clone(commandKeys)
		for _, kind := range plan.Kinds {
			all = append(all, kindKeys[kind].now...)
			all = append(all, kindKeys[kind].soon...)
		}
		m.allow(all, commandSoon)
		m.need("cmd", "e.g. cmd: helm")
		return nil, naming{}
	}
	kind, ok := m.oneOf("cmd", plan.Kinds, kindsSoon)
	if !ok {
		return nil, naming{}
	}
	m.what = "command " + kind
	m.allow(slices.Concat(commandKeys, kindKeys[kind].now), slices.Concat(commandSoon, kindKeys[kind].soon))

	cmd := &plan.Command{Kind: kind, Engine: engine}
	explicit := false
	if m.vals["engine"] != nil {
		if e, ok := m.oneOf("engine", engines, enginesSoon); ok {
			cmd.Engine, explicit = e, true
		}
	}
	c.timing(m, cmd)
	t := templates{compiler: c, mapping: m, engine: cmd.Engine, explicit: explicit}
	by := kind
	switch kind {
	case plan.KindHelm:
		cmd.Helm = c.helm(t)
		if cmd.Helm.Chart != "" {
			by = nameOf(cmd.Helm.Chart, kind)
		}
	case plan.KindKubeApply:
		a := &plan.Apply{Conflicts: "fail"}
		a.File, a.Manifest = t.fileOrInline("manifest")
		if s, ok := m.oneOf("conflicts", conflicts, conflictSoon); ok {
			a.Conflicts = s
		}
		cmd.Apply = a
		by = nameOf(a.File, kind)
	case plan.KindKubePatch:
		p := &plan.Patch{Missing: "fail"}
		p.File, p.Patch = t.fileOrInline("patch")
		if s, ok := m.oneOf("patchType", patchTypes, patchSoon); ok {
			p.Type = s
		}
		if s, ok := m.oneOf("missing", missings, nil); ok {
			p.Missing = s
		}
		cmd.Patch = p
		by = nameOf(p.File, kind)
	case plan.KindSQL:
		cmd.SQL = c.sql(m, object)
	}
	name := naming{by: by}
	if _, ok := m.str("name"); ok {
		name.given = m.vals["name"]
	}
	return cmd, name
}

// helm compiles the own keys of a helm command.
func (c *compiler) helm(t templates) *plan.Helm {
	m := t.mapping
	h := &plan.Helm{}
	if s, ok := m.oneOf("state", []string{"absent"}, nil); ok {
		h.Absent = s == "absent"
	}
	h.Release, _ = m.str("release")
	h.Namespace, _ = m.str("namespace")
	if s, ok := m.str("chart"); ok {
		h.Chart = c.chart(m, s)
	} else if !m.has("chart") {
		switch {
		case !h.Absent:
			m.need("chart", "")
		case !m.has("release") && !m.has("name"):
			m.errorf(m.node, "", `command helm with state: absent needs "release", or the "chart" or "name" that the release was named by`)
		}
	}
	if n := m.vals["values"]; n != nil && h.Absent {
		m.errorf(m.keys["values"], "", `"values" mean nothing to a command that uninstalls`)
	} else if n != nil {
		h.Values = t.values(n)
	}
	if c.op.CRD != nil && !c.op.Plan.Resource.Namespaced && !m.has("namespace") {
		m.errorf(m.node, "", `command helm needs the key "namespace": a %s is cluster-scoped and has none`, c.op.Plan.Resource.Kind)
	}
	return h
}

// chart checks a chart's path.
func (c *compiler) chart(m *mapping, s string) string {
	n := m.vals["chart"]
	if strings.HasPrefix(s, "oci://") || strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://") {
		m.errorf(n, "put the chart into the operator's folder", "a chart of a registry or repository is not supported yet")
		return ""
	}
	p, ok := c.inside(m.document, n, s)
	if !ok {
		return ""
	}
	_, isFile := c.files[p]
	switch {
	case isFile && strings.HasSuffix(p, ".tgz"), c.charts[p]:
		return p
	case isFile:
		m.errorf(n, "a chart is a folder or a .tgz file", "%q is no chart", s)
	case c.hasFolder(p):
		m.errorf(n, "", "%q is no chart: it has no Chart.yaml", s)
	default:
		known := make([]string, 0, len(c.charts))
		for chart := range c.charts {
			known = append(known, chart)
		}
		for file := range c.files {
			if strings.HasSuffix(file, ".tgz") {
				known = append(known, file)
			}
		}
		slices.Sort(known)
		m.errorf(n, didYouMean(p, known), "there is no chart %q in the operator's folder", s)
	}
	return ""
}

func (c *compiler) hasFolder(p string) bool {
	for file := range c.files {
		if strings.HasPrefix(file, p+"/") {
			return true
		}
	}
	return false
}

// inside checks a path's form and returns it clean.
func (c *compiler) inside(d *document, n *yaml.Node, s string) (string, bool) {
	p := path.Clean(s)
	switch {
	case strings.Contains(s, "{{") || strings.Contains(s, "{%"):
		d.errorf(n, "", "a template in a path is not supported yet")
	case path.IsAbs(s):
		d.errorf(n, "paths are relative to the operator's folder", "%q is an absolute path", s)
	case p == ".." || strings.HasPrefix(p, "../"):
		d.errorf(n, "", "%q leads out of the operator's folder", s)
	case p == ".":
		d.errorf(n, "", "%q is the operator's folder itself", s)
	case strings.Contains(s, `\`):
		d.errorf(n, `paths are written with "/"`, "%q has a backslash in it", s)
	default:
		return p, true
	}
	return "", false
}

// file checks that a path names a text file of the folder and returns it clean.
func (c *compiler) file(d *document, n *yaml.Node, s string) (string, bool) {
	p, ok := c.inside(d, n, s)
	if !ok {
		return "", false
	}
	if _, ok := c.op.Files[p]; ok {
		return p, true
	}
	_, exists := c.files[p]
	switch {
	case exists && c.inChart(p) != "":
		d.errorf(n, "a chart's own files are Helm's; put this one outside of it", "%q is a part of the chart %s", s, c.inChart(p))
	case exists:
		d.errorf(n, "", "%q is no text", s)
	case c.hasFolder(p):
		d.errorf(n, "", "%q is a folder, not a file", s)
	default:
		known := make([]string, 0, len(c.op.Files))
		for file := range c.op.Files {
			known = append(known, file)
		}
		slices.Sort(known)
		d.errorf(n, didYouMean(p, known), "there is no file %q in the operator's folder", s)
	}
	return "", false
}

// templates are the files and texts of one command.
type templates struct {
	*compiler
	*mapping
	engine   string
	explicit bool // the command itself names the engine
}

// file is compiler.file, and checks that the file's ending and the engine agree.
func (t templates) file(n *yaml.Node, s string) string {
	p, ok := t.compiler.file(t.document, n, s)
	if !ok {
		return ""
	}
	switch by := render.Ending(p); {
	case by == "" || by == t.engine:
	case t.explicit && slices.Contains(engines, by):
		t.errorf(n, fmt.Sprintf(`rename the file, or leave "engine: %s" out`, t.engine),
			"%q asks for the engine %s by its ending, the command for %s", s, by, t.engine)
	case !t.explicit && !slices.Contains(engines, by):
		t.errorf(n, `to have it rendered by pongo2, write "engine: pongo2" beside it`,
			"%q asks for the engine %s by its ending, which is not supported yet", s, by)
	}
	return p
}

// values reads a file or a list of files.
func (t templates) values(n *yaml.Node) []string {
	items := []*yaml.Node{n}
	switch n.Kind {
	case yaml.SequenceNode:
		items = n.Content
	case yaml.MappingNode:
		t.errorf(n, "put them into a file and name that", `"values" as a map are not supported yet`)
		return nil
	}
	var out []string
	for _, item := range items {
		if s, ok := t.text(item, `"values" of command helm`); ok {
			if f := t.file(item, s); f != "" {
				out = append(out, f)
			}
		}
	}
	return out
}

// fileOrInline reads the pair of which exactly one is given: a file, or the text itself under the other key.
func (t templates) fileOrInline(inline string) (file, text string) {
	in, fn := t.vals[inline], t.vals["file"]
	switch {
	case in != nil && fn != nil:
		second := t.keys[inline]
		if fn.Line > in.Line {
			second = t.keys["file"]
		}
		t.errorf(second, "", `%s takes "file" or %q, not both`, t.what, inline)
		return "", ""
	case fn != nil:
		if s, ok := t.str("file"); ok {
			file = t.file(fn, s)
		}
		return file, ""
	case in == nil:
		if !t.has(inline) && !t.has("file") {
			t.errorf(t.node, "", `%s needs the key "file" or %q`, t.what, inline)
		}
		return "", ""
	case in.Kind == yaml.ScalarNode:
		text, _ = t.str(inline)
		return "", text
	}
	// YAML within the YAML: back to text, because it is a template too.
	b, err := yaml.Marshal(in)
	if err != nil {
		t.errorf(in, "", "%q can't be written as YAML: %v", inline, err)
	}
	return "", string(b)
}
