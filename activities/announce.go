package activities

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"go.temporal.io/sdk/activity"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// announce emits a Kubernetes Event on the custom resource. Its name is made of what it says, so that a second attempt
// says it no second time, and neither does a workflow that is run again, for as long as the API server keeps Events.
func (a *Activities) announce(ctx context.Context, in plan.AnnounceInput) error {
	rec := &record{}
	ctx = withRecord(ctx, rec)
	sum := sha256.Sum256([]byte(in.Instance.UID + "\x00" + in.Type + "\x00" + in.Reason + "\x00" + in.Message))
	event := eventOn(in.Instance, in.Type, in.Reason, in.Message)
	event.Name = eventPrefix(in.Instance) + hex.EncodeToString(sum[:8])
	_, err := a.cluster.typed.EventsV1().Events(event.Namespace).Create(ctx, event, metav1.CreateOptions{})
	switch {
	case err == nil, apierrors.IsAlreadyExists(err):
		return nil
	case apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil // where the namespace goes, nobody looks
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	f := classify(fmt.Errorf("emit an Event on %s: %w", in.Instance, err))
	if f.Type == TypeForbidden {
		a.cluster.denied(ctx, f, rec.all())
	}
	return f.application(activity.GetInfo(ctx).Attempt)
}

// eventPrefix is how the names of an instance's Events begin.
func eventPrefix(i plan.Instance) string { return i.Name[:min(200, len(i.Name))] + "-" }

// eventOn is an Event about a custom resource; it still needs a name.
func eventOn(i plan.Instance, kind, reason, message string) *eventsv1.Event {
	namespace := i.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	host, _ := os.Hostname() // "" is filled in below
	if host == "" {
		host = fieldManager
	}
	return &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: namespace},
		EventTime:           metav1.NowMicro(),
		ReportingController: plan.Domain + "/mainstay", ReportingInstance: plan.Clip(host, 120),
		Action: reason, Reason: reason, Note: plan.Clip(message, maxMessage), Type: kind,
		Regarding: corev1.ObjectReference{
			APIVersion: i.Resource.APIVersion(), Kind: i.Resource.Kind, Namespace: i.Namespace, Name: i.Name, UID: types.UID(i.UID),
		},
	}
}
