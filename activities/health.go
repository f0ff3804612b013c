package activities

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

const (
	// lookAgain bounds a watch: when it ends the object is read anew, in case that an event was missed.
	lookAgain = 20 * time.Second
	// watchAgain is the pause after a watch that couldn't start.
	watchAgain = 2 * time.Second
	// readers is how many objects are read at a time.
	readers = 8
)

// verdict is what one look at an object says. A nil object is one that isn't there.
type verdict struct {
	done bool
	// why not yet, for people.
	why string
	// err ends the wait for all.
	err error
}

// healthy is done when kstatus calls the object current. An object that has failed ends the wait: time may heal it, but
// this attempt should say so rather than sit there.
func healthy(ref plan.ObjectRef, u *unstructured.Unstructured) verdict {
	if u == nil {
		return verdict{why: "not there"}
	}
	res, err := status.Compute(u)
	switch {
	case err != nil:
		return verdict{why: "status unclear: " + err.Error()}
	case res.Status == status.CurrentStatus:
		return verdict{done: true}
	case res.Status == status.FailedStatus:
		return verdict{err: notReady(fmt.Errorf("%s has failed: %s", describe(ref), res.Message)), why: res.Message}
	case res.Status == status.TerminatingStatus:
		return verdict{why: "being deleted"}
	}
	return verdict{why: strings.TrimSpace(res.Message)}
}

// gone is done when the object isn't there any more.
func gone(_ plan.ObjectRef, u *unstructured.Unstructured) verdict {
	if u == nil {
		return verdict{done: true}
	}
	why := "still there"
	if f := u.GetFinalizers(); len(f) > 0 {
		why = "held by finalizer " + strings.Join(f, ", ")
	}
	return verdict{why: why}
}

// await waits until look is done with every object: one read each, then a watch on those that aren't, so that nothing
// polls. Errors: NotReady, naming the objects that block and why, when the time is over; errStopping on a shutdown;
// the context's cause.
func (t *attempt) await(ctx context.Context, phase string, refs []plan.ObjectRef, look func(plan.ObjectRef, *unstructured.Unstructured) verdict) error {
	t.phase(phase, fmt.Sprintf("%d objects", len(refs)))
	ctx, cancel := t.waiting(ctx)
	defer cancel()

	b := &blockers{why: map[plan.ObjectRef]string{}, show: func(s string) { t.phase(phase, s) }}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for _, ref := range refs {
		g.Go(func() error {
			u, err := t.cluster.get(gctx, ref)
			if err != nil {
				return err
			}
			return b.note(ref, look(ref, u))
		})
	}
	if err := g.Wait(); err != nil {
		return t.blocked(ctx, err, b)
	}
	g, gctx = errgroup.WithContext(ctx)
	for _, ref := range b.open() {
		g.Go(func() error { return t.watch(gctx, ref, b, look) })
	}
	return t.blocked(ctx, g.Wait(), b)
}

// blocked says why a wait ended.
func (t *attempt) blocked(ctx context.Context, err error, b *blockers) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() == nil:
		return err
	case errors.Is(context.Cause(ctx), errStopping):
		return errStopping
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && len(b.open()) > 0:
		return notReady(fmt.Errorf("waiting for %s", b))
	}
	return context.Cause(ctx)
}

// watch follows one object until look is done with it.
func (t *attempt) watch(ctx context.Context, ref plan.ObjectRef, b *blockers, look func(plan.ObjectRef, *unstructured.Unstructured) verdict) error {
	for {
		pause := watchAgain
		u, err := t.cluster.get(ctx, ref)
		if err != nil {
			if f := classify(err); f.Type == TypeForbidden || ctx.Err() != nil {
				return err
			}
			b.set(ref, plan.Clip(err.Error(), 200)) // the server is away for a moment: keep waiting
		} else {
			v := look(ref, u)
			if err := b.note(ref, v); err != nil || v.done {
				return err
			}
			version := ""
			if u != nil {
				version = u.GetResourceVersion()
			}
			if done, err := t.follow(ctx, ref, version, b, look); done || err != nil {
				return err
			} else if ctx.Err() == nil && b.follows(ref) {
				pause = 0
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// follow watches an object for a while. It returns early when the watch breaks, and leaves a mark if it never started.
func (t *attempt) follow(ctx context.Context, ref plan.ObjectRef, version string, b *blockers, look func(plan.ObjectRef, *unstructured.Unstructured) verdict) (bool, error) {
	api, err := t.cluster.client(ref)
	if err != nil {
		b.mark(ref, false)
		return false, nil
	}
	seconds := int64(lookAgain / time.Second)
	w, err := api.Watch(ctx, metav1.ListOptions{
		FieldSelector:   fields.OneTermEqualSelector("metadata.name", ref.Name).String(),
		ResourceVersion: version, TimeoutSeconds: &seconds,
	})
	if err != nil {
		b.mark(ref, false)
		return false, nil
	}
	defer w.Stop()
	b.mark(ref, true)
	for e := range w.ResultChan() {
		u, _ := e.Object.(*unstructured.Unstructured)
		switch e.Type {
		case watch.Deleted:
			u = nil
		case watch.Added, watch.Modified:
		default: // a bookmark, or an error after which the object is read anew
			if e.Type == watch.Error {
				b.mark(ref, false)
				return false, nil
			}
			continue
		}
		v := look(ref, u)
		if err := b.note(ref, v); err != nil || v.done {
			return v.done, err
		}
	}
	return false, nil
}

// blockers are the objects that a wait still waits for.
type blockers struct {
	mu   sync.Mutex
	why  map[plan.ObjectRef]string
	live map[plan.ObjectRef]bool
	show func(string)
}

// note takes a verdict down and returns its error.
func (b *blockers) note(ref plan.ObjectRef, v verdict) error {
	if v.done {
		b.mu.Lock()
		delete(b.why, ref)
		b.mu.Unlock()
	} else {
		b.set(ref, v.why)
	}
	b.show(b.String())
	return v.err
}

func (b *blockers) set(ref plan.ObjectRef, why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.why[ref] = why
}

// mark tells whether a watch on the object could be started.
func (b *blockers) mark(ref plan.ObjectRef, live bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.live == nil {
		b.live = map[plan.ObjectRef]bool{}
	}
	b.live[ref] = live
}

func (b *blockers) follows(ref plan.ObjectRef) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.live[ref]
}

// open are the objects that block, in a fixed order.
func (b *blockers) open() []plan.ObjectRef {
	b.mu.Lock()
	defer b.mu.Unlock()
	refs := make([]plan.ObjectRef, 0, len(b.why))
	for ref := range b.why {
		refs = append(refs, ref)
	}
	sort.Slice(refs, func(i, j int) bool { return describe(refs[i]) < describe(refs[j]) })
	return refs
}

func (b *blockers) String() string {
	refs := b.open()
	texts := make([]string, len(refs))
	b.mu.Lock()
	for i, ref := range refs {
		texts[i] = fmt.Sprintf("%s (%s)", describe(ref), plan.Clip(b.why[ref], 160))
	}
	b.mu.Unlock()
	return few(texts)
}
