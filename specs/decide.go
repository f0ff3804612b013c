package specs

import (
	"errors"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/mainstay-dev/mainstay/specs/expr"
	"github.com/mainstay-dev/mainstay/specs/plan"
)

// decide compiles a rule's decision. Object tells that the rule reacts to one, query that it watches a live query.
func (c *compiler) decide(m *mapping, object, query bool) *plan.Decide {
	m.allow(decideKeys, nil)
	if !m.has("sql") && !m.has("when") {
		m.errorf(m.node, "", `%s needs the key "sql" or "when"`, m.what)
	}
	d := &plan.Decide{}
	if m.vals["sql"] != nil {
		d.SQL = c.query(m, "sql", `"sql" of decide`, object)
	}
	if s, ok := m.str("when"); ok {
		n := m.vals["when"]
		d.When, d.WhenAt = strings.TrimRight(s, " \t\r\n"), spot(m.place(n, 0))
		rows := query || m.vals["sql"] != nil
		c.later = append(c.later, func() {
			c.condition(m.document, n, `"when" of decide`, expr.Scope{Schema: c.schema, Object: object, Rows: rows})
		})
	}
	return d
}

// condition checks a CEL condition.
func (c *compiler) condition(d *document, n *yaml.Node, what string, scope expr.Scope) {
	_, err := expr.Compile(n.Value, scope)
	var all expr.Errors
	switch {
	case err == nil:
	case errors.As(err, &all):
		for _, e := range all {
			d.within(n, offsetOf(n.Value, e.Line, e.Column), e.Hint, "%s: %s", what, e.Message)
		}
	default:
		d.errorf(n, "", "%s: %v", what, err)
	}
}
