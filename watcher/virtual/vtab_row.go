package virtual

import (
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// names reads namespace and name off the key.
func (r *rowCursor) names() (namespace, name string) {
	if !r.named {
		i := strings.LastIndexByte(r.at, 0)
		j := strings.LastIndexByte(r.at[:i], 0)
		r.namespace, r.name, r.named = r.at[j+1:i], r.at[i+1:], true
	}
	return r.namespace, r.name
}

// record is the row's, which an index doesn't have.
func (r *rowCursor) record() record {
	if r.value == "" {
		b := append(append(append(r.key[:0], spaceObject...), r.kind.id...), sep...)
		namespace, name := r.names()
		b = append(append(append(b, namespace...), sep...), name...)
		r.key = b
		r.value, _ = r.table.conn.store.object(r.table.conn.view, b)
	}
	return r.value
}

// meets tells whether the row meets the terms.
func (r *rowCursor) meets() bool {
	for i, t := range r.access.terms[:r.access.n] {
		v := &r.values[i]
		ok := true
		switch {
		case t.match:
			ok = v.match.Matches(labelSet(r.record().section(secLabels)))
		case t.column == columnNamespace:
			namespace, _ := r.names()
			ok = namespace == v.text
		case t.column == columnName:
			_, name := r.names()
			ok = name == v.text
		case t.column == columnUID:
			ok = r.record().uid() == v.text
		case t.column == columnInstance:
			ok = r.record().instance() == v.text
		case t.column >= columnField:
			if r.walk != nil && len(r.at) > 2 && r.at[:2] == spaceLabel {
				if first, _ := r.indexedLabel(); first == i {
					continue
				}
			}
			ok = v.equals(r.table.conn.fields[t.column-columnField].in(r.record()))
		}
		if !ok {
			return false
		}
	}
	return true
}

// tick is called for each row, because SQLite looks at the time only now and then: rows may be large.
func (c *conn) tick() error {
	c.ticks++
	if c.ticks%64 == 0 && !c.interrupt.at.IsZero() && time.Now().After(c.interrupt.at) {
		return sqlite3.INTERRUPT
	}
	return nil
}

// fail keeps an error that SQLite would only keep the text of.
func (c *conn) fail(err error) error {
	if c.failure == nil {
		c.failure = err
	}
	return sqlite3.ABORT
}

// outOfMemory turns the driver's panic into what makes SQLite clean up after itself.
func outOfMemory(err *error) {
	if p := recover(); p != nil {
		if e, ok := p.(error); ok && e.Error() == "sqlite3: out of memory" {
			*err = sqlite3.NOMEM
			return
		}
		panic(p)
	}
}
