package main

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/clock"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

const (
	// settle is how long a live query lets changes come together before it asks again.
	settle = 100 * time.Millisecond
	// watchSeconds is how long one watch lasts, so that a connection that has died unseen is not watched for ever.
	watchSeconds int64 = 300
)

// live asks anew whenever a table that the statement reads has changed, until ctx ends.
func (q *query) live(ctx context.Context, f *feed) error {
	changed := make(chan struct{}, 1)
	f.store.OnChange(func(c virtual.Change) {
		if f.isOwner(c.Key.Kind) {
			return
		}
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	g, ctx := errgroup.WithContext(ctx)
	f.mu.Lock()
	f.watching = func(s *source) { g.Go(func() error { return f.keep(ctx, s) }) }
	for _, s := range f.begun {
		if !s.left {
			f.watching(s)
		}
	}
	f.mu.Unlock()
	g.Go(func() error {
		last := ""
		for {
			rows, err := f.store.Query(ctx, q.text, q.params, q.limits())
			if err != nil {
				return err
			}
			if hash := rows.Hash(); hash != last {
				if err := q.printer.print(rows); err != nil {
					return err
				}
				last = hash
			}
			select {
			case <-ctx.Done():
				return nil
			case <-changed:
			}
			pause(ctx, settle)
			select {
			case <-changed:
			default:
			}
		}
	})
	return g.Wait()
}

// isOwner tells whether a kind is no table here.
func (f *feed) isOwner(kind virtual.Kind) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.begun[kind]
	return s != nil && s.owner
}

// keep keeps the store's objects of a source as the cluster's are, until ctx ends. Possible errors: the API server
// refuses for good.
func (f *feed) keep(ctx context.Context, s *source) error {
	backoff := wait.Backoff{Duration: 200 * time.Millisecond, Cap: 10 * time.Second, Factor: 2, Jitter: 0.5, Steps: 50}
	delay := backoff.DelayWithReset(clock.RealClock{}, 2*time.Minute)
	told := ""
	for {
		err := f.catchUp(ctx, s)
		verb := "watch"
		if err == nil {
			told = ""
			err = f.follows(ctx, s)
		} else {
			verb = "list"
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
		case apierrors.IsResourceExpired(err), apierrors.IsGone(err):
			s.version = ""
		case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err), apierrors.IsNotFound(err), apierrors.IsMethodNotSupported(err):
			err = refused(s, f.namespace, verb, err)
			if !s.optional {
				return err
			}
			f.note("%v; the result may miss what it changes", err)
			return nil
		case err.Error() != told:
			told = err.Error()
			f.note("watching %s fails and is tried again: %v", s.Table(), err)
		}
		pause(ctx, delay())
	}
}

// catchUp lists a source of which a watch can't go on.
func (f *feed) catchUp(ctx context.Context, s *source) error {
	if s.version != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	return f.list(ctx, s)
}

// follows takes in what changes until the watch ends.
func (f *feed) follows(ctx context.Context, s *source) error {
	o := f.listOptions(s)
	seconds := watchSeconds
	o.ResourceVersion, o.AllowWatchBookmarks, o.TimeoutSeconds = s.version, true, &seconds
	var w watch.Interface
	var err error
	if s.owner {
		w, err = f.cluster.metadata.Resource(s.gvr()).Namespace(f.in(s)).Watch(ctx, o)
	} else {
		w, err = f.cluster.objects.Resource(s.gvr()).Namespace(f.in(s)).Watch(ctx, o)
	}
	if err != nil {
		return err
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, ok := <-w.ResultChan():
			if !ok {
				return nil
			}
			if err := f.happened(s, event); err != nil {
				return err
			}
		}
	}
}

// happened takes in an event of a watch.
func (f *feed) happened(s *source, event watch.Event) error {
	if event.Type == watch.Error {
		return apierrors.FromObject(event.Object)
	}
	about, err := meta.Accessor(event.Object)
	if err != nil {
		return errors.New("a watch brought what is no object")
	}
	version := about.GetResourceVersion()
	if event.Type != watch.Bookmark {
		object, err := f.object(s, event.Object)
		if err != nil {
			return err
		}
		if event.Type == watch.Deleted {
			_, _, err = f.store.Delete(object.Key)
		} else {
			_, _, err = f.store.PutObject(object)
		}
		if err != nil {
			return err
		}
	}
	s.version = version
	return nil
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
