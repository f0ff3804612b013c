package activities

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// refusal is a request that the API server didn't grant, or that didn't reach it.
type refusal struct {
	request access
	err     error
}

// record keeps the refusals of one attempt. It exists because Helm turns API errors into text, and because a 403 tells
// neither verb nor namespace: without it, both could only be judged by matching messages.
type record struct {
	mu       sync.Mutex
	refusals []refusal
}

type recordKey struct{}

// withRecord makes requests with the returned context leave their refusals in r.
func withRecord(ctx context.Context, r *record) context.Context {
	return context.WithValue(ctx, recordKey{}, r)
}

func (r *record) add(f refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.refusals) < 64 {
		r.refusals = append(r.refusals, f)
	}
}

func (r *record) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusals = nil
}

// all are the refusals since the last reset.
func (r *record) all() []refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]refusal(nil), r.refusals...)
}

// recorder is a transport that files refusals in its own record, or in that of the request's context.
type recorder struct {
	next http.RoundTripper
	to   *record
	// strict makes the server refuse unknown and duplicate fields in what is written.
	strict bool
}

// maxRefusal bounds how much of a refusal's body is read.
const maxRefusal = 64 << 10

// RoundTrip implements http.RoundTripper.
func (t *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.strict && (req.Method == http.MethodPost || req.Method == http.MethodPut || req.Method == http.MethodPatch) {
		req = req.Clone(req.Context())
		q := req.URL.Query()
		if !q.Has("fieldValidation") {
			q.Set("fieldValidation", metav1.FieldValidationStrict)
			req.URL.RawQuery = q.Encode()
		}
	}
	resp, err := t.next.RoundTrip(req)
	to := t.to
	if to == nil {
		to, _ = req.Context().Value(recordKey{}).(*record)
	}
	if to == nil {
		return resp, err
	}
	what := parseAccess(req.Method, req.URL.Path, req.URL.Query().Has("watch"))
	switch {
	case err != nil:
		if !errors.Is(err, context.Canceled) {
			to.add(refusal{what, err})
		}
	case resp.StatusCode < 400, resp.StatusCode == http.StatusNotFound && req.Method != http.MethodPost:
		// NotFound is how one learns that something isn't there; only for a POST does it mean a missing namespace or kind.
	default:
		head, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // a body cut short still has its status code
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(head), resp.Body), resp.Body}
		to.add(refusal{what, statusError(resp.StatusCode, what, head)})
	}
	return resp, err
}

// statusError is the error that a client-go client would have made of the response.
func statusError(code int, what access, body []byte) error {
	var s metav1.Status
	if json.Unmarshal(body, &s) == nil && s.Status == metav1.StatusFailure {
		return &apierrors.StatusError{ErrStatus: s}
	}
	return apierrors.NewGenericServerResponse(code, what.Verb, schema.GroupResource{Group: what.Group, Resource: what.Resource}, what.Name, "", 0, true)
}

// access is a request in the terms of authorization.
type access struct {
	Verb, Group, Version, Resource, Subresource, Namespace, Name string
}

// parseAccess reads a request's path. A path that names no resource gives an access without Resource.
func parseAccess(method, path string, watch bool) access {
	p := strings.Split(strings.Trim(path, "/"), "/")
	// The server may live under a prefix, as behind a proxy.
	for len(p) > 0 && p[0] != "api" && p[0] != "apis" {
		p = p[1:]
	}
	var a access
	switch {
	case len(p) >= 3 && p[0] == "api":
		a.Version, p = p[1], p[2:]
	case len(p) >= 4 && p[0] == "apis":
		a.Group, a.Version, p = p[1], p[2], p[3:]
	default:
		return access{}
	}
	if len(p) >= 3 && p[0] == "namespaces" && !(a.Group == "" && (p[2] == "status" || p[2] == "finalize")) {
		a.Namespace, p = p[1], p[2:]
	}
	a.Resource = p[0]
	if len(p) > 1 {
		a.Name = p[1]
	}
	if len(p) > 2 {
		a.Subresource = p[2]
	}
	a.Verb = map[string]string{
		http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete",
	}[method]
	switch {
	case a.Verb != "":
	case watch:
		a.Verb = "watch"
	case a.Name == "":
		a.Verb = "list"
	default:
		a.Verb = "get"
	}
	return a
}
