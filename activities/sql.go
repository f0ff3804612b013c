package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// maxRuns is how often a statement is run in one attempt while others change the objects that it writes.
const maxRuns = 5

// sql runs the command's statements, in order, on the virtual resources; what they change becomes API writes. Each
// statement sees a consistent snapshot that has what the statements before it wrote.
//
// A write carries the uid and resourceVersion of the row that it was computed from, so that nobody's change is
// overwritten unseen: if the object has changed since, the statement runs again on a newer snapshot, in which the rows
// that it has written already need no change. That, and every repetition after a crash, takes for granted that a
// statement says what shall be (replicas = 3), not what shall be added (replicas + 1): within one snapshot no row is
// ever written twice, but between two snapshots the latter adds twice.
//
// Rows of an UPDATE are written through the object itself and, where the kind has it, the status subresource. Replicas
// are part of the spec of every kind that has a scale subresource, so that needs no way of its own.
func (t *attempt) sql(ctx context.Context) (plan.CommandResult, error) {
	spec := t.in.Command.SQL
	if spec == nil || len(spec.Statements) == 0 {
		return plan.CommandResult{}, invalid(errors.New("the command has no statement"), "")
	}
	params, err := t.sqlParams(ctx, spec.Params)
	if errors.Is(err, errObjectGone) {
		return plan.CommandResult{Message: err.Error()}, nil
	}
	if err != nil {
		return plan.CommandResult{}, err
	}
	var done tally
	for n, q := range spec.Statements {
		what := fmt.Sprintf("command %q", t.in.Command.Name)
		if len(spec.Statements) > 1 {
			what += fmt.Sprintf(", statement %d", n+1)
		}
		if err := t.statement(ctx, q, what, params, &done); err != nil {
			return plan.CommandResult{}, err
		}
	}
	return plan.CommandResult{Changed: done.written() > 0, Message: done.message(spec.Statements), Objects: done.objects}, nil
}

// statement runs one statement until what it changes is written.
func (t *attempt) statement(ctx context.Context, q plan.Query, what string, params map[string]any, done *tally) error {
	for run := 1; ; run++ {
		if err := t.catchUp(ctx, q); err != nil {
			return err
		}
		t.phase("running", what)
		effect, err := t.objects.Exec(ctx, q.Text, params, virtual.Limits{Changes: t.in.Command.SQL.MaxRows})
		if err != nil {
			return t.sqlError(q, what, err)
		}
		if effect.Rows != nil {
			done.rows += len(effect.Rows.Values)
		}
		err = t.writeRows(ctx, effect.Changes, done)
		var c *conflict
		switch {
		case err == nil:
			return nil
		case !errors.As(err, &c):
			return t.sqlError(q, what, err)
		case run == maxRuns:
			return t.sqlError(q, what, retryable(TypeConflict,
				fmt.Errorf("others changed what it writes, %d times in a row: %w", run, err), "it is tried again"))
		}
		t.log.Debug("the statement runs again on a newer snapshot", "because", err)
	}
}

// tally counts what statements did.
type tally struct {
	updated, created, deleted, rows int
	// objects that were inserted and are the instance's.
	objects []plan.ObjectRef
}

func (t *tally) written() int { return t.updated + t.created + t.deleted }

// message says in a line what the statements did, without anything of what the rows hold.
func (t *tally) message(statements []plan.Query) string {
	var tables []string
	for _, q := range statements {
		for _, table := range q.Writes {
			if !slices.Contains(tables, table) {
				tables = append(tables, table)
			}
		}
	}
	var parts []string
	for _, c := range []struct {
		what string
		n    int
	}{{"updated", t.updated}, {"created", t.created}, {"deleted", t.deleted}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", c.what, c.n))
		}
	}
	text := ""
	switch {
	case len(parts) > 0:
		text = strings.Join(parts, ", ") + " of " + strings.Join(tables, ", ")
	case len(tables) > 0:
		text = "nothing to change in " + strings.Join(tables, ", ")
	}
	if len(tables) == 0 || t.rows > 0 {
		text = strings.TrimPrefix(text+"; "+count(t.rows, "row"), "; ")
	}
	if len(statements) > 1 {
		text += fmt.Sprintf(" (%d statements)", len(statements))
	}
	return text
}
