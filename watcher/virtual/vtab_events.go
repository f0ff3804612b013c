package virtual

import (
	"fmt"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// eventColumns are those of the table events.
var eventColumns = [...]string{
	"time", "category", "api_version", "kind", "namespace", "name", "uid", "resource_version", "instance",
}

// eventTable is the table events: the last lifecycle events, oldest first.
type eventTable struct{ conn *conn }

func (c *conn) registerEvents() error {
	connect := func(db *sqlite3.Conn, _, _, _ string, _ ...string) (*eventTable, error) {
		if err := db.VTabConfig(sqlite3.VTAB_INNOCUOUS); err != nil {
			return nil, err
		}
		return &eventTable{c}, c.declare("CREATE TABLE x(" + strings.Join(eventColumns[:], " TEXT, ") + " TEXT)")
	}
	//lint:ignore SA1019 what replaces it needs Go 1.27
	if err := sqlite3.CreateModule[*eventTable](c.db, tableEvents, nil, connect); err != nil {
		return fmt.Errorf("register table %s: %w", tableEvents, err)
	}
	return nil
}

// BestIndex has nothing to choose.
func (t *eventTable) BestIndex(info *sqlite3.IndexInfo) error {
	info.EstimatedCost, info.EstimatedRows = 1000, 1000
	return nil
}

// Open makes a cursor.
func (t *eventTable) Open() (sqlite3.VTabCursor, error) { return &eventCursor{conn: t.conn}, nil }

type eventCursor struct {
	conn   *conn
	events []event
	at     int
}

// Filter takes the events as they are now.
func (e *eventCursor) Filter(int, string, ...sqlite3.Value) error {
	e.events, e.at = e.conn.store.events.all(), 0
	return e.conn.tick()
}

// Next goes to the next event.
func (e *eventCursor) Next() error {
	e.at++
	return e.conn.tick()
}

// EOF tells whether there are no more.
func (e *eventCursor) EOF() bool { return e.at >= len(e.events) }

// RowID is the place of the event among the last ones.
func (e *eventCursor) RowID() (int64, error) { return int64(e.at), nil }

// Column hands over a value of the event.
func (e *eventCursor) Column(ctx sqlite3.Context, n int) (err error) {
	defer outOfMemory(&err)
	v := &e.events[e.at]
	switch eventColumns[n] {
	case "time":
		ctx.ResultText(v.time.UTC().Format(time.RFC3339Nano))
	case "category":
		resultText(ctx, v.category)
	case "api_version":
		resultText(ctx, v.APIVersion())
	case "kind":
		resultText(ctx, v.Key.Kind.Kind)
	case "namespace":
		resultText(ctx, v.Namespace)
	case "name":
		resultText(ctx, v.Name)
	case "uid":
		resultText(ctx, v.uid)
	case "resource_version":
		resultText(ctx, v.resourceVersion)
	case "instance":
		resultText(ctx, v.instance)
	}
	return nil
}
