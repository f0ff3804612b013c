package watcher

import (
	"context"
	"errors"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// signaler is what the sender needs of Temporal's client.
type signaler interface {
	SignalWithStartWorkflow(ctx context.Context, workflowID, signalName string, signalArg any,
		options client.StartWorkflowOptions, workflow any, workflowArgs ...any) (client.WorkflowRun, error)
	SignalWorkflow(ctx context.Context, workflowID, runID, signalName string, arg any) error
	ListWorkflow(ctx context.Context, request *workflowservice.ListWorkflowExecutionsRequest) (
		*workflowservice.ListWorkflowExecutionsResponse, error)
}

const (
	// batch is how many changes a signal carries at most, listBatch a part of a resync: those are rare and may be large.
	batch     = 2000
	listBatch = 5000
	// maxSignal is how many bytes of changes a signal carries at most, before they are packed. That makes them a third:
	// far from the 512 KB of which Temporal warns, whatever the objects are called.
	maxSignal = 512 << 10
	// sendTimeout bounds one signal; the client tries again by itself within it.
	sendTimeout = 10 * time.Second
)

// The search attributes of a workflow.
var (
	attributeKind      = temporal.NewSearchAttributeKeyKeyword("MainstayKind")
	attributeNamespace = temporal.NewSearchAttributeKeyKeyword("MainstayNamespace")
	attributeName      = temporal.NewSearchAttributeKeyKeyword("MainstayName")
	attributePhase     = temporal.NewSearchAttributeKeyKeyword("MainstayPhase")
)

// sizeOf is about how many bytes a change takes that isn't packed.
func sizeOf(rule, namespace, name string) int { return len(rule) + len(namespace) + len(name) + 50 }

// outcome is how a turn ended: an error, a pause that is needed first, or whether something was sent and more waits.
type outcome struct {
	sent, more bool
	after      time.Duration
	err        error
}

// turn sends at most one batch from a queue. Only the resource's own state and the first part of a resync go out
// together: the workflow has just been started and waits for both.
func (s *sender) turn(ctx context.Context, q *queue) outcome {
	if s.fenced() {
		return outcome{after: time.Second}
	}
	s.mu.Lock()
	gone, want := q.gone, q.want
	known := q.sent != nil && *q.sent == want
	s.mu.Unlock()

	switch {
	case gone:
		return s.sendGone(ctx, q)
	case known:
		return s.sendObjects(ctx, q)
	}
	if o := s.sendResource(ctx, q, want); !o.sent {
		return o
	}
	o := s.sendObjects(ctx, q)
	o.sent = true
	return o
}

// sendResource tells the resource's state, and starts the workflow if there is none.
func (s *sender) sendResource(ctx context.Context, q *queue, want plan.ResourceSignal) outcome {
	if wait := s.throttle(q); wait > 0 {
		return outcome{after: wait}
	}
	bounded, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	q.limiter.Allow()
	run, err := s.temporal.SignalWithStartWorkflow(bounded, q.instance.WorkflowID(), plan.SignalResource, want,
		s.startOptions(q.instance), plan.WorkflowMaintain,
		plan.MaintainInput{Instance: q.instance, SearchAttributes: s.searchAttributes})
	// The workflow of this uid has come to its end, and stays so.
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	completed := errors.As(err, &started)
	if err != nil && !completed {
		return s.failed(ctx, q, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if completed && !q.completed && !want.Deleting {
		s.log.Warn("the workflow of a resource has ended while the resource is still there",
			"instance", q.instance.String(), "workflow", q.instance.WorkflowID())
	}
	q.sent, q.completed = &want, completed
	if !completed && run != nil {
		if q.run != "" && q.run != run.GetRunID() {
			// Another run than last time: it may have replaced one that a person ended, and then it knows nothing.
			q.unsynced, q.list = true, nil
		}
		q.run = run.GetRunID()
	}
	return outcome{sent: true}
}

func (s *sender) startOptions(i plan.Instance) client.StartWorkflowOptions {
	options := client.StartWorkflowOptions{
		ID:                    i.WorkflowID(),
		TaskQueue:             i.Resource.TaskQueue(),
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY,
		StaticSummary:         summary(i.String()),
	}
	if s.searchAttributes {
		options.TypedSearchAttributes = temporal.NewSearchAttributes(
			attributeKind.ValueSet(i.Resource.Kind),
			attributeNamespace.ValueSet(i.Namespace),
			attributeName.ValueSet(i.Name),
			attributePhase.ValueSet(string(plan.PhaseDeploying)),
		)
	}
	return options
}

// summary fits Temporal's limit of 200 bytes.
func summary(s string) string { return s[:min(len(s), 200)] }

// sendGone tells a workflow that its resource is no longer there. It never starts one: none is none to tell.
func (s *sender) sendGone(ctx context.Context, q *queue) outcome {
	s.mu.Lock()
	signal := q.want
	s.mu.Unlock()
	signal.Gone = true
	err := s.signal(ctx, q, plan.SignalResource, signal)
	if err != nil && !isNotFound(err) {
		return s.failed(ctx, q, err)
	}
	s.drop(q)
	return outcome{sent: true}
}

// sendObjects tells of objects: all of them if a resync is due and possible, else those that changed.
func (s *sender) sendObjects(ctx context.Context, q *queue) outcome {
	if wait := s.throttle(q); wait > 0 {
		return outcome{after: wait}
	}
	s.mu.Lock()
	switch {
	case q.completed, q.profile != nil && q.profile.silent():
		// Nobody to tell, or nothing.
		q.unsynced, q.list = false, nil
		q.forget()
		s.mu.Unlock()
		return outcome{}
	case q.list == nil && q.unsynced && q.profile != nil && s.resyncable(q):
		// What changed so far is in the list; what changes from here on comes after it.
		q.list = &list{profile: q.profile}
		q.dirty, q.order = nil, nil
	}
	l := q.list
	waits := l == nil && q.unsynced && time.Now().Before(q.patience)
	profile := q.profile
	partial := l == nil && q.unsynced && !waits && !q.partial && profile != nil
	q.partial = q.partial || partial
	s.mu.Unlock()
	switch {
	case waits:
		return outcome{}
	case l != nil:
		return s.sendPart(ctx, q, l)
	case partial:
		s.pushSeen(q, profile)
	}
	return s.sendDirty(ctx, q)
}

// sendDirty tells of the objects that changed.
func (s *sender) sendDirty(ctx context.Context, q *queue) outcome {
	s.mu.Lock()
	targets := q.take()
	profile, label := q.profile, q.label
	s.mu.Unlock()
	if len(targets) == 0 {
		return outcome{}
	}
	changes := make([]plan.Change, len(targets))
	for i, t := range targets {
		changes[i] = s.look(q, profile, label, t)
	}

	s.mu.Lock()
	if q.profile != profile {
		s.mu.Unlock()
		return outcome{more: true}
	}
	news := 0
	for i, t := range targets {
		known, told := q.acked[t]
		now := viewOf(changes[i])
		if told && known == now || !told && now == absent && !q.unsynced {
			continue
		}
		// Until the answer is there, the workflow may or may not know.
		q.acknowledge(t, unknown)
		targets[news], changes[news] = t, changes[i]
		news++
	}
	targets, changes = targets[:news], changes[:news]
	more := len(q.order) > 0
	s.mu.Unlock()
	if news == 0 {
		return outcome{more: more}
	}

	err := s.signal(ctx, q, plan.SignalDirty, plan.Dirty{At: time.Now().UnixNano(), Changes: changes})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if q.profile == profile && !q.gone {
			for _, t := range targets {
				q.push(t)
			}
		}
		return s.lost(ctx, q, err)
	}
	if q.profile == profile && !q.gone {
		for i, t := range targets {
			q.acknowledge(t, viewOf(changes[i]))
		}
	}
	return outcome{sent: true, more: len(q.order) > 0}
}

// look reads how a target is now. An object that is gone, or no longer the rule's, has no hash.
func (s *sender) look(q *queue, profile *profile, label string, t target) plan.Change {
	rule := profile.rules[t.rule]
	if rule.Watch.SQL != nil {
		return s.answered(q, profile, t)
	}
	key := virtual.Key{Kind: rule.Kind, Namespace: t.namespace, Name: t.name}
	object, ok := s.store.Get(key)
	if ok && rule.Sees(q.instance, label, object) {
		return rule.Change(object)
	}
	if !ok {
		object, _ = s.store.Tombstone(key)
	}
	return plan.Change{
		Rule: rule.Name, Namespace: t.namespace, Name: t.name,
		UID: plan.ShortUID(object.UID), ResourceVersion: object.ResourceVersion,
	}
}

// throttle is how long a queue must wait before it may send. The token itself is taken when something is sent.
func (s *sender) throttle(q *queue) time.Duration {
	if missing := 1 - q.limiter.Tokens(); missing > 0 {
		return time.Duration(missing / float64(signalRate) * float64(time.Second))
	}
	return 0
}

func (s *sender) signal(ctx context.Context, q *queue, name string, arg any) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	q.limiter.Allow()
	return s.temporal.SignalWorkflow(ctx, q.instance.WorkflowID(), "", name, arg)
}

// lost is the outcome of a signal that was not acknowledged. If there is no workflow to take it, the next turn tells
// the resource's state, which starts one, and then everything. The mutex is held.
func (s *sender) lost(ctx context.Context, q *queue, err error) outcome {
	if isNotFound(err) && !q.gone {
		q.sent, q.unsynced, q.list = nil, true, nil
		if q.failures == 0 {
			return outcome{err: err}
		}
	}
	return s.failed(ctx, q, err)
}

// failed is the outcome of a signal that will be tried again. When Temporal is away every instance fails again and again:
// a line each ten seconds is enough to say so.
func (s *sender) failed(ctx context.Context, q *queue, err error) outcome {
	if ctx.Err() == nil {
		s.complaints.Do(func() {
			s.log.Warn("a workflow can't be signalled; trying again", "instance", q.instance.String(), "error", err)
		})
	}
	return outcome{err: err}
}

func isNotFound(err error) bool {
	var notFound *serviceerror.NotFound
	return errors.As(err, &notFound)
}
