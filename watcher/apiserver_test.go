package watcher

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

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
	// watches take events as JSON lines.
	watches map[chan []byte]bool
}

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
		plural: strings.ToLower(kind.Kind) + "s", namespaced: kind.Kind != "Node", objects: map[string]map[string]any{}, watches: map[chan []byte]bool{},
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
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	metadata := map[string]any{
		"namespace": namespace, "name": name, "uid": uid, "resourceVersion": strconv.Itoa(s.version),
		"managedFields": []any{map[string]any{"manager": "test"}},
	}
	for i := 0; i+1 < len(more); i += 2 {
		metadata[more[i].(string)] = more[i+1]
	}
	object := map[string]any{"apiVersion": kind.APIVersion(), "kind": kind.Kind, "metadata": metadata}
	k := s.kinds[kind]
	event := "ADDED"
	if k.objects[namespace+"/"+name] != nil {
		event = "MODIFIED"
	}
	k.objects[namespace+"/"+name] = object
	k.send(event, object)
}

func (s *apiServer) remove(kind virtual.Kind, namespace, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	k := s.kinds[kind]
	object := k.objects[namespace+"/"+name]
	delete(k.objects, namespace+"/"+name)
	object["metadata"].(map[string]any)["resourceVersion"] = strconv.Itoa(s.version)
	k.send("DELETED", object)
}

func (k *served) send(event string, object map[string]any) {
	line := eventLine(event, object)
	for w := range k.watches {
		w <- line
	}
}

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
		switch path {
		case kind.APIVersion():
			list = append(list, map[string]any{"name": k.plural, "kind": kind.Kind, "namespaced": k.namespaced, "verbs": []string{"list", "watch"}},
				map[string]any{"name": k.plural + "/status", "kind": kind.Kind, "namespaced": k.namespaced, "verbs": []string{"patch"}})
		case kind.APIVersion() + "/" + k.plural:
			s.serve(w, r, kind, k)
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
	if list == nil {
		status(w, 404, "NotFound")
		return
	}
	answer(w, map[string]any{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": path, "resources": list})
}

// serve lists or watches a kind. It unlocks the server.
func (s *apiServer) serve(w http.ResponseWriter, r *http.Request, kind virtual.Kind, k *served) {
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
			items = append(items, o)
		}
		listKind := kind.Kind + "List"
		apiVersion := kind.APIVersion()
		if metadata {
			listKind, apiVersion = "PartialObjectMetadataList", "meta.k8s.io/v1"
		}
		answer(w, map[string]any{"apiVersion": apiVersion, "kind": listKind, "items": items,
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
			events <- eventLine("ADDED", o)
		}
		events <- eventLine("BOOKMARK", map[string]any{"apiVersion": kind.APIVersion(), "kind": kind.Kind, "metadata": map[string]any{
			"resourceVersion": strconv.Itoa(s.version), "annotations": map[string]any{"k8s.io/initial-events-end": "true"},
		}})
	}
	k.watches[events] = true
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

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
