package watcher

import (
	"context"
	"errors"
	"net"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// report tells people how watching a kind goes: a line when a problem begins and one when it is over, however often
// it is tried in between. That nobody can reach the API server is one problem, not one for each kind.
func (s *sources) report(src *source, err error) {
	switch {
	case err == nil:
		if s.unreachable.Swap(false) {
			s.log.Info("the Kubernetes API server is reached again")
		}
		if src.tell("") && src.known() {
			s.log.Info("a kind can be watched now", "kind", src.kind.String())
		}
	case errors.Is(err, context.Canceled):
		// This process ends.
	case isUnreachable(err):
		if !s.unreachable.Swap(true) {
			s.log.Warn("the Kubernetes API server can't be reached; trying again", "error", err)
		}
	case apierrors.IsNotFound(err), apierrors.IsResourceExpired(err), apierrors.IsGone(err),
		apierrors.HasStatusCause(err, "ResourceVersionTooLarge"):
		// Part of a watch's life: the reflector begins anew, and discovery finds whether the kind still exists.
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		if src.tell("forbidden") {
			s.log.Warn("watching a kind is forbidden; trying again. Grant get, list and watch on it",
				"kind", src.kind.String(), "error", err)
		}
		if src.ownerOnly() {
			// Nobody asked for this kind by name, so nobody shall wait for the permission.
			s.settle(src)
		}
	default:
		if src.tell("failing") {
			s.log.Warn("watching a kind fails; trying again", "kind", src.kind.String(), "error", err)
		}
	}
}

// isUnreachable tells an error of the way to the API server from one of its answers.
func isUnreachable(err error) bool {
	var status apierrors.APIStatus
	if errors.As(err, &status) || errors.Is(err, context.Canceled) {
		return false
	}
	var network net.Error
	var request *url.Error
	return errors.As(err, &request) || errors.As(err, &network)
}
