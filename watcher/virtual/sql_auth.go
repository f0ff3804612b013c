package virtual

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

// authorizer is what SQLite asks while it compiles a statement, and what is learned from the questions.
type authorizer struct {
	write, declaring bool
	denied           error
	// tables are those read, by the names of their modules; wrote those that are written.
	tables, wrote []string
	// columns are those that the statement names, in its order.
	columns []tableColumn
}

type tableColumn struct{ table, column string }

// Table-valued functions that SQLite brings along.
var tableFunctions = []string{"json_each", "json_tree", "jsonb_each", "jsonb_tree"}

// authorize allows what reads and, in its place, what changes rows, and nothing else.
func (c *conn) authorize(action sqlite3.AuthorizerActionCode, first, second, _, _ string) sqlite3.AuthorizerReturnCode {
	a := &c.auth
	if a.declaring {
		return sqlite3.AUTH_OK
	}
	switch action {
	case sqlite3.AUTH_SELECT, sqlite3.AUTH_RECURSIVE:
		return sqlite3.AUTH_OK
	case sqlite3.AUTH_FUNCTION:
		if strings.EqualFold(second, "load_extension") {
			return a.deny("the function load_extension isn't available")
		}
		return sqlite3.AUTH_OK
	case sqlite3.AUTH_READ:
		first = strings.ToLower(first)
		if slices.Contains(tableFunctions, first) {
			return sqlite3.AUTH_OK
		}
		if _, ok := c.tables[first]; !ok && first != tableEvents {
			if second == "" && !strings.HasPrefix(first, "sqlite_") && !strings.HasPrefix(first, "pragma_") {
				// One of WITH's, of which no column is read.
				return sqlite3.AUTH_OK
			}
			return a.deny("no such table: " + first)
		}
		if !slices.Contains(a.tables, first) {
			a.tables = append(a.tables, first)
		}
		a.columns = append(a.columns, tableColumn{first, c.fieldName(second)})
		return sqlite3.AUTH_OK
	case sqlite3.AUTH_INSERT, sqlite3.AUTH_UPDATE, sqlite3.AUTH_DELETE:
		first = strings.ToLower(first)
		t := c.tables[first]
		switch {
		case t == nil || t.all:
			return a.deny(fmt.Sprintf("%s can't be written: only the table of a kind can", first))
		case strings.HasPrefix(second, "("):
			return a.deny("no such column: " + second)
		case !a.write:
			return a.deny(fmt.Sprintf("%s are read-only here", first))
		}
		if !slices.Contains(a.wrote, first) {
			a.wrote = append(a.wrote, first)
		}
		return sqlite3.AUTH_OK
	}
	return a.deny("the statement does what isn't available: only SELECT, INSERT, UPDATE and DELETE on virtual resources are")
}

func (a *authorizer) deny(why string) sqlite3.AuthorizerReturnCode {
	if a.denied == nil {
		a.denied = &SQLError{Message: why, Offset: -1}
	}
	return sqlite3.AUTH_DENY
}

// allowed looks at a statement's first word, for clear words about what SQLite has and this has not.
func allowed(part Part, write bool) error {
	word := firstWord(part.Text)
	switch word {
	case "SELECT", "VALUES", "EXPLAIN":
		return nil
	case "WITH":
		return noReturning(part)
	case "INSERT", "UPDATE", "DELETE":
		if write {
			return noReturning(part)
		}
		return &SQLError{
			Message: "virtual resources are read-only here: " + word + " isn't possible", Offset: part.Offset,
			Hint: "a command with cmd: sql can write",
		}
	case "REPLACE":
		return &SQLError{Message: "REPLACE isn't available", Offset: part.Offset, Hint: "use UPDATE, or INSERT OR IGNORE"}
	case "":
		return &SQLError{Message: "a statement begins with SELECT, WITH or VALUES" + ifWrite(write), Offset: part.Offset}
	}
	return &SQLError{
		Message: word + " isn't available: a statement begins with SELECT, WITH or VALUES" + ifWrite(write), Offset: part.Offset,
	}
}

// noReturning refuses what SQLite has for some statements on virtual tables and not for others.
func noReturning(part Part) error {
	for l := (lexer{text: part.Text}); l.next(); {
		if l.kind == tokenWord && strings.EqualFold(l.token(), "returning") {
			return &SQLError{
				Message: "RETURNING isn't available", Offset: part.Offset + l.from,
				Hint: "the effect of a statement says what it writes",
			}
		}
	}
	return nil
}

func ifWrite(write bool) string {
	if write {
		return ", or with INSERT, UPDATE or DELETE"
	}
	return ""
}
