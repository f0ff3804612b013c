package specs

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	"go.yaml.in/yaml/v3"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// minEvery is the shortest period of a timer.
const minEvery = time.Second

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
	m.allow(ruleKeys, nil)
	r := plan.Rule{At: spot(m.node.Line, m.node.Column)}
	if m.need("watch", "") {
		if w := m.open(m.vals["watch"], "watch"); w != nil {
			r.Watch = c.watch(w)
		}
	}
	query, timer := slices.Contains(r.Watch.Categories, plan.QueryDidChange), slices.Contains(r.Watch.Categories, plan.TimerDidFire)
	object := !query && !timer
	if n := m.vals["decide"]; n != nil {
		if d := m.open(n, `"decide"`); d != nil {
			r.Decide = c.decide(d, object, query)
		}
	}
	if m.need("action", "") {
		r.Action = c.commands(m, "action", engine, object)
		if list := m.vals["action"]; list.Kind == yaml.SequenceNode && len(list.Content) == 0 {
			m.errorf(list, "", "the action of a rule is empty")
		}
	}
	var debounce time.Duration
	if m.duration("debounce", &debounce) {
		r.Debounce = plan.Duration(debounce)
	}
	if timer && m.vals["debounce"] != nil {
		m.errorf(m.keys["debounce"], "", `"debounce" means nothing to a timer`)
	}
	subject := r.Watch.Kind
	switch {
	case query:
		subject = "query"
	case timer:
		subject = "timer"
	}
	name := naming{given: m.vals["name"], by: kebab(subject)}
	if len(r.Action) > 0 {
		name.by = kebab(subject + "-" + r.Action[0].Name)
	}
	if name.given != nil {
		if _, ok := m.str("name"); !ok {
			name.given = nil
		}
	}
	return r, name
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
		category := plan.Category(s)
		alone := func(c plan.Category) bool { return c == plan.QueryDidChange || c == plan.TimerDidFire }
		switch {
		case slices.Contains(out, category):
			m.errorf(item, "", "the category %s is given twice", s)
			continue
		case alone(category) && len(out) > 0:
			m.errorf(item, "give it a rule of its own", "the category %s stands alone in its rule", s)
			continue
		case len(out) > 0 && alone(out[0]):
			m.errorf(item, "give it a rule of its own", "the category %s stands alone in its rule", out[0])
			continue
		}
		out = append(out, category)
	}
	return out, later
}

// liveQuery compiles what QueryDidChange watches.
func (c *compiler) liveQuery(m *mapping, w *plan.Watch) {
	m.foreign(queryKeys, "a live query")
	if m.need("sql", "e.g. sql: SELECT name FROM pods WHERE namespace = :namespace") {
		w.SQL = c.query(m, "sql", `"sql" of watch`, false)
	}
}

// timer compiles what TimerDidFire watches.
func (c *compiler) timer(m *mapping, w *plan.Watch) {
	m.foreign(timerKeys, "a timer")
	every, schedule := m.vals["every"], m.vals["cron"]
	switch {
	case every != nil && schedule != nil:
		second := m.keys["every"]
		if schedule.Line > every.Line || schedule.Line == every.Line && schedule.Column > every.Column {
			second = m.keys["cron"]
		}
		m.errorf(second, "", `a timer takes "every" or "cron", not both`)
	case every == nil && schedule == nil:
		if !m.has("every") && !m.has("cron") {
			m.errorf(m.node, `e.g. every: 5m, or cron: "0 3 * * *"`, `a timer needs the key "every" or "cron"`)
		}
	case every != nil:
		var d time.Duration
		if m.duration("every", &d) && d < minEvery {
			m.errorf(every, "", `"every" of watch: %s is too often; the least is %s`, d, minEvery)
		}
		w.Every = plan.Duration(d)
	default:
		if s, ok := m.str("cron"); ok {
			m.cron(schedule, s)
			w.Cron = s
		}
	}
}

// cron checks a schedule.
func (m *mapping) cron(n *yaml.Node, s string) {
	const form = `five fields, as in "0 3 * * 1-5" (minute, hour, day, month, weekday), or @hourly, @daily, @weekly, @monthly, @yearly`
	if rest, ok := strings.CutPrefix(strings.TrimSpace(s), "@every"); ok {
		m.errorf(n, "write every:"+rest, `"cron" of watch: @every is no schedule`)
		return
	}
	schedule, err := cron.ParseStandard(s)
	switch {
	case err != nil:
		m.errorf(n, form, `"cron" of watch: %q is no schedule: %v`, s, err)
	case schedule.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero(): // any time will do
		m.errorf(n, "correct the day and the month", `"cron" of watch: %q never fires`, s)
	}
}

// foreign reports known keys that mean nothing to what is watched.
func (m *mapping) foreign(own []string, what string) {
	for i := 0; i < len(m.node.Content); i += 2 {
		key := m.node.Content[i]
		if !slices.Contains(watchKeys, key.Value) || slices.Contains(own, key.Value) {
			continue
		}
		hint := ""
		switch {
		case slices.Contains(queryKeys, key.Value):
			hint = fmt.Sprintf("it belongs to category: %s", plan.QueryDidChange)
		case slices.Contains(timerKeys, key.Value):
			hint = fmt.Sprintf("it belongs to category: %s", plan.TimerDidFire)
		}
		m.errorf(key, hint, "key %q of watch means nothing to %s", key.Value, what)
	}
}
