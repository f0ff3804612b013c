package specs

import (
	"reflect"
	"slices"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/specs/render"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// compiler turns a folder into an operator. What is wrong goes into the folder's findings.
type compiler struct {
	*folder
	op *Operator
	// later are the checks of SQL and conditions. They come last, because a statement may name what any rule watches.
	later []func()
	// watched are the kinds that rules watch.
	watched []virtual.Kind
	// known are all tables that are not taken on trust.
	known []virtual.Resource
	// schema is that of the resource, as it will be installed; nil: it isn't known.
	schema map[string]any
}

// operator compiles operator.yaml: its keys are the profiles.
func (c *compiler) operator(d *document) {
	m := d.open(d.root, "the description")
	var names []string
	for i := 0; i < len(d.root.Content); i += 2 {
		names = append(names, d.root.Content[i].Value)
	}
	if m.vals[plan.DefaultProfile] == nil {
		if slices.ContainsFunc(names, func(n string) bool { return slices.Contains(profileKeys, n) }) {
			d.errorf(d.root, `put all of it under the key "default"`, "the top level names the profiles, and there is no %q", plan.DefaultProfile)
			return
		}
		at := d.root
		if n := nearest(plan.DefaultProfile, names); n != "" {
			at = m.keys[n]
		}
		d.errorf(at, "the top level names the profiles", "there is no profile %q", plan.DefaultProfile)
	}
	// The default profile first: the others inherit its def and have to serve the same CRD.
	slices.SortStableFunc(names, func(a, b string) int {
		switch {
		case a == plan.DefaultProfile:
			return -1
		case b == plan.DefaultProfile:
			return 1
		}
		return 0
	})
	for _, name := range names {
		if !validName(name) {
			d.errorf(m.keys[name], nameRule, "%q is no name for a profile", name)
			continue
		}
		if p := d.open(m.vals[name], "profile "+name); p != nil {
			c.op.Plan.Profiles[name] = c.profile(p, name)
		}
	}
	if c.op.CRD != nil { // else the resource's own table is unknown, and that is one finding already
		c.complete()
		for _, check := range c.later {
			check()
		}
		c.op.sort()
	}
}

// profile compiles one profile. Of the default profile's settings only def is inherited.
func (c *compiler) profile(m *mapping, name string) *plan.Profile {
	m.allow(profileKeys, profileSoon)
	if name == plan.DefaultProfile {
		m.need("def", "name the file of the CustomResourceDefinition, e.g. def: crd.yaml")
	}
	if file, ok := m.str("def"); ok {
		c.definition(m, file)
	}
	engine := render.Pongo2
	if m.vals["engine"] != nil {
		if e, ok := m.oneOf("engine", engines, enginesSoon); ok {
			engine = e
		}
	}
	p := &plan.Profile{Name: name}
	p.Deploy = c.commands(m, "deploy", engine, false)
	p.Rules = c.rules(m, engine)
	if m.has("undeploy") {
		p.Undeploy = c.commands(m, "undeploy", engine, false)
	} else {
		p.Undeploy = undo(p.Deploy)
	}
	return p
}

// definition reads a profile's CRD.
func (c *compiler) definition(m *mapping, file string) {
	at := m.vals["def"]
	file, ok := c.file(m.document, at, file)
	if !ok {
		return
	}
	d := parse(c.path(file), c.op.Files[file], &c.found)
	if d == nil {
		return
	}
	crd, resource, ok := d.definition()
	switch {
	case !ok:
	case c.op.CRD == nil:
		c.op.CRD, c.op.Plan.Resource = crd, resource
		c.op.served = Finding{File: m.file, Line: at.Line, Column: at.Column}
		// With the status that Mainstay adds. An author who describes nothing leaves everything open.
		if schemaOf(crd, resource.Version)["properties"] != nil {
			c.schema = schemaOf(c.op.InstallableCRD(), resource.Version)
		}
	case resource != c.op.Plan.Resource:
		m.errorf(at, "all profiles of an operator serve one kind of resource", "%s defines %s, but the default profile's is %s",
			file, resource.CRD(), c.op.Plan.Resource.CRD())
	case !reflect.DeepEqual(crd, c.op.CRD):
		m.errorf(at, `leave "def" out: the profile then has the default profile's`, "%s defines %s differently from the default profile", file, resource.CRD())
	}
}

// undo is what undoes a deploy list: its commands in reverse order. A patch and what SQL wrote are not undone, because
// nobody knows what was there before, and what they changed mostly goes away with the rest.
func undo(deploy []plan.Command) []plan.Command {
	var out []plan.Command
	for _, cmd := range slices.Backward(deploy) {
		switch {
		case cmd.Helm != nil && !cmd.Helm.Absent:
			// Not the values: an uninstallation reads none, and they might not render any more.
			cmd.Helm = &plan.Helm{
				Chart: cmd.Helm.Chart, Release: cmd.Helm.Release, Namespace: cmd.Helm.Namespace,
				Absent: true, Undoes: cmd.Name,
			}
		case cmd.Apply != nil:
			apply := *cmd.Apply
			apply.Absent, apply.Undoes, apply.Conflicts = true, cmd.Name, ""
			cmd.Apply = &apply
		default:
			continue
		}
		out = append(out, cmd)
	}
	return out
}

// commands compiles the command list under key; object tells that there is one that they react to.
func (c *compiler) commands(m *mapping, key, engine string, object bool) []plan.Command {
	var out []plan.Command
	var named []naming
	for _, n := range m.list(key) {
		if cmd, name := c.command(m.document, n, engine, object); cmd != nil {
			out, named = append(out, *cmd), append(named, name)
		}
	}
	for i, name := range c.names(m.document, key, named) {
		out[i].Name = name
	}
	return out
}
