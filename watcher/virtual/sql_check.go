package virtual

import (
	"slices"

	"github.com/ncruces/go-sqlite3"
)

// Info is what a statement does, found without running it.
type Info struct {
	Reads, Writes []string // full names of tables
	Params        []string // names, without the colon
	Columns       []string // of the result
	Labels        []string // keys compared by equality, as in labels->>'app' = 'web': worth an index
}

// seen collects the labels that tables are asked for.
type seen struct{ labels []string }

// Check prepares a statement. Resolve maps a table's name, as written, to a resource, as FindResource does; write says
// whether INSERT, UPDATE and DELETE are allowed. Possible errors: *SQLError, and those of resolve.
func Check(text string, resolve func(table string) (Resource, error), write bool) (_ Info, err error) {
	c := &conn{resolve: resolve, seen: &seen{}}
	if err := c.open(pooledMemory); err != nil {
		return Info{}, err
	}
	defer c.close()
	defer c.recovered(&err, pooledMemory)
	st, err := c.prepare(text, write)
	if err != nil {
		return Info{}, err
	}
	slices.Sort(c.seen.labels)
	return Info{
		Reads: st.reads, Writes: st.writes, Columns: st.columns, Params: unique(st.params),
		Labels: slices.Compact(c.seen.labels),
	}, nil
}

// unique are the names without repetition, in their order; :name and @name are one.
func unique(names []string) []string {
	var out []string
	for _, n := range names {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// sawField notes that a table was asked for a label.
func (c *conn) sawField(i int) {
	if c.seen != nil && i < len(c.fields) {
		if label, ok := c.fields[i].label(); ok {
			c.seen.labels = append(c.seen.labels, label)
		}
	}
}

// sawMatch notes the labels of a selector, if that stands in the text.
func (c *conn) sawMatch(info *sqlite3.IndexInfo, constraint int) {
	if c.seen == nil {
		return
	}
	v, err := info.RHSValue(constraint)
	if err != nil {
		return
	}
	selector, err := c.selector(v)
	if err != nil {
		return
	}
	requirements, _ := selector.Requirements()
	for _, r := range requirements {
		if _, exact := selector.RequiresExactMatch(r.Key()); exact {
			c.seen.labels = append(c.seen.labels, r.Key())
		}
	}
}
