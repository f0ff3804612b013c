package virtual

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Limits of a statement; zero values mean the defaults.
type Limits struct {
	Time    time.Duration // 5s
	Rows    int           // of a result; 10000
	Bytes   int           // of a result; 8 MiB
	Memory  int           // of SQLite for the statement; 64 MiB
	Changes int           // objects that a writing statement may change; 500
}

// maxLength is the size of the largest value in SQL. No object in a cluster is nearly as large.
const maxLength = 8 << 20

func (l Limits) withDefaults() Limits {
	for _, d := range [...]struct {
		field *int
		value int
	}{{&l.Rows, 10000}, {&l.Bytes, maxLength}, {&l.Memory, 64 << 20}, {&l.Changes, 500}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if l.Time <= 0 {
		l.Time = 5 * time.Second
	}
	return l
}

// Rows are a statement's result.
type Rows struct {
	Columns []string
	// Values are nil, int64, float64, string, or decoded JSON: map[string]any, []any, bool and the like. Decoded is what
	// comes out as JSONB, such as the columns labels and spec; and as JSON text, such as of -> and json_object, unless a
	// sort, DISTINCT or a subquery made SQLite forget that it is JSON: jsonb(…) around it keeps that. A BLOB that is no
	// JSONB is in base64.
	Values [][]any
	// Reads are the tables on whose content the result depends, by their full names.
	Reads []string
}

// Maps are the rows as templates and CEL see them: column → value.
func (r *Rows) Maps() []map[string]any {
	out := make([]map[string]any, len(r.Values))
	for i, values := range r.Values {
		row := make(map[string]any, len(values))
		for j, v := range values {
			row[r.Columns[j]] = v
		}
		out[i] = row
	}
	return out
}

// Hash names the result: the same columns and rows in the same order have the same 11 characters.
func (r *Rows) Hash() string {
	h := sha256.New()
	var b []byte
	for _, c := range r.Columns {
		b = appendHashed(b, c)
	}
	h.Write(append(b, ';'))
	for _, row := range r.Values {
		b = b[:0]
		for _, v := range row {
			b = appendHashed(b, v)
		}
		h.Write(append(b, ';'))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:9])[:11]
}

// appendHashed writes v so that equal values, and only they, are equal bytes.
func appendHashed(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 'n')
	case bool:
		return strconv.AppendBool(append(b, 'b'), v)
	case int64:
		return append(strconv.AppendInt(append(b, 'i'), v, 10), ',')
	case float64:
		return append(strconv.AppendFloat(append(b, 'f'), v, 'g', -1, 64), ',')
	case string:
		b = append(strconv.AppendInt(append(b, 's'), int64(len(v)), 10), ':')
		return append(b, v...)
	case []any:
		b = append(b, '[')
		for _, item := range v {
			b = appendHashed(b, item)
		}
		return append(b, ']')
	case map[string]any:
		b = append(b, '{')
		for _, name := range slices.Sorted(maps.Keys(v)) {
			b = appendHashed(appendHashed(b, name), v[name])
		}
		return append(b, '}')
	}
	return append(b, '?')
}

// Effect is what a statement does: its result, and the changes that it wants.
type Effect struct {
	Rows    *Rows
	Changes []RowChange
}

// RowChange is an object that a statement wants to be otherwise.
type RowChange struct {
	Op       string // OpUpdate, OpInsert or OpDelete
	Resource Resource
	Key      Key
	// UID and ResourceVersion are those of the object that the statement saw: preconditions of an update and a delete.
	UID, ResourceVersion string
	// Before and After are whole objects; Before is nil of an insert, After of a delete. They differ only in the sections
	// that the statement set.
	Before, After []byte
	// Status: the section status was set, and differs.
	Status bool
}

// What a RowChange does.
const (
	OpUpdate = "update"
	OpInsert = "insert"
	OpDelete = "delete"
)

// Query runs one reading statement on one snapshot of the store. Params are bound by name, without the colon; what is no
// number, string or bool is bound as JSON text. Random and time functions are allowed; a live query that uses them
// differs whenever it is asked.
//
// Possible errors: *SQLError, *LimitError, *NotSyncedError; ctx ended; the store is closed.
func (s *Store) Query(ctx context.Context, text string, params map[string]any, l Limits) (*Rows, error) {
	rows, _, err := s.run(ctx, text, params, l, false)
	return rows, err
}

// Exec runs one statement, reading or writing. It writes nothing into the store: it returns what is to be written, in
// the order of the tables' keys. An INSERT of what is there already changes nothing.
//
// Possible errors: those of Query, and *ExistsError.
func (s *Store) Exec(ctx context.Context, text string, params map[string]any, l Limits) (*Effect, error) {
	rows, changes, err := s.run(ctx, text, params, l, true)
	if err != nil {
		return nil, err
	}
	return &Effect{Rows: rows, Changes: changes}, nil
}

func (s *Store) run(ctx context.Context, text string, params map[string]any, l Limits, write bool) (*Rows, []RowChange, error) {
	l = l.withDefaults()
	if err := s.sql.enter(ctx); err != nil {
		return nil, nil, err
	}
	defer s.sql.leave()
	until := time.Now().Add(l.Time)
	if l.Memory >= pooledMemory {
		c, err := s.sql.take(s)
		if err != nil {
			return nil, nil, err
		}
		rows, changes, err := c.run(ctx, until, text, params, l, write)
		s.sql.put(c)
		if !isMemory(err) {
			return rows, changes, err
		}
		// Few statements need much: they get a connection of their own, so that those in the pool stay small.
	}
	c, err := openConn(s, l.Memory)
	if err != nil {
		return nil, nil, err
	}
	defer c.close()
	rows, changes, err := c.run(ctx, until, text, params, l, write)
	return rows, changes, err
}
