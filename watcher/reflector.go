package watcher

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/mainstay-dev/mainstay/specs/sense"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// notHelm leaves Helm's release Secrets out: large, many, and nobody's business.
const notHelm = "type!=helm.sh/release.v1"

// reflect runs the reflectors of a kind that exists, until ctx ends, the API server no longer knows the kind, or more of
// it is needed.
func (s *sources) reflect(ctx context.Context, src *source, resource virtual.Resource) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parts := s.begin(src, resource.Namespaced, cancel)
	if len(parts) == 0 {
		s.settle(src)
		<-ctx.Done()
		return
	}
	var all sync.WaitGroup
	for _, p := range parts {
		all.Go(func() {
			defer cancel()
			s.reflectPart(ctx, src, p, resource)
		})
	}
	all.Wait()
}

// reflectPart runs one reflector.
func (s *sources) reflectPart(ctx context.Context, src *source, p *part, resource virtual.Resource) {
	// Problems are told by report, once each.
	silent := logr.Discard()
	reflector := cache.NewReflectorWithOptions(s.listWatch(src, p, resource), nil, &sink{sources: s, source: src, part: p},
		cache.ReflectorOptions{
			Logger:          &silent,
			Name:            "mainstay",
			TypeDescription: src.kind.String(),
			Backoff:         &retries,
		})
	delay := retries.DelayWithReset(clock.RealClock{}, 2*time.Minute)
	quiet := logr.NewContext(ctx, silent)
	for ctx.Err() == nil {
		// It returns when its watch can't go on where it was: the version has expired, or the server refuses.
		err := reflector.ListAndWatchWithContext(quiet)
		if apierrors.IsNotFound(err) {
			return
		}
		if err != nil && ctx.Err() == nil {
			s.report(src, err)
		}
		pause(ctx, delay())
	}
}

// listWatch lists and watches a part of a kind, and reports how that goes.
func (s *sources) listWatch(src *source, p *part, resource virtual.Resource) cache.ListerWatcher {
	gvr := schema.GroupVersionResource{Group: src.kind.Group, Version: src.kind.Version, Resource: resource.Plural}
	narrow := func(o *metav1.ListOptions) {
		o.LabelSelector = p.selector
		o.FieldSelector = p.fieldSelector()
		if sense.IsSecret(src.kind) {
			o.FieldSelector = p.fieldSelector(notHelm)
		}
	}
	list := func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		if p.metadata {
			return s.cluster.metadata.Resource(gvr).Namespace(p.namespace).List(ctx, o)
		}
		return s.cluster.objects.Resource(gvr).Namespace(p.namespace).List(ctx, o)
	}
	open := func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		if p.metadata {
			return s.cluster.metadata.Resource(gvr).Namespace(p.namespace).Watch(ctx, o)
		}
		return s.cluster.objects.Resource(gvr).Namespace(p.namespace).Watch(ctx, o)
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			narrow(&o)
			if o.ResourceVersion == "0" {
				// "0" allows a server's stale cache. A resync from the past would tell of deletions that never were.
				o.ResourceVersion = ""
			}
			objects, err := list(ctx, o)
			s.report(src, err)
			return objects, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			narrow(&o)
			w, err := open(ctx, o)
			// A server that can't stream the initial state is asked for a list next, and what is wrong shows then.
			if err == nil || o.SendInitialEvents == nil || isUnreachable(err) {
				s.report(src, err)
			}
			return w, err
		},
	}
}
