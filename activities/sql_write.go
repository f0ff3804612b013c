package activities

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// rowsAtOnce is how many rows of a statement are written side by side.
const rowsAtOnce = 8

// conflict says that an object isn't any more as the snapshot had it.
type conflict struct {
	ref plan.ObjectRef
	err error
}

func (c *conflict) Error() string { return fmt.Sprintf("write %s: %v", describe(c.ref), c.err) }

func (c *conflict) Unwrap() error { return c.err }

// row is one changed row on its way to the API server.
type row struct {
	virtual.RowChange
	ref plan.ObjectRef
	api dynamic.ResourceInterface
}

// writeRows writes what a statement changed. A row in conflict doesn't hold up the others: they are right as far as
// this snapshot knows. Any other error ends it. Error: *conflict, or that of a write.
func (t *attempt) writeRows(ctx context.Context, changes []virtual.RowChange, done *tally) error {
	var mu sync.Mutex
	var behind, failed error
	group := errgroup.Group{}
	group.SetLimit(rowsAtOnce)
	for n, c := range changes {
		mu.Lock()
		stop := failed != nil || ctx.Err() != nil
		mu.Unlock()
		if stop {
			break
		}
		t.phase("writing", fmt.Sprintf("object %d of %d", n+1, len(changes)))
		group.Go(func() error {
			did, err := t.writeRow(ctx, c)
			mu.Lock()
			defer mu.Unlock()
			if c, ok := err.(*conflict); ok {
				behind = c
			} else if err != nil && failed == nil {
				failed = err
			}
			done.add(did)
			return nil
		})
	}
	_ = group.Wait() // failed has it
	switch {
	case failed != nil:
		return failed
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return behind
}

// wrote is what the write of one row did.
type wrote struct {
	updated, created, deleted bool
	// object that the row inserts, once it is there and the instance's.
	object *plan.ObjectRef
}

func (t *tally) add(w wrote) {
	for _, c := range []struct {
		did bool
		n   *int
	}{{w.updated, &t.updated}, {w.created, &t.created}, {w.deleted, &t.deleted}} {
		if c.did {
			*c.n++
		}
	}
	if w.object != nil {
		t.objects = append(t.objects, *w.object)
	}
}

// writeRow writes one row. A conflict leaves a mark, so that the next snapshot has what was in the way.
func (t *attempt) writeRow(ctx context.Context, c virtual.RowChange) (wrote, error) {
	r := row{RowChange: c, ref: plan.ObjectRef{
		APIVersion: c.Resource.APIVersion(), Kind: c.Resource.Kind.Kind, Namespace: c.Key.Namespace, Name: c.Key.Name,
	}}
	all := t.cluster.dynamic.Resource(r.resource())
	if r.api = all; c.Resource.Namespaced {
		if r.ref.Namespace == "" {
			if r.ref.Namespace = t.in.Instance.Namespace; r.ref.Namespace == "" {
				return wrote{}, invalid(fmt.Errorf("%s needs a namespace", describe(r.ref)), "give the row one: the resource is cluster-scoped and has none")
			}
		}
		r.api = all.Namespace(r.ref.Namespace)
	}
	var w wrote
	var err error
	switch c.Op {
	case virtual.OpUpdate:
		w.updated, err = t.updateRow(ctx, r)
	case virtual.OpInsert:
		w, err = t.insertRow(ctx, r)
	case virtual.OpDelete:
		w.deleted, err = t.deleteRow(ctx, r)
	default:
		err = fmt.Errorf("a row change %q is not known", c.Op)
	}
	if err == nil {
		return w, nil
	}
	if !apierrors.IsConflict(err) && !(c.Op == virtual.OpUpdate && apierrors.IsNotFound(err)) || ctx.Err() != nil {
		if _, own := err.(*fault); own {
			return w, err
		}
		return w, fmt.Errorf("%s %s: %w", c.Op, describe(r.ref), err)
	}
	live, lookErr := r.api.Get(ctx, r.ref.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(lookErr):
		t.marks.deleted(t.in.Instance.UID, keyOf(r.ref), c.UID)
	case lookErr != nil:
		return w, fmt.Errorf("read %s: %w", describe(r.ref), lookErr)
	default:
		t.marks.wrote(t.in.Instance.UID, keyOf(r.ref), live.GetResourceVersion())
	}
	return w, &conflict{r.ref, err}
}
