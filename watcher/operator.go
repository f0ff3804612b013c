package watcher

import (
	"fmt"
	"regexp"
	"slices"

	"golang.org/x/time/rate"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/specs/sense"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// operator is an operator whose rules are prepared.
type operator struct {
	*plan.Operator
	kind     virtual.Kind
	profiles map[string]*profile
}

// profile is a profile whose rules are prepared.
type profile struct {
	*plan.Profile
	// rules stand where they stand in the plan: a target names its rule by that.
	rules []*sense.Rule
	// live are the queries among them.
	live []*live
	// kinds and tables are what has to be seen completely before the rules' objects can be listed.
	kinds  []virtual.Kind
	tables []string
}

// silent tells that there is nothing the watcher could ever tell: no rule, or timers only.
func (p *profile) silent() bool { return len(p.kinds) == 0 && len(p.live) == 0 }

// ruleRef is a rule that watches objects, and where it stands.
type ruleRef struct {
	op      *operator
	profile *profile
	rule    *sense.Rule
	index   int32
}

// usesResource finds whether a statement depends on the custom resource's own content.
var usesResource = regexp.MustCompile(`[:@$]cr\b`)

func newOperator(op *plan.Operator) (*operator, error) {
	out := &operator{
		Operator: op,
		kind:     virtual.Kind{Group: op.Resource.Group, Version: op.Resource.Version, Kind: op.Resource.Kind},
		profiles: map[string]*profile{},
	}
	for name, p := range op.Profiles {
		rules, err := sense.Of(p)
		if err != nil {
			return nil, fmt.Errorf("operator %q, profile %q: %w", op.Name, name, err)
		}
		out.profiles[name] = &profile{Profile: p, rules: rules}
		out.profiles[name].prepare(out)
	}
	return out, nil
}

func (p *profile) prepare(op *operator) {
	for i, rule := range p.rules {
		switch sql := rule.Watch.SQL; {
		case sql != nil:
			p.live = append(p.live, &live{
				op: op, profile: p, rule: rule, index: int32(i), slot: len(p.live),
				usesResource: usesResource.MatchString(sql.Text),
				complaints:   rate.Sometimes{First: 1, Interval: complaintsAgain},
			})
			for _, table := range sql.Reads {
				if !slices.Contains(p.tables, table) {
					p.tables = append(p.tables, table)
				}
			}
		case rule.Kind != (virtual.Kind{}) && !slices.Contains(p.kinds, rule.Kind):
			p.kinds = append(p.kinds, rule.Kind)
		}
	}
}

// tables are the full names of all tables that an operator's statements read or write.
func tables(op *plan.Operator) []string {
	var out []string
	add := func(q *plan.Query) {
		if q != nil {
			out = append(append(out, q.Reads...), q.Writes...)
		}
	}
	commands := func(list []plan.Command) {
		for _, c := range list {
			if c.SQL != nil {
				for i := range c.SQL.Statements {
					add(&c.SQL.Statements[i])
				}
			}
		}
	}
	for _, p := range op.Profiles {
		commands(p.Deploy)
		commands(p.Undeploy)
		for _, r := range p.Rules {
			add(r.Watch.SQL)
			if r.Decide != nil {
				add(r.Decide.SQL)
			}
			commands(r.Action)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
