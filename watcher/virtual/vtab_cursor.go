package virtual

import (
	"strings"

	"github.com/ncruces/go-sqlite3"
	"k8s.io/apimachinery/pkg/labels"
)

// rowCursor walks over the rows of a table that meet its terms. Texts of terms are in a buffer that is reused, so that
// the inner side of a join allocates nothing.
type rowCursor struct {
	table  *table
	access *access
	values [8]termValue
	texts  []byte
	key    []byte

	kinds []kindRows // still to walk, after the present one
	kind  *kindRows
	walk  *cursor // nil: one row
	done  bool

	// The row. Of an index only the key is known until more is asked for.
	at              string // its key; the last parts count
	value           record
	fresh           bool   // the single row, before it was looked at
	namespace, name string // once they are asked for
	named           bool
}

// kindRows are the rows of one kind.
type kindRows struct {
	Resource
	id string
}

// termValue is what a term's column must equal.
type termValue struct {
	text    string
	kind    sqlite3.Datatype
	integer int64
	float   float64
	match   labels.Selector
}

// Filter begins a walk.
func (r *rowCursor) Filter(number int, _ string, args ...sqlite3.Value) (err error) {
	defer outOfMemory(&err)
	c := r.table.conn
	r.access = &r.table.access[number]
	r.texts, r.walk, r.kinds, r.done = r.texts[:0], nil, nil, false
	size := 0
	for i, arg := range args {
		v := &r.values[i]
		*v = termValue{kind: arg.Type()}
		switch t := r.access.terms[i]; {
		case t.match:
			if v.match, err = c.selector(arg); err != nil {
				return c.fail(err)
			}
		case v.kind == sqlite3.NULL || v.kind == sqlite3.BLOB:
			// Equals no text.
			r.done = true
			return nil
		case t.column >= columnField && v.kind == sqlite3.INTEGER:
			v.integer = arg.Int64()
		case t.column >= columnField && v.kind == sqlite3.FLOAT:
			v.float = arg.Float()
		default:
			// The columns are TEXT, for which SQL compares a number as text.
			v.kind = sqlite3.TEXT
			size += len(arg.RawText())
		}
	}
	if cap(r.texts) < size {
		r.texts = make([]byte, 0, 2*size)
	}
	for i, arg := range args {
		if r.access.terms[i].match || r.values[i].kind != sqlite3.TEXT {
			continue
		}
		from := len(r.texts)
		r.texts = append(r.texts, arg.RawText()...)
		text := view(r.texts[from:])
		if strings.Contains(text, sep) || text == "" && r.access.terms[i].column < columnField {
			// No name is empty: where there is none, the column is NULL.
			r.done = true
			return nil
		}
		r.values[i].text = text
	}
	if err := c.tick(); err != nil {
		return err
	}
	if r.table.all {
		return r.filterAll()
	}
	r.kind = r.table.rows()
	r.enter()
	return r.advance()
}

// filterAll begins a walk over all kinds that are known completely.
func (r *rowCursor) filterAll() error {
	c := r.table.conn
	uid, byUID := r.text(columnUID)
	for _, resource := range c.store.sql.served() {
		id, known := c.store.known(resource.Kind)
		if !known || !c.store.Watches(resource.Kind) {
			continue
		}
		if v, ok := r.text(columnKind); ok && v != resource.Kind.Kind {
			continue
		}
		if v, ok := r.text(columnAPIVersion); ok && v != resource.APIVersion() {
			continue
		}
		if byUID {
			if at, ok := c.store.current.uid(uid); !ok || !strings.HasPrefix(at, id+sep) {
				continue
			}
		}
		r.kinds = append(r.kinds, kindRows{resource, id})
	}
	r.fresh = false
	return r.advance()
}

// text is the value of a term on a column.
func (r *rowCursor) text(column int) (string, bool) {
	for i, t := range r.access.terms[:r.access.n] {
		if t.column == column && !t.match {
			return r.values[i].text, true
		}
	}
	return "", false
}

// enter goes before the rows of the present kind, by the shortest way that the terms allow.
func (r *rowCursor) enter() {
	r.walk, r.fresh = nil, false
	id := r.kind.id
	if id == "" {
		return
	}
	v := r.table.conn.view
	namespace, inNamespace := r.text(columnNamespace)
	if inNamespace != r.kind.Namespaced && inNamespace {
		// The column is NULL.
		return
	}
	if name, ok := r.text(columnName); ok && inNamespace == r.kind.Namespaced {
		r.one(append(append(append(append(append(append(r.key[:0], spaceObject...), id...), sep...), namespace...), sep...), name...))
		return
	}
	if uid, ok := r.text(columnUID); ok {
		at, ok := r.table.conn.store.current.uid(uid)
		if ok && len(at) > len(id) && at[len(id)] == 0 && at[:len(id)] == id {
			r.one(append(append(r.key[:0], spaceObject...), at...))
		}
		return
	}
	b := r.key[:0]
	if i, ok := r.indexedLabel(); ok {
		b = append(append(append(append(b, spaceLabel...), id...), sep...), r.table.conn.fields[r.access.terms[i].column-columnField].path...)
		b = append(append(append(b, sep...), r.values[i].text...), sep...)
	} else if instance, ok := r.text(columnInstance); ok {
		b = append(append(append(append(append(b, spaceInstance...), instance...), sep...), id...), sep...)
	} else {
		b = append(append(append(b, spaceObject...), id...), sep...)
	}
	if inNamespace {
		b = append(append(b, namespace...), sep...)
	}
	r.key = b
	r.walk = v.seek(string(b))
}

// indexedLabel is the first term that an index of labels serves.
func (r *rowCursor) indexedLabel() (int, bool) {
	for i, t := range r.access.terms[:r.access.n] {
		if r.table.conn.isIndexed(t.column) && r.values[i].kind == sqlite3.TEXT {
			return i, true
		}
	}
	return 0, false
}

// one goes before a single row.
func (r *rowCursor) one(key []byte) {
	r.key = key
	if value, ok := r.table.conn.store.object(r.table.conn.view, key); ok {
		r.at, r.value, r.fresh, r.named = view(key), value, true, false
	}
}

// Next goes to the next row.
func (r *rowCursor) Next() (err error) {
	defer outOfMemory(&err)
	if err := r.table.conn.tick(); err != nil {
		return err
	}
	return r.advance()
}

func (r *rowCursor) advance() error {
	for !r.done {
		switch {
		case r.fresh:
			r.fresh = false
			if r.meets() {
				return nil
			}
		case r.walk != nil && r.walk.next():
			r.at, r.value, r.named = r.walk.key, record(r.walk.value), false
			if r.meets() {
				return nil
			}
			if err := r.table.conn.tick(); err != nil {
				return err
			}
		case len(r.kinds) > 0:
			r.kind, r.kinds = &r.kinds[0], r.kinds[1:]
			r.enter()
		default:
			r.done = true
		}
	}
	return nil
}

// EOF tells whether the walk is over.
func (r *rowCursor) EOF() bool { return r.done }

// RowID isn't asked for: the table has none.
func (r *rowCursor) RowID() (int64, error) { return 0, sqlite3.MISUSE }

// Close keeps the cursor for the next statement, but nothing of what it has seen.
func (r *rowCursor) Close() error {
	*r = rowCursor{table: r.table, texts: r.texts[:0], key: r.key[:0]}
	if cap(r.texts) > 4096 {
		r.texts = nil
	}
	r.table.cursors = append(r.table.cursors, r)
	return nil
}
