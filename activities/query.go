package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/specs/sense"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// rows are those of the rule's query as it stands now: of its decision, or the live query that it watches. False: the
// rule has no query, or the command none that rows could be of.
func (t *attempt) rows(ctx context.Context, f facts) (*virtual.Rows, bool, error) {
	rule := t.rule()
	if rule == nil {
		return nil, false, nil
	}
	q, what := rule.Watch.SQL, "watch.sql"
	if rule.Decide != nil && rule.Decide.SQL != nil {
		q, what = rule.Decide.SQL, "decide.sql"
	}
	if q == nil {
		return nil, false, nil
	}
	params, err := t.params(f)
	if err != nil {
		return nil, false, err
	}
	if err := t.catchUp(ctx, *q); err != nil {
		return nil, false, err
	}
	rows, err := t.objects.Query(ctx, q.Text, params, virtual.Limits{})
	if err != nil {
		return nil, false, t.sqlError(*q, what, err)
	}
	return rows, true, nil
}

// listOf are rows as templates and conditions take them.
func listOf(rows *virtual.Rows) []any {
	maps := rows.Maps()
	list := make([]any, len(maps))
	for i, m := range maps {
		list[i] = m
	}
	return list
}

// params are the values that every statement may name. Of a Secret they have digests, as its table does.
func (t *attempt) params(f facts) (map[string]any, error) {
	cr, err := json.Marshal(f.cr)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", t.in.Instance, err)
	}
	return sense.Params(t.in.Instance, cr, f.stored), nil
}

// catchUp waits, bounded, until the store is as new in the tables of a statement as what the attempt knows of: the event
// that it reacts to, and what this process has written for the instance. Another process may have written more: it is
// why a rule that reads by SQL should also watch what it reads.
func (t *attempt) catchUp(ctx context.Context, q plan.Query) error {
	if t.objects == nil {
		return retryable(TypeInternal, errors.New("this process has no virtual resources to ask"), "")
	}
	var kinds []virtual.Kind
	for _, r := range t.objects.Resources() {
		if table := r.Table(); slices.Contains(q.Reads, table) || slices.Contains(q.Writes, table) {
			kinds = append(kinds, r.Kind)
		}
	}
	t.phase("reading", "the store to see what was written")
	wait, cancel := t.waiting(ctx)
	defer cancel()
	wait, stop := context.WithTimeout(wait, seenWithin)
	defer stop()
	err := t.marks.await(wait, t.objects, t.in.Instance.UID, kinds)
	if err == nil {
		err = t.seenEvent(wait, kinds)
	}
	switch {
	case err == nil, errors.Is(err, virtual.ErrNotWatched): // the statement itself tells which table isn't there
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case context.Cause(wait) == errStopping:
		return errStopping
	}
	return retryable(TypeUnavailable, fmt.Errorf("the virtual resources lag behind: %w", err), "")
}

// seenEvent waits until the store has seen what the event tells of, if that is of one of the kinds.
func (t *attempt) seenEvent(ctx context.Context, kinds []virtual.Kind) error {
	e := t.in.Event
	if e == nil || !e.HasObject() {
		return nil
	}
	key := virtual.Key{Kind: virtual.ParseKind(e.APIVersion, e.Kind), Namespace: e.Change.Namespace, Name: e.Change.Name}
	if !slices.Contains(kinds, key.Kind) {
		return nil
	}
	if e.Category != plan.DidDelete {
		_, _, err := t.objects.WaitFor(ctx, key, e.Change.ResourceVersion)
		return err
	}
	rule := t.rule()
	return awaitGone(ctx, t.objects, key, func(o virtual.Object) bool {
		return plan.ShortUID(o.UID) != plan.ShortUID(e.Change.UID) || rule == nil || !rule.Sees(t.in.Instance, t.in.Instance.Label(), o)
	})
}

// sqlError names where a statement stands that went wrong.
func (t *attempt) sqlError(q plan.Query, what string, err error) error {
	if e := t.in.Event; e != nil {
		what = fmt.Sprintf("rule %q, %s", e.Rule, what)
	}
	if q.At != "" {
		what = q.At + ": " + what
	}
	return fmt.Errorf("%s: %w", what, err)
}
