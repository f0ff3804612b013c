package activities

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"go.temporal.io/sdk/temporal"

	"github.com/mainstay-dev/mainstay/specs/expr"
	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/specs/render"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// This file alone says which error may be tried again. The rule: terminal is what stays wrong until a person changes
// the resource, the operator or Mainstay's permissions. Everything else, and everything unclear, is retryable.
//
// 403 Forbidden is many things: missing permission (terminal), but also an exceeded quota, a policy's refusal and a
// namespace that is being deleted (waiting helps). The status of the response doesn't tell them apart, except for the
// namespace. So the API server is asked whether we may do what was refused: only a clear no is terminal.
// A webhook's denial without a reason of its own comes as 400 without a reason, and is retryable.

// The types of the errors that activities return. They are stable: people filter by them.
const (
	TypeInvalid     = "Invalid"        // terminal: the API server will never take this
	TypeTemplate    = "TemplateError"  // terminal: a template's own fault
	TypeChart       = "ChartError"     // terminal: a chart that doesn't load or render
	TypeSQL         = "SQLError"       // terminal: a statement's own fault, or one that goes beyond its limits
	TypeCondition   = "ConditionError" // terminal: a condition's own fault
	TypeForbidden   = "Forbidden"      // terminal: Mainstay lacks a permission
	TypeGone        = "Gone"           // terminal: the custom resource is no more
	TypeDenied      = "Denied"         // a quota, a policy or a webhook refused it
	TypeConflict    = "Conflict"       // someone else has it, or was faster
	TypeNotFound    = "NotFound"       // a namespace or a target isn't there yet
	TypeNoMatch     = "NoMatch"        // the server doesn't know the kind yet
	TypeNotReady    = "NotReady"       // what was made isn't healthy yet
	TypeUnavailable = "Unavailable"    // the server is away, busy or slow
	TypeTimeout     = "Timeout"        // the attempt's time is over
	TypeStopping    = "WorkerStopping" // this process is shutting down
	TypeRevision    = "OtherRevision"  // this process has another revision of the operator's folder
	TypePanic       = "Panic"          // a bug; seldom the same twice
	TypeInternal    = "Internal"       // nothing of the above
)

// fault is an error with its judgement.
type fault struct {
	Type     string
	Terminal bool
	// Benign marks what is no error for those who operate Mainstay: it is logged low and not counted.
	Benign bool
	// After overrides the backoff; 0 leaves it.
	After time.Duration
	// Hint tells a person what to do now.
	Hint string
	Err  error
}

func (f *fault) Error() string { return f.Err.Error() }

func (f *fault) Unwrap() error { return f.Err }

func terminal(kind string, err error, hint string) error {
	return &fault{Type: kind, Terminal: true, Hint: hint, Err: err}
}

func retryable(kind string, err error, hint string) error {
	return &fault{Type: kind, Hint: hint, Err: err}
}

// invalid is the fault of what the author or the user wrote.
func invalid(err error, hint string) error { return terminal(TypeInvalid, err, hint) }

func notReady(err error) error { return &fault{Type: TypeNotReady, Benign: true, Err: err} }

// refused is an error whose text came from elsewhere and whose causes were seen on the wire.
type refused struct {
	err    error
	causes []error
}

func (r *refused) Error() string { return r.err.Error() }

func (r *refused) Unwrap() []error { return append([]error{r.err}, r.causes...) }

// errStopping is the cause of a wait that a shutdown of the worker ends.
var errStopping = errors.New("the worker is stopping")

// classify judges an error. It is pure; a Forbidden that it returns is not terminal yet, see denied.
func classify(err error) *fault {
	var own *fault
	if errors.As(err, &own) {
		f := *own
		f.Err = err
		return &f
	}
	var many *refused
	if errors.As(err, &many) && len(many.causes) > 0 {
		worst := classify(many.causes[0])
		for _, c := range many.causes[1:] {
			if f := classify(c); rank(f) > rank(worst) {
				worst = f
			}
		}
		worst.Err = err
		return worst
	}
	f := &fault{Type: TypeInternal, Err: err}
	var tpl *render.Error
	var api apierrors.APIStatus
	var network net.Error
	var address *url.Error
	var statement *virtual.SQLError
	var limit *virtual.LimitError
	var unsynced *virtual.NotSyncedError
	var exists *virtual.ExistsError
	var condition *expr.Error
	switch {
	case errors.As(err, &statement):
		f.Type, f.Terminal = TypeSQL, true // its text has the hint
	case errors.As(err, &limit):
		f.Type, f.Terminal = TypeSQL, true
		if limit.Limit == "changes" {
			f.Hint = "or raise maxRows"
		}
	case errors.As(err, &exists):
		f.Type = TypeConflict
	case errors.As(err, &unsynced):
		f.Type, f.Benign, f.Hint = TypeNotReady, true, "it is tried again when all objects of the table have been seen"
	case errors.As(err, &condition):
		f.Type, f.Terminal = TypeCondition, true // its text has the hint
	case errors.As(err, &tpl):
		f.Type, f.Terminal, f.Hint = TypeTemplate, true, tpl.Hint
	case meta.IsNoMatchError(err), asNoMatch(err):
		f.Type, f.Hint = TypeNoMatch, "install the CustomResourceDefinition of this kind"
	case errors.As(err, &api):
		classifyStatus(f, api.Status())
	case errors.Is(err, errStopping):
		f.Type, f.Benign, f.After = TypeStopping, true, time.Second
	case errors.Is(err, context.DeadlineExceeded):
		f.Type = TypeTimeout
	case errors.As(err, &network), errors.As(err, &address):
		f.Type = TypeUnavailable
	}
	return f
}

// rank orders faults: what no retry heals comes first, then what tells most.
func rank(f *fault) int {
	switch {
	case f.Terminal:
		return 3
	case f.Type == TypeForbidden:
		return 2
	case f.Type != TypeInternal && f.Type != TypeConflict:
		return 1
	}
	return 0
}

// asNoMatch finds a kind that wasn't found inside wrapped errors, where meta.IsNoMatchError doesn't look.
func asNoMatch(err error) bool {
	var kind *meta.NoKindMatchError
	var resource *meta.NoResourceMatchError
	return errors.As(err, &kind) || errors.As(err, &resource)
}

func classifyStatus(f *fault, s metav1.Status) {
	switch {
	case hasCause(s, corev1.NamespaceTerminatingCause):
		f.Type, f.Hint = TypeDenied, "the namespace is being deleted; wait until it is gone and make it anew"
	case s.Reason == metav1.StatusReasonInvalid:
		f.Type, f.Terminal = TypeInvalid, true
		f.Hint = "correct the field that the message names; an immutable one changes only with a new object"
	case s.Reason == metav1.StatusReasonBadRequest,
		s.Code == http.StatusMethodNotAllowed, s.Code == http.StatusNotAcceptable, s.Code == http.StatusUnsupportedMediaType:
		f.Type, f.Terminal, f.Hint = TypeInvalid, true, "correct what the message names"
	case s.Code == http.StatusRequestEntityTooLarge:
		f.Type, f.Terminal, f.Hint = TypeInvalid, true, "the object is too large for the API server"
	case s.Reason == metav1.StatusReasonForbidden, s.Code == http.StatusForbidden:
		f.Type = TypeForbidden
	case s.Reason == metav1.StatusReasonNotFound, s.Code == http.StatusNotFound:
		f.Type, f.Hint = TypeNotFound, "create what is missing"
	case s.Code == http.StatusConflict:
		f.Type = TypeConflict
	case s.Code == http.StatusUnprocessableEntity, s.Code == http.StatusBadRequest:
		// Without the API server's own reason it was an admission webhook that chose the code.
		f.Type = TypeDenied
	case s.Code == http.StatusUnauthorized, s.Code == http.StatusTooManyRequests, s.Code == http.StatusGone, s.Code >= 500:
		f.Type = TypeUnavailable
		if s.Details != nil && s.Details.RetryAfterSeconds > 0 {
			f.After = min(time.Duration(s.Details.RetryAfterSeconds)*time.Second, time.Minute)
		}
	}
}

func hasCause(s metav1.Status, cause metav1.CauseType) bool {
	if s.Details == nil {
		return false
	}
	for _, c := range s.Details.Causes {
		if c.Type == cause {
			return true
		}
	}
	return false
}

// denied settles a Forbidden: it asks the API server whether we may do what it refused. A clear no is terminal; if we
// may, then admission said no; if the server doesn't answer, the fault stays retryable.
func (c *cluster) denied(ctx context.Context, f *fault, refusals []refusal) {
	asked := false
	for _, r := range refusals {
		if !apierrors.IsForbidden(r.err) || r.request.Resource == "" || r.request.Verb == "" {
			continue
		}
		what := r.request
		review, err := c.typed.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb: what.Verb, Group: what.Group, Version: what.Version, Resource: what.Resource,
				Subresource: what.Subresource, Namespace: what.Namespace, Name: what.Name,
			}},
		}, metav1.CreateOptions{})
		if err != nil {
			return
		}
		if !review.Status.Allowed {
			resource := strings.TrimSuffix(what.Resource+"."+what.Group, ".")
			f.Terminal = true
			f.Hint = fmt.Sprintf("grant Mainstay's service account %q on %s in %s", what.Verb, resource, orAll(what.Namespace))
			return
		}
		asked = true
	}
	if asked {
		f.Type, f.Hint = TypeDenied, "a quota or an admission policy refused it; it is tried again"
	}
}

func orAll(namespace string) string {
	if namespace == "" {
		return "the whole cluster"
	}
	return "namespace " + namespace
}

// maxMessage bounds an error's text in histories and statuses.
const maxMessage = 1024

// application is the fault as Temporal records it. The cause is not attached: its text is in the message already, and
// chains of causes are what makes failures too large.
func (f *fault) application(attempts int32) error {
	return temporal.NewApplicationErrorWithOptions(f.message(), f.Type, temporal.ApplicationErrorOptions{
		NonRetryable:   f.Terminal,
		Details:        []any{plan.Failure{Attempts: attempts, Hint: f.Hint}},
		NextRetryDelay: f.After,
		Category:       f.category(),
	})
}

func (f *fault) category() temporal.ApplicationErrorCategory {
	if f.Benign {
		return temporal.ApplicationErrorCategoryBenign
	}
	return temporal.ApplicationErrorCategoryUnspecified
}

// message is the error's text, bounded, and without the values that the API server quotes when a Secret is invalid.
func (f *fault) message() string {
	var api apierrors.APIStatus
	if errors.As(f.Err, &api) {
		s := api.Status()
		if d := s.Details; d != nil && (d.Kind == "Secret" || d.Kind == "secrets") && s.Reason == metav1.StatusReasonInvalid {
			fields := make([]string, 0, len(d.Causes))
			for _, c := range d.Causes {
				fields = append(fields, c.Field)
			}
			return plan.Clip(fmt.Sprintf("Secret %q is invalid: %s", d.Name, strings.Join(fields, ", ")), maxMessage)
		}
	}
	return plan.Clip(f.Err.Error(), maxMessage)
}
