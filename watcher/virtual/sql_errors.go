package virtual

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

// SQLError is an error of the statement itself: it is wrong for ever.
type SQLError struct {
	Message, Hint string
	// Offset in the text, in bytes; -1: unknown.
	Offset int
}

func (e *SQLError) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "; " + e.Hint
}

// LimitError says that a statement was stopped, and by which limit: "time", "rows", "bytes", "memory" or "changes".
type LimitError struct {
	Limit string
	Value any
}

func (e *LimitError) Error() string {
	switch e.Limit {
	case "time":
		return fmt.Sprintf("the statement was stopped: it takes longer than %v; look for a condition on namespace, name or an indexed label, or for a join that lacks one", e.Value)
	case "rows":
		return fmt.Sprintf("the statement was stopped: its result has more than %v rows; add a WHERE or a LIMIT", e.Value)
	case "bytes":
		return fmt.Sprintf("the statement was stopped: a value or its whole result has more than %v bytes; select less than whole objects", e.Value)
	case "memory":
		return fmt.Sprintf("the statement was stopped: it needs more than %v bytes of memory; sort or group less", e.Value)
	case "changes":
		return fmt.Sprintf("the statement was stopped: it would change more than %v objects; narrow its WHERE", e.Value)
	}
	return fmt.Sprintf("the statement was stopped by its limit of %s: %v", e.Limit, e.Value)
}

// NotSyncedError says that a table's objects haven't been seen completely yet, or that the store doesn't serve it. Later
// they may be.
type NotSyncedError struct{ Table string }

func (e *NotSyncedError) Error() string {
	return fmt.Sprintf("the objects of table %s haven't been seen completely yet: try again later", quoteTable(e.Table))
}

// ExistsError says that a statement inserts an object of which another state is there already.
type ExistsError struct {
	Table string
	Key   Key
}

func (e *ExistsError) Error() string {
	return fmt.Sprintf("%s is there already, and differs: use INSERT OR IGNORE to leave it, or UPDATE to change it", e.Key)
}

// sqliteError makes of SQLite's error of a statement's text one that helps.
func sqliteError(err error, text string) error {
	var e *sqlite3.Error
	if !errors.As(err, &e) {
		var code sqlite3.ErrorCode
		if errors.As(err, &code) && code == sqlite3.TOOBIG {
			return &LimitError{"bytes", maxLength}
		}
		return err
	}
	switch e.Code() {
	case sqlite3.TOOBIG:
		return &LimitError{"bytes", maxLength}
	case sqlite3.INTERRUPT, sqlite3.NOMEM, sqlite3.BUSY:
		return err
	}
	message := strings.TrimPrefix(e.Error(), e.Code().Error())
	message = strings.TrimPrefix(message, ": ")
	if message == "" {
		message = strings.TrimPrefix(e.Error(), "sqlite3: ")
	}
	out := &SQLError{Message: message, Offset: -1}
	if rest := e.SQL(); rest != "" && strings.HasSuffix(text, rest) {
		out.Offset = len(text) - len(rest)
	}
	if column, ok := strings.CutPrefix(message, "no such column: "); ok {
		column, _, _ = strings.Cut(column, " - ")
		out.Hint = columnHint(column, text)
	}
	if strings.Contains(message, "UPSERT") {
		out.Message = "ON CONFLICT isn't possible on virtual resources"
		out.Hint = "use INSERT OR IGNORE, or an UPDATE and an INSERT … WHERE NOT EXISTS"
	}
	return out
}

func columnHint(column, text string) string {
	if i := strings.LastIndex(column, "."); i >= 0 {
		column = column[i+1:]
	}
	column = strings.Trim(column, `"`)
	among := slices.Clone(columnNames[:])
	if tableOffset(text, tableEvents) >= 0 {
		among = append(slices.Clone(eventColumns[:]), among...)
	}
	if slices.Contains(among, column) {
		return "no table in FROM has it there"
	}
	if near := nearest(column, among); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	return "the columns are " + list(among, len(among)) + "; fields are reached by -> and ->>: spec->>'replicas'"
}

// list joins names, at most so many.
func list(names []string, most int) string {
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// nearest is the name that someone may have meant, or nothing. Package specs has the like for YAML; this one can't be
// there, as this package imports nothing of the module.
func nearest(word string, names []string) string {
	best, least := "", 1+max(2, len(word)/3)
	for _, n := range names {
		if d := distance(strings.ToLower(word), n); d < least && d < len(n) {
			best, least = n, d
		}
	}
	return best
}

// distance is the number of insertions, deletions and substitutions that make b of a.
func distance(a, b string) int {
	if len(a) > 100 || len(b) > 100 {
		return 100
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
