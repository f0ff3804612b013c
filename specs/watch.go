package specs

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	names "k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// watch compiles what a rule senses.
func (c *compiler) watch(m *mapping) plan.Watch {
	m.allow(watchKeys, nil)
	var w plan.Watch
	later := false
	if m.need("category", "e.g. category: "+string(plan.DidChange)) {
		w.Categories, later = c.categories(m)
	}
	switch {
	case slices.Contains(w.Categories, plan.QueryDidChange):
		c.liveQuery(m, &w)
	case slices.Contains(w.Categories, plan.TimerDidFire):
		c.timer(m, &w)
	default:
		if len(w.Categories) > 0 || later {
			m.foreign(objectKeys, "a rule that watches objects")
		}
		c.objects(m, &w)
	}
	return w
}

// objects compiles which objects a rule looks at, and what of them.
func (c *compiler) objects(m *mapping, w *plan.Watch) {
	w.Scope = plan.ScopeInstance
	if m.need("kind", "e.g. kind: Service") {
		if s, ok := m.str("kind"); ok {
			w.Kind = s
			if !kindName.MatchString(s) {
				m.errorf(m.vals["kind"], "kinds are written as in manifests, e.g. Service", "%q is no kind", s)
			}
		}
	}
	hint := "e.g. apiVersion: v1"
	if v := apiVersionOf[w.Kind]; v != "" {
		hint = "probably apiVersion: " + v
	}
	if m.need("apiVersion", hint) {
		if s, ok := m.str("apiVersion"); ok {
			w.APIVersion = s
			if !apiVersion.MatchString(s) {
				m.errorf(m.vals["apiVersion"], "e.g. v1 or apps/v1", "%q is no apiVersion", s)
			}
		}
	}
	kind := virtual.ParseKind(w.APIVersion, w.Kind)
	c.watched = append(c.watched, kind)
	if s, ok := m.oneOf("scope", scopes, nil); ok {
		w.Scope = plan.Scope(s)
		c.scope(m, w.Scope, kind)
	}
	if s, ok := m.plain("namespace"); ok {
		w.Namespace = s
		switch {
		case len(validation.IsDNS1123Label(s)) > 0:
			m.errorf(m.vals["namespace"], "up to 63 lower case letters, digits and -", "%q is no namespace", s)
		case w.Scope == plan.ScopeNamespace:
			m.errorf(m.keys["namespace"], "for another namespace than the resource's write scope: cluster beside it", "scope namespace is the resource's own namespace already")
		case c.clusterScoped(kind):
			m.errorf(m.keys["namespace"], "", "a %s is cluster-scoped and has no namespace", kind.Kind)
		}
	}
	if s, ok := m.plain("name"); ok {
		w.Name = s
		if wrong := names.IsPathSegmentName(s); len(wrong) > 0 {
			m.errorf(m.vals["name"], "", "%q is no object's name: it %s", s, wrong[0])
		}
	}
	if m.vals["selector"] != nil {
		w.Selector = c.selector(m)
	}
	if m.vals["fields"] != nil {
		w.Fields = c.fields(m, w.Categories, kind)
	}
	if m.vals["hold"] != nil {
		w.Hold = m.flag("hold")
		if w.Hold && len(w.Categories) > 0 && !slices.Contains(w.Categories, plan.WillDelete) {
			m.errorf(m.keys["hold"], "", `"hold" needs the category %s: it keeps an object until the action on its deletion is done`, plan.WillDelete)
		}
	}
}

func (c *compiler) scope(m *mapping, s plan.Scope, kind virtual.Kind) {
	if s != plan.ScopeNamespace {
		return
	}
	switch {
	case c.op.CRD != nil && !c.op.Plan.Resource.Namespaced:
		m.errorf(m.vals["scope"], "", "scope namespace: a %s is cluster-scoped and has no namespace", c.op.Plan.Resource.Kind)
	case c.clusterScoped(kind):
		m.errorf(m.vals["scope"], "write scope: cluster", "scope namespace: a %s is cluster-scoped and has no namespace", kind.Kind)
	}
}

// clusterScoped tells whether objects of a kind are known to have no namespace.
func (c *compiler) clusterScoped(kind virtual.Kind) bool {
	return slices.ContainsFunc(c.tables(), func(r virtual.Resource) bool {
		return r.Group == kind.Group && r.Kind.Kind == kind.Kind && !r.Namespaced
	})
}

// plain is the string under a key at which templates aren't rendered.
func (m *mapping) plain(key string) (string, bool) {
	s, ok := m.str(key)
	if ok && strings.Contains(s, "{{") {
		m.errorf(m.vals[key], "", "%q of %s: a template is not supported here", key, m.what)
		return "", false
	}
	return s, ok
}

// fields compiles the paths in which an object must differ.
func (c *compiler) fields(m *mapping, categories []plan.Category, kind virtual.Kind) []string {
	if len(categories) > 0 && !slices.Contains(categories, plan.DidChange) && !slices.Contains(categories, plan.DidUpdate) {
		m.errorf(m.keys["fields"], "", `"fields" need the category %s or %s: no other asks what differs`, plan.DidChange, plan.DidUpdate)
	}
	items := m.list("fields")
	if n := m.vals["fields"]; n.Kind == yaml.SequenceNode && len(items) == 0 {
		m.errorf(n, "leave it out to have all of them count", `"fields" of watch is an empty list`)
	}
	var out []string
	for _, item := range items {
		s, ok := m.text(item, `"fields" of watch`)
		if !ok {
			continue
		}
		p, err := virtual.ParsePath(s)
		switch {
		case err != nil:
			m.errorf(item, `e.g. spec.ports, or metadata.annotations["example.com/team"]`, `"fields" of watch: %v`, err)
		case slices.Contains(out, s):
			m.errorf(item, "", "the field %s is given twice", s)
		default:
			c.field(m.document, item, p, kind)
			out = append(out, s)
		}
	}
	return out
}

// field checks a path, as far as the kind's fields are known.
func (c *compiler) field(d *document, n *yaml.Node, p virtual.Path, kind virtual.Kind) {
	top, own := topLevel(kind), false
	if c.schema != nil && kind.Group == c.op.Plan.Resource.Group && kind.Kind == c.op.Plan.Resource.Kind {
		top, own = topOf(c.schema), true
	}
	switch {
	case len(p) > 1 && p[0] == "metadata" && slices.Contains([]string{"resourceVersion", "generation", "managedFields"}, p[1]):
		d.errorf(n, "", `"fields" of watch: %s never counts as a difference`, strings.Join(p, "."))
	case top != nil && !slices.Contains(top, p[0]):
		hint := didYouMean(p[0], top)
		if hint == "" {
			hint = "paths begin at the top of the object: " + strings.Join(top, ", ")
		}
		d.errorf(n, hint, `"fields" of watch: a %s has no field %q at its top`, kind.Kind, p[0])
	case own && p[0] != "metadata":
		if above, name, known := unknownField(c.schema, p); name != "" {
			d.errorf(n, didYouMean(name, known), `"fields" of watch: %s has no field %q by the schema of %s`, above, name, kind.Kind)
		}
	}
}
