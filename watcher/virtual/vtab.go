package virtual

import (
	"fmt"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

// columnNames are the columns of the tables of kinds and of resources.
var columnNames = [...]string{
	"api_version", "kind", "namespace", "name", "uid", "resource_version", "created_at", "deleted_at", "instance", "ready",
	"labels", "annotations", "owners", "spec", "status", "data", "object",
}

// The places of the columns. Behind them, hidden, stand the key and those for fields.
const (
	columnAPIVersion = iota
	columnKind
	columnNamespace
	columnName
	columnUID
	columnVersion
	columnCreated
	columnDeleted
	columnInstance
	columnReady
	columnLabels
	columnAnnotations
	columnOwners
	columnSpec
	columnStatus
	columnData
	columnObject
	columnKey
	columnField // the first of them
)

// schema declares the columns. Those of JSON have no type and fields BLOB, so that comparisons convert as little as
// possible. SQLite writes only to tables whose key is one column.
func schema() string {
	var b strings.Builder
	b.WriteString("CREATE TABLE x(")
	for i, name := range columnNames {
		b.WriteString(name)
		switch {
		case i == columnReady:
			b.WriteString(" INTEGER")
		case i < columnLabels:
			b.WriteString(" TEXT")
		}
		b.WriteString(", ")
	}
	b.WriteString(`"(key)" TEXT HIDDEN`)
	for i := range maxFields {
		fmt.Fprintf(&b, `, "%s" BLOB HIDDEN`, fieldColumn(i))
	}
	b.WriteString(`, PRIMARY KEY("(key)")) WITHOUT ROWID`)
	return b.String()
}

// table is a virtual table: that of a kind, or resources, which has all of them.
type table struct {
	conn     *conn
	name     string // that statements use
	resource Resource
	all      bool
	kind     kindRows // of the resource, once the store knows it

	access  []access
	cursors []*rowCursor // for reuse
}

// register makes a table of a name that a statement uses. Possible errors: *SQLError, *NotSyncedError.
func (c *conn) register(name string) error {
	name = strings.ToLower(name)
	if _, ok := c.tables[name]; ok {
		return &SQLError{Message: "no such table: " + name, Offset: -1, Hint: "write the table's name alone"}
	}
	if name == tableEvents {
		return c.registerEvents()
	}
	t := &table{conn: c, name: name, all: name == tableResources}
	if !t.all {
		var err error
		if t.resource, err = c.resolve(name); err != nil {
			return err
		}
	}
	connect := func(db *sqlite3.Conn, _, _, _ string, _ ...string) (*table, error) {
		if err := db.VTabConfig(sqlite3.VTAB_INNOCUOUS); err != nil {
			return nil, err
		}
		return t, c.declare(schema())
	}
	//lint:ignore SA1019 what replaces it needs Go 1.27
	if err := sqlite3.CreateModule[*table](c.db, name, nil, connect); err != nil {
		return fmt.Errorf("register table %s: %w", name, err)
	}
	c.tables[name] = t
	return nil
}

// declare says which columns a table has. SQLite asks the authorizer about that too.
func (c *conn) declare(schema string) error {
	c.auth.declaring = true
	defer func() { c.auth.declaring = false }()
	return c.db.DeclareVTab(schema)
}

// term is a condition that the table itself checks: that a column equals a value.
type term struct {
	column int
	match  bool // labels MATCH
}

// access is a set of terms, the values of which SQLite hands over in their order.
type access struct {
	terms [8]term
	n     int
}

func (a access) find(column int) bool {
	for _, t := range a.terms[:a.n] {
		if t.column == column && !t.match {
			return true
		}
	}
	return false
}

// BestIndex takes every condition that it can, and says what a walk costs then.
func (t *table) BestIndex(info *sqlite3.IndexInfo) error {
	var a access
	label, match := false, false // a label that the store has an index of
	for i, c := range info.Constraint {
		if !c.Usable || a.n == len(a.terms) {
			continue
		}
		term := term{column: c.Column}
		switch {
		case c.Op == sqlite3.INDEX_CONSTRAINT_MATCH && c.Column == columnLabels:
			term.match = true
			t.conn.sawMatch(info, i)
		case c.Op == sqlite3.INDEX_CONSTRAINT_EQ && indexable(c.Column, t.all) && !a.find(c.Column) && info.Collation(i) == "BINARY":
			if c.Column >= columnField {
				t.conn.sawField(c.Column - columnField)
			}
		default:
			continue
		}
		label, match = label || t.conn.isIndexed(c.Column), match || term.match
		a.terms[a.n] = term
		a.n++
		info.ConstraintUsage[i] = sqlite3.IndexConstraintUsage{ArgvIndex: a.n, Omit: true}
	}
	info.IdxNum = t.number(a)
	namespace := a.find(columnNamespace) || !t.all && !t.resource.Namespaced
	one := false
	switch {
	case namespace && a.find(columnName) && !t.all:
		one, info.EstimatedCost, info.EstimatedRows = true, 3, 1
	case a.find(columnUID):
		one, info.EstimatedCost, info.EstimatedRows = true, 5, 1
	case label && namespace && !t.all:
		info.EstimatedCost, info.EstimatedRows = 40, 10
	case a.find(columnInstance):
		info.EstimatedCost, info.EstimatedRows = 200, 50
	case label:
		info.EstimatedCost, info.EstimatedRows = 400, 100
	case a.find(columnName):
		info.EstimatedCost, info.EstimatedRows = 10_000, 5
	case a.find(columnNamespace):
		info.EstimatedCost, info.EstimatedRows = 2_000, 500
	default:
		info.EstimatedCost, info.EstimatedRows = 40_000, 10_000
	}
	if t.all {
		info.EstimatedCost *= 10
	}
	if match {
		info.EstimatedRows = max(1, info.EstimatedRows/20)
	}
	if one {
		info.IdxFlags = sqlite3.INDEX_SCAN_UNIQUE
	}
	info.OrderByConsumed = len(info.OrderBy) > 0 && !t.all && t.ordered(info.OrderBy, a)
	return nil
}

// indexable tells whether the table checks equality with a column itself.
func indexable(column int, all bool) bool {
	switch column {
	case columnNamespace, columnName, columnUID, columnInstance:
		return true
	case columnAPIVersion, columnKind:
		return all
	}
	return column >= columnField
}

// isIndexed tells whether the store has an index of the label that a column is.
func (c *conn) isIndexed(column int) bool {
	return column >= columnField && column < columnField+c.indexed
}

// ordered tells whether rows, which come in the order of namespace and name, come in a wanted order.
func (t *table) ordered(want []sqlite3.IndexOrderBy, a access) bool {
	columns := []int{columnNamespace, columnName}
	if a.find(columnNamespace) || !t.resource.Namespaced {
		columns = columns[1:]
	}
	for _, w := range want {
		switch {
		case len(columns) == 0:
			// Namespace and name leave nothing to order.
			return true
		case w.Column == columns[0] && !w.Desc:
			columns = columns[1:]
		case w.Column == columnNamespace && len(columns) == 1:
			// There is only one.
		default:
			return false
		}
	}
	return true
}

// number is a small number for an access, which is handed to Filter.
func (t *table) number(a access) int {
	for i := range t.access {
		if t.access[i] == a {
			return i
		}
	}
	t.access = append(t.access, a)
	return len(t.access) - 1
}

// Open makes a cursor.
func (t *table) Open() (sqlite3.VTabCursor, error) {
	if n := len(t.cursors); n > 0 {
		r := t.cursors[n-1]
		t.cursors = t.cursors[:n-1]
		return r, nil
	}
	return &rowCursor{table: t}, nil
}

// rows are those of the table's kind.
func (t *table) rows() *kindRows {
	if t.kind.id == "" {
		id, _ := t.conn.store.known(t.resource.Kind)
		t.kind = kindRows{t.resource, id}
	}
	return &t.kind
}
