package virtual

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

// conn is a connection to an SQLite of its own, with tables that read the store. One goroutine uses it at a time.
type conn struct {
	db    *sqlite3.Conn
	store *Store // nil: nothing is run, only checked
	// resources are those for which the connection was opened.
	resources *[]Resource
	resolve   func(table string) (Resource, error)
	// fields are those that have a hidden column. The first ones are the labels that the store has an index of.
	fields  []field
	indexed int
	tables  map[string]*table // by the names that statements use

	statements map[statementKey]*statement
	uses       uint64
	auth       authorizer

	seen *seen // what Check wants to know; else nil

	// broken: it must not be used again.
	broken bool

	// For the statement that runs:
	interrupt deadline
	view      *snapshot
	write     *writing
	failure   error
	ticks     uint
}

// openConn opens a connection that takes at most so much memory.
func openConn(s *Store, memory int) (*conn, error) {
	resources := s.sql.resources.Load()
	c := &conn{store: s, resources: resources}
	for _, label := range s.options.IndexedLabels[:min(len(s.options.IndexedLabels), maxFields/2)] {
		c.fields = append(c.fields, field{columnLabels, label})
	}
	c.indexed = len(c.fields)
	c.resolve = func(table string) (Resource, error) {
		served := s.sql.served()
		r, err := FindResource(table, served)
		if err == nil {
			return r, nil
		}
		if r, known := FindResource(table, BuiltIn()); known == nil {
			return Resource{}, &NotSyncedError{Table: r.Table()}
		}
		if strings.Contains(table, ".") && !strings.HasSuffix(table, ".core") {
			// A full name: its kind may come with a CustomResourceDefinition.
			return Resource{}, &NotSyncedError{Table: table}
		}
		return Resource{}, err
	}
	return c, c.open(memory)
}

func (c *conn) open(memory int) (err error) {
	c.tables, c.statements = map[string]*table{}, map[statementKey]*statement{}
	defer c.recovered(&err, memory)
	// A connection has some 0.3 MB when it is new.
	limited := sqlite3.WithMaxMemory(context.Background(), int64(max(memory, 1<<20)))
	if c.db, err = sqlite3.OpenContext(limited, ":memory:"); err != nil {
		return fmt.Errorf("open an SQL connection: %w", err)
	}
	for limit, value := range map[sqlite3.LimitCategory]int{
		sqlite3.LIMIT_LENGTH:              maxLength,
		sqlite3.LIMIT_SQL_LENGTH:          256 << 10,
		sqlite3.LIMIT_COLUMN:              500,
		sqlite3.LIMIT_EXPR_DEPTH:          200,
		sqlite3.LIMIT_COMPOUND_SELECT:     200,
		sqlite3.LIMIT_VDBE_OP:             100_000,
		sqlite3.LIMIT_FUNCTION_ARG:        100,
		sqlite3.LIMIT_ATTACHED:            0,
		sqlite3.LIMIT_LIKE_PATTERN_LENGTH: 200,
		sqlite3.LIMIT_VARIABLE_NUMBER:     500,
		sqlite3.LIMIT_TRIGGER_DEPTH:       0,
		sqlite3.LIMIT_WORKER_THREADS:      0,
	} {
		c.db.Limit(limit, value)
	}
	// Large sorts must not go to files.
	if err := c.db.Exec("PRAGMA temp_store=memory"); err != nil {
		return fmt.Errorf("configure an SQL connection: %w", err)
	}
	if err := c.functions(); err != nil {
		return err
	}
	return c.db.SetAuthorizer(c.authorize)
}

// close frees the memory, which is not the garbage collector's.
func (c *conn) close() {
	if c.db == nil {
		return
	}
	c.broken = true
	// After a panic nothing is sure; what still works is enough.
	safely := func(fn func() error) {
		defer func() { _ = recover() }()
		_ = fn()
	}
	for _, stmt := range slices.Collect(c.db.Stmts()) {
		safely(stmt.Close)
	}
	safely(c.db.Close)
}

// recovered turns a panic of SQLite into an error. Out of memory is one.
func (c *conn) recovered(err *error, memory int) {
	p := recover()
	if p == nil {
		return
	}
	c.broken = true
	// The type of the value is internal to the driver.
	if e, ok := p.(error); ok && e.Error() == "sqlite3: out of memory" {
		*err = &LimitError{"memory", memory}
		return
	}
	*err = fmt.Errorf("the SQL engine failed: %v", p)
}

func isMemory(err error) bool {
	var l *LimitError
	return errors.As(err, &l) && l.Limit == "memory"
}
