package watcher

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

const (
	// sweepTries is how often a sweep is tried that can't be done. It is for the rarest of cases: a resource that lost its
	// finalizer to somebody and went while nobody watched.
	sweepTries = 5
	// sweepPage is how many workflows are listed at a time, sweepTimeout bounds that.
	sweepPage    = 1000
	sweepTimeout = 30 * time.Second
)

// sweep finds the workflows whose resource went while nobody watched, and tells them. All others are told by the
// queues, but these have none.
//
// Temporal's list of workflows lags and so decides nothing: it only says where to look. The resource is asked for live.
func (w *Watcher) sweep(ctx context.Context) {
	var all sync.WaitGroup
	for _, op := range w.operators {
		all.Go(func() {
			delay := retries.DelayWithReset(clock.RealClock{}, 2*time.Minute)
			for try := 1; ctx.Err() == nil; try++ {
				if !w.sources.settled(op.kind) {
					pause(ctx, delay())
					try--
					continue
				}
				err := w.sweepOperator(ctx, op)
				if err == nil || ctx.Err() != nil {
					return
				}
				if try == sweepTries {
					w.log.Warn("workflows of resources that are gone can't be looked for; the next leader will", "operator", op.Name, "error", err)
					return
				}
				pause(ctx, delay())
			}
		})
	}
	all.Wait()
}

func (w *Watcher) sweepOperator(ctx context.Context, op *operator) error {
	query := fmt.Sprintf("WorkflowType='%s' AND TaskQueue='%s' AND ExecutionStatus='Running'", plan.WorkflowMaintain, op.Resource.TaskQueue())
	var token []byte
	for {
		bounded, cancel := context.WithTimeout(ctx, sweepTimeout)
		page, err := w.temporal.ListWorkflow(bounded, &workflowservice.ListWorkflowExecutionsRequest{
			Query: query, PageSize: sweepPage, NextPageToken: token,
		})
		cancel()
		if err != nil {
			return fmt.Errorf("list the workflows of %s: %w", op.Resource.CRD(), err)
		}
		present := w.workflows(op)
		for _, execution := range page.GetExecutions() {
			if id := execution.GetExecution().GetWorkflowId(); !present[id] {
				if err := w.sweepWorkflow(ctx, op, id); err != nil {
					return err
				}
			}
		}
		if token = page.GetNextPageToken(); len(token) == 0 {
			return nil
		}
	}
}

// sweepWorkflow tells a workflow that its resource is gone, if that is so.
func (w *Watcher) sweepWorkflow(ctx context.Context, op *operator, id string) error {
	parts := strings.Split(id, "/")
	if len(parts) != 4 || parts[0] != op.Resource.Plural {
		return nil
	}
	namespace, name, uid := parts[1], parts[2], parts[3]
	if namespace == "-" {
		namespace = ""
	}
	gvr := schema.GroupVersionResource{Group: op.Resource.Group, Version: op.Resource.Version, Resource: op.Resource.Plural}
	bounded, cancel := context.WithTimeout(ctx, discoveryTimeout)
	defer cancel()
	object, err := w.sources.cluster.metadata.Resource(gvr).Namespace(namespace).Get(bounded, name, metav1.GetOptions{})
	switch {
	case isGone(err, name):
	case err != nil:
		return fmt.Errorf("ask for %s %s/%s: %w", op.Resource.CRD(), namespace, name, err)
	case strings.HasPrefix(string(object.GetUID()), uid):
		return nil // it came while we looked
	}
	w.log.Info("a workflow's resource went while nobody watched", "workflow", id)
	gone := plan.ResourceSignal{Revision: op.Digest, Profile: plan.DefaultProfile, Gone: true}
	if err := w.temporal.SignalWorkflow(bounded, id, "", plan.SignalResource, gone); err != nil && !isNotFound(err) {
		return fmt.Errorf("tell the workflow %s that its resource is gone: %w", id, err)
	}
	return nil
}

// isGone tells the answer that an object isn't there from the one that its kind isn't, which may be a CRD's bad moment.
func isGone(err error, name string) bool {
	var status apierrors.APIStatus
	return apierrors.IsNotFound(err) && errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Name == name
}

// workflows are those of the resources that are there, as far as this process has seen.
func (w *Watcher) workflows(op *operator) map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := make(map[string]bool, len(w.byOperator[op]))
	for q := range w.byOperator[op] {
		ids[q.instance.WorkflowID()] = true
	}
	return ids
}
