package virtual

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// deadline is a context that ends with another one or at a time, without the cost of a timer.
type deadline struct {
	context.Context
	at    time.Time
	asked int
}

func (d *deadline) Deadline() (time.Time, bool) { return d.at, true }

func (d *deadline) Err() error {
	if err := d.Context.Err(); err != nil {
		return err
	}
	// A statement with one row asks twice, within microseconds.
	if d.asked++; d.asked > 2 && !d.at.IsZero() && !time.Now().Before(d.at) {
		return context.DeadlineExceeded
	}
	return nil
}

func (c *conn) run(ctx context.Context, until time.Time, text string, params map[string]any, l Limits, write bool) (rows *Rows, changes []RowChange, err error) {
	defer c.recovered(&err, l.Memory)
	c.interrupt = deadline{Context: ctx, at: until}
	c.db.SetInterrupt(&c.interrupt)
	st, err := c.prepare(text, write)
	if err != nil {
		return nil, nil, c.stopped(err, l)
	}
	for _, t := range st.tables {
		if !t.all && !c.store.Watches(t.resource.Kind) {
			return nil, nil, &NotSyncedError{Table: t.resource.Table()}
		}
	}
	if err := st.bind(params); err != nil {
		return nil, nil, err
	}
	c.auth.write = write
	c.view, c.failure, c.write = c.store.snapshot(), nil, nil
	if len(st.writes) > 0 {
		c.write = &writing{most: l.Changes, rows: map[string]*RowChange{}}
	}
	rows = &Rows{Columns: st.columns, Reads: st.reads}
	if c.failure = c.collect(st, rows, l); c.failure == nil && c.write != nil {
		changes, c.failure = c.write.changes()
	}
	err = c.failure
	c.view, c.write, c.failure = nil, nil, nil
	// Resetting returns the statement's error once more.
	_ = st.stmt.Reset()
	_ = st.stmt.ClearBindings()
	if err != nil {
		return nil, nil, c.stopped(err, l)
	}
	return rows, changes, nil
}

// stopped says why a statement was interrupted.
func (c *conn) stopped(err error, l Limits) error {
	if !errors.Is(err, sqlite3.INTERRUPT) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if ctxErr := c.interrupt.Context.Err(); ctxErr != nil {
		return fmt.Errorf("the statement was stopped: %w", ctxErr)
	}
	return &LimitError{"time", l.Time}
}

// collect steps through the result.
func (c *conn) collect(st *statement, rows *Rows, l Limits) error {
	size := 0
	for st.stmt.Step() {
		if len(rows.Values) >= l.Rows {
			return &LimitError{"rows", l.Rows}
		}
		if err := st.stmt.ColumnsRaw(st.values...); err != nil {
			return err
		}
		row := make([]any, len(st.values))
		for i, v := range st.values {
			size += 16
			switch v := v.(type) {
			case []byte:
				if size += len(v); size > l.Bytes {
					return &LimitError{"bytes", l.Bytes}
				}
				row[i] = st.value(i, v)
			case float64:
				row[i] = v
				if math.IsInf(v, 0) {
					// JSON has no infinity, and templates no use for it.
					row[i] = math.Copysign(math.MaxFloat64, v)
				}
			default:
				row[i] = v
			}
		}
		if size > l.Bytes {
			return &LimitError{"bytes", l.Bytes}
		}
		rows.Values = append(rows.Values, row)
	}
	if err := st.stmt.Err(); err != nil {
		if c.failure != nil {
			return c.failure
		}
		return sqliteError(err, "")
	}
	return nil
}
