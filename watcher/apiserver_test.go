package watcher

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// apiServer is as much of an API server as reflectors see: discovery, lists, streamed lists and watches. It can lack
// kinds, forbid them, and be away.
type apiServer struct {
	*httptest.Server
	mu        sync.Mutex
	version   int
	kinds     map[virtual.Kind]*served
	away      bool
	forbidden map[virtual.Kind]bool
	broken    map[virtual.Kind]bool
	// plain: it can't stream initial lists. expired: no watch can go on where it was.
	plain, expired bool
	// asked are the paths and queries of all requests.
	asked []string
	stops []chan struct{}
}

type served struct {
	plural     string
	namespaced bool
	objects    map[string]map[string]any
	// watches take events as JSON lines, of the objects that they pick.
	watches map[chan []byte]picker
}

// picker picks objects as a request's namespace, label selector and field selector do.
type picker func(object map[string]any) bool

func newAPIServer(t *testing.T, kinds ...virtual.Kind) *apiServer {
	s := &apiServer{
		version: 100, kinds: map[virtual.Kind]*served{}, forbidden: map[virtual.Kind]bool{}, broken: map[virtual.Kind]bool{},
	}
	for _, kind := range kinds {
		s.create(kind)
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() { s.hangUp(); s.Close() })
	return s
}

// config refuses connections while the server is away.
func (s *apiServer) config() *rest.Config {
	return &rest.Config{Host: s.URL, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		s.mu.Lock()
		away := s.away
		s.mu.Unlock()
		if away {
			return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
}

// leave makes the server go away, with all connections.
func (s *apiServer) leave() {
	s.with(func() { s.away = true })
	s.hangUp()
	s.CloseClientConnections()
}

// create makes a kind exist.
func (s *apiServer) create(kind virtual.Kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kinds[kind] = &served{
		plural: strings.ToLower(kind.Kind) + "s", namespaced: kind.Kind != "Node", objects: map[string]map[string]any{}, watches: map[chan []byte]picker{},
	}
}

// with changes how the server behaves.
func (s *apiServer) with(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}

// hangUp ends all watches.
func (s *apiServer) hangUp() {
	s.mu.Lock()
	stops := s.stops
	s.stops = nil
	s.mu.Unlock()
	for _, stop := range stops {
		close(stop)
	}
}

func (s *apiServer) put(kind virtual.Kind, namespace, name, uid string, more ...any) {
	metadata := map[string]any{}
	for i := 0; i+1 < len(more); i += 2 {
		metadata[more[i].(string)] = more[i+1]
	}
	s.putObject(kind, namespace, name, uid, map[string]any{"metadata": metadata})
}

// putObject completes an object's metadata.
func (s *apiServer) putObject(kind virtual.Kind, namespace, name, uid string, object map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	metadata, _ := object["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
	}
	metadata["namespace"], metadata["name"], metadata["uid"] = namespace, name, uid
	metadata["resourceVersion"] = strconv.Itoa(s.version)
	metadata["managedFields"] = []any{map[string]any{"manager": "test"}}
	object["apiVersion"], object["kind"], object["metadata"] = kind.APIVersion(), kind.Kind, metadata
	k := s.kinds[kind]
	old := k.objects[namespace+"/"+name]
	k.objects[namespace+"/"+name] = object
	k.send(old, object)
}

func (s *apiServer) remove(kind virtual.Kind, namespace, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	k := s.kinds[kind]
	object := k.objects[namespace+"/"+name]
	delete(k.objects, namespace+"/"+name)
	object["metadata"].(map[string]any)["resourceVersion"] = strconv.Itoa(s.version)
	k.send(object, nil)
}

// send tells watches of an object's step. One that no longer is what a watch picks is deleted to it.
func (k *served) send(old, now map[string]any) {
	for w, picks := range k.watches {
		was, is := old != nil && picks(old), now != nil && picks(now)
		switch {
		case was && is:
			w <- eventLine("MODIFIED", now)
		case is:
			w <- eventLine("ADDED", now)
		case was && now != nil:
			w <- eventLine("DELETED", now)
		case was:
			w <- eventLine("DELETED", old)
		}
	}
}

func picks(namespace string, q url.Values) picker {
	selector, err := labels.Parse(q.Get("labelSelector"))
	if err != nil {
		panic(err) // the watcher's own
	}
	fields, err := fields.ParseSelector(q.Get("fieldSelector"))
	if err != nil {
		panic(err)
	}
	return func(object map[string]any) bool {
		u := unstructured.Unstructured{Object: object}
		kind, _ := object["type"].(string)
		return (namespace == "" || u.GetNamespace() == namespace) && selector.Matches(labels.Set(u.GetLabels())) &&
			fields.Matches(fieldSet{"metadata.name": u.GetName(), "type": kind})
	}
}

type fieldSet map[string]string

func (f fieldSet) Has(name string) bool   { _, ok := f[name]; return ok }
func (f fieldSet) Get(name string) string { return f[name] }

func eventLine(event string, object map[string]any) []byte {
	line, err := json.Marshal(map[string]any{"type": event, "object": object})
	if err != nil {
		panic(err) // test data
	}
	return append(line, '\n')
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.URL.String())
	path := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/api/"), "/apis/")
	var list []map[string]any
	for kind, k := range s.kinds {
		if path == kind.APIVersion() {
			list = append(list, map[string]any{"name": k.plural, "kind": kind.Kind, "namespaced": k.namespaced, "verbs": []string{"list", "watch"}},
				map[string]any{"name": k.plural + "/status", "kind": kind.Kind, "namespaced": k.namespaced, "verbs": []string{"patch"}})
		}
		rest, found := strings.CutPrefix(path, kind.APIVersion()+"/")
		if !found {
			continue
		}
		namespace := ""
		if in, ok := strings.CutPrefix(rest, "namespaces/"); ok {
			namespace, rest, _ = strings.Cut(in, "/")
		}
		plural, name, one := strings.Cut(rest, "/")
		switch {
		case plural != k.plural:
		case one:
			s.one(w, k, namespace, name)
			return
		default:
			s.serve(w, r, kind, k, picks(namespace, r.URL.Query()))
			return
		}
	}
	defer s.mu.Unlock()
	for kind := range s.broken {
		if path == kind.APIVersion() {
			status(w, 503, "ServiceUnavailable")
			return
		}
	}
	if group := s.group(path); group != nil {
		respond(w, group)
		return
	}
	if list == nil {
		status(w, 404, "NotFound")
		return
	}
	respond(w, map[string]any{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": path, "resources": list})
}

// group is what the server says of a group.
func (s *apiServer) group(name string) map[string]any {
	var versions []any
	for kind := range s.kinds {
		if kind.Group == name && name != "" {
			versions = append(versions, map[string]any{"groupVersion": kind.APIVersion(), "version": kind.Version})
		}
	}
	if versions == nil {
		return nil
	}
	return map[string]any{"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": versions, "preferredVersion": versions[0]}
}

// one gives out one object. It unlocks the server.
func (s *apiServer) one(w http.ResponseWriter, k *served, namespace, name string) {
	defer s.mu.Unlock()
	if object := k.objects[namespace+"/"+name]; object != nil {
		respond(w, object)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(404)
	_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"details":{"name":%q}}`, name)
}

// serve lists or watches a kind. It unlocks the server.
func (s *apiServer) serve(w http.ResponseWriter, r *http.Request, kind virtual.Kind, k *served, picks picker) {
	q := r.URL.Query()
	metadata := strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadata")
	if s.forbidden[kind] {
		status(w, 403, "Forbidden")
		s.mu.Unlock()
		return
	}
	if q.Get("watch") == "" {
		items := []any{}
		for _, o := range k.objects {
			if picks(o) {
				items = append(items, o)
			}
		}
		listKind := kind.Kind + "List"
		apiVersion := kind.APIVersion()
		if metadata {
			listKind, apiVersion = "PartialObjectMetadataList", "meta.k8s.io/v1"
		}
		respond(w, map[string]any{"apiVersion": apiVersion, "kind": listKind, "items": items,
			"metadata": map[string]any{"resourceVersion": strconv.Itoa(s.version)}})
		s.mu.Unlock()
		return
	}
	streamed := q.Get("sendInitialEvents") == "true"
	if streamed && s.plain {
		status(w, 422, "Invalid")
		s.mu.Unlock()
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if version, _ := strconv.Atoi(q.Get("resourceVersion")); !streamed && (s.expired || version < s.version) {
		_, _ = w.Write(eventLine("ERROR", map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410}))
		s.mu.Unlock()
		return
	}
	events, stop := make(chan []byte, 1000), make(chan struct{})
	if streamed {
		for _, o := range k.objects {
			if picks(o) {
				events <- eventLine("ADDED", o)
			}
		}
		events <- eventLine("BOOKMARK", map[string]any{"apiVersion": kind.APIVersion(), "kind": kind.Kind, "metadata": map[string]any{
			"resourceVersion": strconv.Itoa(s.version), "annotations": map[string]any{"k8s.io/initial-events-end": "true"},
		}})
	}
	k.watches[events] = picks
	s.stops = append(s.stops, stop)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(k.watches, events)
		s.stops = slices.DeleteFunc(s.stops, func(c chan struct{}) bool { return c == stop })
		s.mu.Unlock()
	}()
	w.WriteHeader(200)
	for flusher := w.(http.Flusher); ; flusher.Flush() {
		flusher.Flush()
		select {
		case line := <-events:
			_, _ = w.Write(line)
		case <-stop:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func status(w http.ResponseWriter, code int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d,"message":"no"}`, reason, code)
}

func respond(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
