package specs

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// maxMaxRows is the largest maxRows.
const maxMaxRows = 10_000

var paramName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// statement is one SQL statement of the description.
type statement struct {
	*document
	node *yaml.Node
	// offset is where the statement begins in the node's text.
	offset int
	what   string // for messages: `"sql" of decide`
	query  *plan.Query
	// params are the names that it may use; own are those of them that its command brings.
	params, own []string
	object      bool
	write       bool
}

// query compiles the one reading statement under a key; nil after a finding.
func (c *compiler) query(m *mapping, key, what string, object bool) *plan.Query {
	s, ok := m.str(key)
	if !ok {
		return nil
	}
	n := m.vals[key]
	parts := c.split(m.document, n, what)
	if len(parts) > 1 {
		m.within(n, parts[1].Offset, "write one", "%s holds %d statements", what, len(parts))
	}
	if len(parts) != 1 || c.template(m.document, n, s, what, nil) {
		return nil
	}
	q := &plan.Query{Text: parts[0].Text, At: spot(m.place(n, parts[0].Offset))}
	c.check(statement{
		document: m.document, node: n, offset: parts[0].Offset, what: what, query: q, params: params(object), object: object,
	})
	return q
}

// sql compiles the own keys of a sql command.
func (c *compiler) sql(m *mapping, object bool) *plan.SQL {
	s := &plan.SQL{MaxRows: plan.DefaultMaxRows}
	own := c.params(m, s)
	if n := m.vals["maxRows"]; n != nil {
		var rows int
		if n.Tag != "!!int" || n.Decode(&rows) != nil || rows < 1 || rows > maxMaxRows {
			m.errorf(n, fmt.Sprintf("a number from 1 to %d", maxMaxRows), `"maxRows" of %s: expected how many objects one statement may write at most, got %s`, m.what, kindOf(n))
		} else {
			s.MaxRows = rows
		}
	}
	if !m.need("statement", "") {
		return s
	}
	const what = `"statement" of command sql`
	items := []*yaml.Node{m.vals["statement"]}
	if items[0].Kind == yaml.SequenceNode {
		if items = items[0].Content; len(items) == 0 {
			m.errorf(m.vals["statement"], "", "%s is an empty list", what)
		}
	}
	var all []statement
	for _, n := range items {
		text, ok := m.text(n, what)
		if !ok {
			continue
		}
		parts := c.split(m.document, n, what)
		if c.template(m.document, n, text, what, own) {
			continue
		}
		for _, part := range parts {
			all = append(all, statement{
				document: m.document, node: n, offset: part.Offset, what: what, write: true, object: object,
				query:  &plan.Query{Text: part.Text, At: spot(m.place(n, part.Offset))},
				params: slices.Concat(own, params(object)), own: own,
			})
		}
	}
	s.Statements = make([]plan.Query, len(all))
	for i := range all {
		s.Statements[i] = *all[i].query
		all[i].query = &s.Statements[i]
	}
	c.check(all...)
	return s
}

// params reads a sql command's own parameters and returns their names.
func (c *compiler) params(m *mapping, s *plan.SQL) (own []string) {
	n := m.vals["params"]
	if n == nil {
		return nil
	}
	p := m.open(n, `"params" of `+m.what)
	if p == nil {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case !paramName.MatchString(key.Value):
			m.errorf(key, "letters, digits and _, no digit first", "%q is no name for a parameter", key.Value)
			continue
		case slices.Contains(plan.SQLParams, key.Value):
			m.errorf(key, "take another name", "the parameter %q is there already", key.Value)
			continue
		}
		own = append(own, key.Value)
		var v any
		if err := decodeNode(value, &v); err != nil {
			m.errorf(value, "", "the parameter %q: %v", key.Value, err)
			continue
		}
		if s.Params == nil {
			s.Params = map[string]any{}
		}
		s.Params[key.Value] = v
	}
	return own
}

// params are the names that every statement may use.
func params(object bool) []string {
	var out []string
	for _, name := range plan.SQLParams {
		if object || !ofObject(name) {
			out = append(out, name)
		}
	}
	return out
}

func ofObject(param string) bool { return param == "object" || strings.HasPrefix(param, "object_") }

// split is virtual.Split, and an empty text is a finding.
func (c *compiler) split(d *document, n *yaml.Node, what string) []virtual.Part {
	parts, err := virtual.Split(n.Value)
	var e *virtual.SQLError
	switch {
	case errors.As(err, &e):
		d.within(n, e.Offset, e.Hint, "%s: %s", what, e.Message)
	case err != nil:
		d.errorf(n, "", "%s: %v", what, err)
	case len(parts) == 0:
		d.errorf(n, "", "%s holds no statement", what)
	}
	return parts
}

// template reports a template in SQL: what it puts in could be more SQL than its author meant, and the statement
// couldn't be checked before it runs.
func (c *compiler) template(d *document, n *yaml.Node, text, what string, own []string) bool {
	at := strings.Index(text, "{{")
	if i := strings.Index(text, "{%"); at < 0 || i >= 0 && i < at {
		at = i
	}
	if at < 0 {
		return false
	}
	hint := `bind a parameter: :name, :namespace, or one of your own by params: {size: "{{ cr.spec.size }}"} and :size`
	switch {
	case own != nil:
		hint = "bind a parameter: :" + own[0]
	case !strings.Contains(what, "command"):
		hint = "bind a parameter: :name, :namespace, or a part of :cr, as in :cr->>'$.spec.size'"
	}
	d.within(n, at, hint, "%s: SQL is no template", what)
	return true
}

// check puts statements on the list of what is checked last. Those of one command belong together.
func (c *compiler) check(all ...statement) {
	c.later = append(c.later, func() {
		used, sound := map[string]bool{}, true
		for _, s := range all {
			sound = c.checkOne(s, used) && sound
		}
		if !sound || len(all) == 0 {
			return
		}
		for _, name := range all[0].own {
			if !used[name] {
				s := all[0]
				s.within(s.node, s.offset, "", "%s: no statement uses the parameter :%s", s.what, name)
			}
		}
	})
}

func (c *compiler) checkOne(s statement, used map[string]bool) bool {
	info, err := virtual.Check(s.query.Text, c.table, s.write)
	var e *virtual.SQLError
	switch {
	case errors.As(err, &e):
		s.within(s.node, s.offset+max(0, e.Offset), e.Hint, "%s: %s", s.what, e.Message)
		return false
	case err != nil:
		s.within(s.node, s.offset, "", "%s: %v", s.what, err)
		return false
	}
	s.query.Reads, s.query.Writes = slices.Sorted(slices.Values(info.Reads)), slices.Sorted(slices.Values(info.Writes))
	c.op.tables = append(append(c.op.tables, info.Reads...), info.Writes...)
	c.op.labels = append(c.op.labels, info.Labels...)
	sound := true
	for _, name := range info.Params {
		used[name] = true
		if slices.Contains(s.params, name) {
			continue
		}
		sound = false
		hint := didYouMean(name, s.params)
		switch {
		case ofObject(name) && slices.Contains(plan.SQLParams, name):
			hint = "only a rule that watches objects has it"
		case hint == "":
			hint = "there are :" + strings.Join(s.params, ", :")
		}
		s.within(s.node, s.offset+paramOffset(s.query.Text, name), hint, "%s: there is no parameter :%s", s.what, name)
	}
	return sound
}

// paramOffset is where a text first uses a parameter; 0 if that can't be told.
func paramOffset(text, name string) int {
	at := regexp.MustCompile(`[:@$]` + regexp.QuoteMeta(name) + `\b`).FindStringIndex(text)
	if at == nil {
		return 0
	}
	return at[0]
}
