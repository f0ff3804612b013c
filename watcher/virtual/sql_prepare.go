package virtual

import (
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

// maxStatements is how many prepared statements a connection keeps.
const maxStatements = 100

type statementKey struct {
	text  string
	write bool
}

// statement is a prepared one and what was learned on the way.
type statement struct {
	stmt          *sqlite3.Stmt
	columns       []string
	reads, writes []string // full names of tables
	tables        []*table // of both
	params        []string
	values        []any // for one row
	used          uint64
}

// prepare returns the one statement of a text. Possible errors: *SQLError, *NotSyncedError.
func (c *conn) prepare(text string, write bool) (*statement, error) {
	c.uses++
	key := statementKey{text, write}
	if st, ok := c.statements[key]; ok {
		st.used = c.uses
		return st, nil
	}
	parts, err := Split(text)
	switch {
	case err != nil:
		return nil, err
	case len(parts) == 0:
		return nil, &SQLError{Message: "there is no statement", Offset: -1}
	case len(parts) > 1:
		return nil, &SQLError{Message: "one statement is expected here, not several", Offset: parts[1].Offset}
	case len(text) > 256<<10:
		return nil, &SQLError{Message: "the statement is longer than 256 KiB", Offset: -1}
	}
	if err := allowed(parts[0], write); err != nil {
		return nil, err
	}
	st, reads, err := c.compile(text, write)
	if err != nil {
		return nil, err
	}
	// Where it means the same, hidden columns stand for expressions.
	if rewritten, ok := c.rewriteFields(text); ok {
		if better, same, err := c.compile(rewritten, write); err == nil {
			if slices.Equal(reads, same) {
				better.columns = st.columns
				st, better = better, st
			}
			_ = better.stmt.Close()
		}
	}
	if len(c.statements) >= maxStatements {
		c.forget()
	}
	st.used = c.uses
	c.statements[key] = st
	return st, nil
}

// forget drops the statement that was used longest ago.
func (c *conn) forget() {
	var oldest statementKey
	least := uint64(math.MaxUint64)
	for key, st := range c.statements {
		if st.used < least {
			oldest, least = key, st.used
		}
	}
	_ = c.statements[oldest].stmt.Close()
	delete(c.statements, oldest)
}

// compile prepares a text and registers the tables that it names. It returns besides which columns the text names, in
// order, a field's hidden column as that which it is a part of: two texts that mean the same have this in common.
func (c *conn) compile(text string, write bool) (*statement, []tableColumn, error) {
	var stmt *sqlite3.Stmt
	for {
		c.auth = authorizer{write: write}
		var err error
		stmt, _, err = c.db.PrepareFlags(text, sqlite3.PREPARE_PERSISTENT)
		if err == nil {
			break
		}
		if c.auth.denied != nil {
			return nil, nil, c.auth.denied
		}
		err = sqliteError(err, text)
		var e *SQLError
		if !errors.As(err, &e) {
			return nil, nil, err
		}
		name, ok := strings.CutPrefix(e.Message, "no such table: ")
		if !ok {
			return nil, nil, err
		}
		name = strings.TrimPrefix(strings.TrimPrefix(name, "main."), "temp.")
		if err := c.register(name); err != nil {
			if found, ok := err.(*SQLError); ok && found.Offset < 0 {
				found.Offset = tableOffset(text, name)
			}
			return nil, nil, err
		}
	}
	if stmt == nil {
		return nil, nil, &SQLError{Message: "there is no statement", Offset: -1}
	}
	st := &statement{stmt: stmt}
	for i := range stmt.ColumnCount() {
		st.columns = append(st.columns, stmt.ColumnName(i))
	}
	st.values = make([]any, len(st.columns))
	for i := range stmt.BindCount() {
		name := stmt.BindName(i + 1)
		if name == "" || name[0] == '?' {
			_ = stmt.Close()
			return nil, nil, &SQLError{Message: "parameters have names here: write :name, not ?", Offset: -1}
		}
		st.params = append(st.params, name[1:])
	}
	for _, name := range c.auth.tables {
		st.reads = append(st.reads, c.table(name, &st.tables))
	}
	slices.Sort(st.reads)
	st.reads = slices.Compact(st.reads)
	for _, name := range c.auth.wrote {
		st.writes = append(st.writes, c.table(name, &st.tables))
	}
	return st, c.auth.columns, nil
}

// table is the full name of a table; a resource's is added to the tables.
func (c *conn) table(name string, tables *[]*table) string {
	t := c.tables[name]
	if t == nil {
		return name
	}
	if !slices.Contains(*tables, t) {
		*tables = append(*tables, t)
	}
	if t.all {
		return tableResources
	}
	return t.resource.Table()
}

// tableOffset finds where a text names a table; -1: nowhere.
func tableOffset(text, name string) int {
	for l := (lexer{text: text}); l.next(); {
		token := l.token()
		if l.kind == tokenName && len(token) > 1 {
			token = token[1 : len(token)-1]
		}
		if (l.kind == tokenName || l.kind == tokenWord) && strings.EqualFold(token, name) {
			return l.from
		}
	}
	return -1
}
