package specs

import (
	"reflect"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/specs/render"
)

// compiler turns a folder into an operator. What is wrong goes into the folder's findings.
type compiler struct {
	*folder
	op *Operator
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
	p.Deploy = c.commands(m, "deploy", engine)
	p.Rules = c.rules(m, engine)
	if m.has("undeploy") {
		p.Undeploy = c.commands(m, "undeploy", engine)
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
	case resource != c.op.Plan.Resource:
		m.errorf(at, "all profiles of an operator serve one kind of resource", "%s defines %s, but the default profile's is %s",
			file, resource.CRD(), c.op.Plan.Resource.CRD())
	case !reflect.DeepEqual(crd, c.op.CRD):
		m.errorf(at, `leave "def" out: the profile then has the default profile's`, "%s defines %s differently from the default profile", file, resource.CRD())
	}
}

// undo is what undoes a deploy list: its commands in reverse order. A patch is not undone, because nobody knows what
// was there before, and what it patched mostly goes away with the rest.
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

// commands compiles the command list under key.
func (c *compiler) commands(m *mapping, key, engine string) []plan.Command {
	var out []plan.Command
	var named []naming
	for _, n := range m.list(key) {
		if cmd, name := c.command(m.document, n, engine); cmd != nil {
			out, named = append(out, *cmd), append(named, name)
		}
	}
	for i, name := range c.names(m.document, key, named) {
		out[i].Name = name
	}
	return out
}

// rules compiles the list "maintain".
func (c *compiler) rules(m *mapping, engine string) []plan.Rule {
	var out []plan.Rule
	var named []naming
	for _, n := range m.list("maintain") {
		if r := m.open(n, "a rule"); r != nil {
			rule, name := c.rule(r, engine)
			out, named = append(out, rule), append(named, name)
		}
	}
	for i, name := range c.names(m.document, "maintain", named) {
		out[i].Name = name
	}
	return out
}

func (c *compiler) rule(m *mapping, engine string) (plan.Rule, naming) {
	m.what = "a rule"
	m.allow(ruleKeys, ruleSoon)
	var r plan.Rule
	if m.need("watch", "") {
		if w := m.open(m.vals["watch"], "watch"); w != nil {
			r.Watch = c.watch(w)
		}
	}
	if m.need("action", "") {
		r.Action = c.commands(m, "action", engine)
		if list := m.vals["action"]; list.Kind == yaml.SequenceNode && len(list.Content) == 0 {
			m.errorf(list, "", "the action of a rule is empty")
		}
	}
	name := naming{given: m.vals["name"], by: kebab(r.Watch.Kind)}
	if len(r.Action) > 0 {
		name.by = kebab(r.Watch.Kind + "-" + r.Action[0].Name)
	}
	if name.given != nil {
		if _, ok := m.str("name"); !ok {
			name.given = nil
		}
	}
	return r, name
}

// watch compiles what a rule senses.
func (c *compiler) watch(m *mapping) plan.Watch {
	m.allow(watchKeys, watchSoon)
	w := plan.Watch{Scope: plan.ScopeInstance}
	// What QueryDidChange and TimerDidFire watch has no kind; whoever writes one of them needs one finding only.
	later := false
	if m.need("category", "e.g. category: "+string(plan.DidChange)) {
		w.Categories, later = c.categories(m)
	}
	if s, ok := m.str("kind"); ok {
		w.Kind = s
		if !kindName.MatchString(s) {
			m.errorf(m.vals["kind"], "kinds are written as in manifests, e.g. Service", "%q is no kind", s)
		}
	} else if !later {
		m.need("kind", "e.g. kind: Service")
	}
	if s, ok := m.str("apiVersion"); ok {
		w.APIVersion = s
		if !apiVersion.MatchString(s) {
			m.errorf(m.vals["apiVersion"], "e.g. v1 or apps/v1", "%q is no apiVersion", s)
		}
	} else if !later {
		hint := "e.g. apiVersion: v1"
		if v := apiVersionOf[w.Kind]; v != "" {
			hint = "probably apiVersion: " + v
		}
		m.need("apiVersion", hint)
	}
	if m.vals["scope"] != nil {
		if s, ok := m.oneOf("scope", scopes, scopesSoon); ok {
			w.Scope = plan.Scope(s)
		}
		if w.Scope == plan.ScopeNamespace && c.op.CRD != nil && !c.op.Plan.Resource.Namespaced {
			m.errorf(m.vals["scope"], "", "scope namespace: a %s is cluster-scoped and has no namespace", c.op.Plan.Resource.Kind)
		}
	}
	return w
}

// categories reads one category or a list of them; later tells that one is yet to be built.
func (c *compiler) categories(m *mapping) (out []plan.Category, later bool) {
	n := m.vals["category"]
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
		if len(items) == 0 {
			m.errorf(n, "", `"category" of watch is an empty list`)
		}
	}
	for _, item := range items {
		s, ok := m.text(item, `"category" of watch`)
		if !ok {
			continue
		}
		later = later || slices.Contains(categoriesSoon, s)
		if !m.among(item, `"category" of watch`, categories, categoriesSoon) {
			continue
		}
		if slices.Contains(out, plan.Category(s)) {
			m.errorf(item, "", "the category %s is given twice", s)
			continue
		}
		out = append(out, plan.Category(s))
	}
	return out, later
}
