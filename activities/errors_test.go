package activities

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/temporal"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/mainstay-dev/mainstay/specs/expr"
	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/specs/render"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

func TestClassify(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	kind := schema.GroupKind{Kind: "Pod"}
	status := func(s metav1.Status) error { return &apierrors.StatusError{ErrStatus: s} }
	bad := apierrors.NewInvalid(kind, "p", field.ErrorList{field.Required(field.NewPath("spec"), "")})
	tests := map[string]struct {
		err      error
		kind     string
		terminal bool
	}{
		"invalid":                         {bad, TypeInvalid, true},
		"strict decoding":                 {apierrors.NewBadRequest("unknown field"), TypeInvalid, true},
		"template":                        {fmt.Errorf("x: %w", &render.Error{Message: "m"}), TypeTemplate, true},
		"a statement":                     {fmt.Errorf("x: %w", &virtual.SQLError{Message: "m"}), TypeSQL, true},
		"a statement beyond its limits":   {fmt.Errorf("x: %w", &virtual.LimitError{Limit: "rows"}), TypeSQL, true},
		"a table that isn't known yet":    {fmt.Errorf("x: %w", &virtual.NotSyncedError{Table: "t"}), TypeNotReady, false},
		"an insertion of what is there":   {fmt.Errorf("x: %w", &virtual.ExistsError{Table: "t"}), TypeConflict, false},
		"a condition":                     {fmt.Errorf("x: %w", expr.Errors{{Message: "m"}}), TypeCondition, true},
		"a row in conflict":               {&conflict{err: apierrors.NewConflict(pods, "p", nil)}, TypeConflict, false},
		"forbidden, not asked yet":        {apierrors.NewForbidden(pods, "p", errors.New("no")), TypeForbidden, false},
		"namespace terminating":           {status(metav1.Status{Code: 403, Reason: metav1.StatusReasonForbidden, Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}}}), TypeDenied, false},
		"webhook without a reason":        {status(metav1.Status{Code: 400}), TypeDenied, false},
		"conflict":                        {apierrors.NewConflict(pods, "p", errors.New("old")), TypeConflict, false},
		"already exists":                  {apierrors.NewAlreadyExists(pods, "p"), TypeConflict, false},
		"not found":                       {apierrors.NewNotFound(pods, "p"), TypeNotFound, false},
		"no kind":                         {fmt.Errorf("x: %w", &meta.NoKindMatchError{GroupKind: kind}), TypeNoMatch, false},
		"throttled":                       {apierrors.NewTooManyRequests("slow", 3), TypeUnavailable, false},
		"server timeout":                  {apierrors.NewServerTimeout(pods, "get", 1), TypeUnavailable, false},
		"internal":                        {apierrors.NewInternalError(errors.New("x")), TypeUnavailable, false},
		"unauthorized":                    {apierrors.NewUnauthorized("x"), TypeUnavailable, false},
		"refused connection":              {&url.Error{Op: "Get", Err: errors.New("connection refused")}, TypeUnavailable, false},
		"deadline":                        {fmt.Errorf("x: %w", context.DeadlineExceeded), TypeTimeout, false},
		"stopping":                        {fmt.Errorf("x: %w", errStopping), TypeStopping, false},
		"our own judgement wins":          {fmt.Errorf("x: %w", notReady(bad)), TypeNotReady, false},
		"unknown":                         {errors.New("what"), TypeInternal, false},
		"the worst of what Helm hid":      {&refused{errors.New("text"), []error{apierrors.NewConflict(pods, "p", nil), bad}}, TypeInvalid, true},
		"the telling one of what it hid":  {&refused{errors.New("text"), []error{apierrors.NewConflict(pods, "p", nil), apierrors.NewNotFound(pods, "p")}}, TypeNotFound, false},
		"too large":                       {apierrors.NewRequestEntityTooLargeError("x"), TypeInvalid, true},
		"method that a kind doesn't know": {apierrors.NewMethodNotSupported(pods, "patch"), TypeInvalid, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := classify(tt.err)
			if f.Type != tt.kind || f.Terminal != tt.terminal {
				t.Errorf("got %s (terminal %v), want %s (terminal %v)", f.Type, f.Terminal, tt.kind, tt.terminal)
			}
			var app *temporal.ApplicationError
			if err := f.application(7); !errors.As(err, &app) || app.Type() != tt.kind || app.NonRetryable() != tt.terminal {
				t.Errorf("as Temporal has it: %v", err)
			}
			var detail plan.Failure
			if err := app.Details(&detail); err != nil || detail.Attempts != 7 {
				t.Errorf("detail: %+v, %v", detail, err)
			}
		})
	}
}

func TestMessages(t *testing.T) {
	secret := apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "s", field.ErrorList{field.Invalid(field.NewPath("data", "token"), "hunter2", "bad")})
	for _, err := range []error{secret, fmt.Errorf("apply: %w", secret), &refused{errors.New(secret.Error()), []error{secret}}} {
		if m := classify(err).message(); strings.Contains(m, "hunter2") || !strings.Contains(m, "data.token") {
			t.Errorf("message: %s", m)
		}
	}
	if m := classify(errors.New(strings.Repeat("ä", 5000))).message(); len(m) > maxMessage || !strings.HasSuffix(m, "ä…") {
		t.Errorf("length %d", len(m))
	}
}

func TestParseAccess(t *testing.T) {
	tests := map[string]access{
		"GET /api/v1/namespaces/n/pods/p":                              {"get", "", "v1", "pods", "", "n", "p"},
		"GET /api/v1/namespaces/n/pods":                                {"list", "", "v1", "pods", "", "n", ""},
		"POST /apis/apps/v1/namespaces/n/deployments":                  {"create", "apps", "v1", "deployments", "", "n", ""},
		"PATCH /apis/a.b/v1/namespaces/n/things/t/status":              {"patch", "a.b", "v1", "things", "status", "n", "t"},
		"DELETE /api/v1/namespaces/n":                                  {"delete", "", "v1", "namespaces", "", "", "n"},
		"PUT /api/v1/namespaces/n/finalize":                            {"update", "", "v1", "namespaces", "finalize", "", "n"},
		"GET /prefix/apis/rbac.authorization.k8s.io/v1/clusterroles/c": {"get", "rbac.authorization.k8s.io", "v1", "clusterroles", "", "", "c"},
		"GET /version":      {},
		"GET /apis/apps/v1": {},
		"POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews": {"create", "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "", "", ""},
	}
	for request, want := range tests {
		method, path, _ := strings.Cut(request, " ")
		if d := cmp.Diff(want, parseAccess(method, path, false)); d != "" {
			t.Errorf("%s: %s", request, d)
		}
	}
	if got := parseAccess(http.MethodGet, "/api/v1/pods", true); got.Verb != "watch" {
		t.Errorf("watch: %+v", got)
	}
}

func TestReporting(t *testing.T) {
	now := time.Now()
	if got := now.Add(10 * time.Second).Sub(reporting(now, now.Add(10*time.Second))); got != time.Second {
		t.Errorf("of 10 s: %s", got)
	}
	if got := now.Add(time.Hour).Sub(reporting(now, now.Add(time.Hour))); got != 5*time.Second {
		t.Errorf("of an hour: %s", got)
	}
}

func TestLocks(t *testing.T) {
	var l locks
	unlock, err := l.lock(context.Background(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := l.lock(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	other, err := l.lock(context.Background(), "b")
	if err != nil {
		t.Fatal(err)
	}
	other()
	go unlock()
	again, err := l.lock(context.Background(), "a")
	if err != nil {
		t.Fatal(err)
	}
	again()
	if len(l.held) != 0 {
		t.Errorf("%d locks are kept", len(l.held))
	}
}
