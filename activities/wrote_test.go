package activities

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mainstay-dev/mainstay/specs"
	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/specs/sense"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

var services = virtual.Kind{Version: "v1", Kind: "Service"}

// offline is an attempt that reaches no cluster, for a rule of a profile.
func offline(store *virtual.Store, rules ...plan.Rule) *attempt {
	op := &specs.Operator{Plan: &plan.Operator{Name: "o", Profiles: map[string]*plan.Profile{plan.DefaultProfile: {Rules: rules}}}}
	t := &attempt{
		Activities: &Activities{objects: store, marks: newMarks(), log: slog.New(slog.DiscardHandler)},
		op:         op, log: slog.New(slog.DiscardHandler), rec: &record{}, stop: make(chan struct{}),
		in: plan.CommandInput{
			Instance: plan.Instance{Resource: widgets, Namespace: "default", Name: "demo", UID: "uid-demo"},
			Event:    &plan.Event{Rule: "r"},
		},
	}
	t.phase("testing", "")
	return t
}

func openStore(t *testing.T) *virtual.Store {
	t.Helper()
	s, err := virtual.Open(virtual.Options{InstanceLabel: plan.InstanceLabel})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// service is a decoded Service of a version.
func service(t *testing.T, version, more string) map[string]any {
	t.Helper()
	m, err := decodeObject(fmt.Appendf(nil,
		`{"apiVersion":"v1","kind":"Service","metadata":{"name":"s","namespace":"default","uid":"uid-of-service-s","resourceVersion":%q%s`, version, more))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func watches(name string, w plan.Watch) plan.Rule {
	if len(w.Categories) == 0 {
		w.Categories = []plan.Category{plan.DidChange}
	}
	if w.Kind == "" {
		w.APIVersion, w.Kind = "v1", "Service"
	}
	return plan.Rule{Name: name, Watch: w}
}

func TestWrote(t *testing.T) {
	const a, b = `},"spec":{"a":1}}`, `},"spec":{"a":2}}`
	key := virtual.Key{Kind: services, Namespace: "default", Name: "s"}
	cluster := plan.Watch{Scope: plan.ScopeCluster}
	tests := []struct {
		name          string
		watch         plan.Watch
		before, now   string
		unsure        bool
		was, is, none bool
	}{
		{name: "a change", watch: cluster, before: a, now: b, was: true, is: true},
		{name: "what was is not known", watch: cluster, before: a, now: b, unsure: true, is: true},
		{name: "a creation", watch: cluster, now: b, is: true},
		{name: "a deletion", watch: cluster, before: a, was: true},
		{name: "another field", watch: plan.Watch{Scope: plan.ScopeCluster, Fields: []string{"spec.b"}}, before: a, now: b, none: true},
		{name: "another name", watch: plan.Watch{Scope: plan.ScopeCluster, Name: "z"}, before: a, now: b, none: true},
		{name: "another kind", watch: plan.Watch{Scope: plan.ScopeCluster, APIVersion: "v1", Kind: "Pod"}, before: a, now: b, none: true},
		{name: "another instance's", watch: plan.Watch{}, before: a, now: b, none: true},
		{name: "comes into view", watch: plan.Watch{Scope: plan.ScopeCluster, Selector: "x=y"}, before: a, now: `,"labels":{"x":"y"}` + b, is: true},
		{name: "leaves the view", watch: plan.Watch{Scope: plan.ScopeCluster, Selector: "x=y"}, before: `,"labels":{"x":"y"}` + a, now: b, was: true},
	}
	for _, tt := range tests {
		at := offline(nil, watches("r", tt.watch))
		s := step{key: key, unsure: tt.unsure}
		if tt.before != "" {
			s.before = service(t, "7", tt.before)
		}
		if tt.now != "" {
			s.now = service(t, "8", tt.now)
		}
		at.left(s)
		if tt.none {
			if len(at.wrote) != 0 {
				t.Errorf("%s: %+v", tt.name, at.wrote)
			}
			continue
		}
		if len(at.wrote) != 1 {
			t.Errorf("%s: %+v", tt.name, at.wrote)
			continue
		}
		// It must be word for word what the watcher will say of the same object.
		rule := at.rules()[0]
		hash := func(there bool, m map[string]any) string {
			if !there {
				return ""
			}
			o, err := asStored(key, m)
			if err != nil {
				t.Fatal(err)
			}
			return rule.Change(o).Hash
		}
		want := plan.Change{Rule: "r", Namespace: "default", Name: "s", UID: plan.ShortUID("uid-of-service-s"), Was: hash(tt.was, s.before), Hash: hash(tt.is, s.now)}
		if tt.unsure {
			want.Was = unsure
		}
		if tt.is {
			want.ResourceVersion = "8"
		}
		if d := cmp.Diff(want, at.wrote[0]); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
}

// Whose an object without a label is, the store knows; and of a Secret the rules know digests.
func TestWroteAsSeen(t *testing.T) {
	store := openStore(t)
	at := offline(store, watches("r", plan.Watch{}), watches("s", plan.Watch{APIVersion: "v1", Kind: "Secret", Scope: plan.ScopeCluster}))
	if err := store.BindOwner("uid-demo", at.in.Instance.Label()); err != nil {
		t.Fatal(err)
	}
	key := virtual.Key{Kind: services, Namespace: "default", Name: "s"}
	owned := `,"ownerReferences":[{"uid":"uid-demo"}]`
	before, now := service(t, "7", owned+`},"spec":{"a":1}}`), service(t, "8", owned+`},"spec":{"a":2}}`)
	b, err := virtual.Encode(before)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Put(key, b); err != nil {
		t.Fatal(err)
	}
	at.left(step{key: key, before: before, now: now})
	if len(at.wrote) != 1 {
		t.Fatalf("%+v", at.wrote)
	}
	secret := map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "k", "uid": "u", "resourceVersion": "9"}, "data": map[string]any{"a": "aHVudGVyMg=="}}
	secretKey := virtual.Key{Kind: virtual.Kind{Version: "v1", Kind: "Secret"}, Name: "k"}
	at.left(step{key: secretKey, now: secret})
	if secret["data"].(map[string]any)["a"] != "aHVudGVyMg==" {
		t.Error("the caller's Secret was touched")
	}
	sense.Redact(secretKey.Kind, secret)
	o, err := asStored(secretKey, secret)
	if err != nil {
		t.Fatal(err)
	}
	if len(at.wrote) != 2 || at.wrote[1].Hash != o.Hash() {
		t.Errorf("%+v", at.wrote)
	}
	// A command of no rule tells none.
	at.in.Event, at.wrote = nil, nil
	if at.left(step{key: key, now: now}); at.wrote != nil {
		t.Errorf("%+v", at.wrote)
	}
}

func TestWroteIsBounded(t *testing.T) {
	at := offline(nil, watches("r", plan.Watch{Scope: plan.ScopeCluster}))
	for n := range plan.MaxWrote + 10 {
		u := metadataOf(service(t, fmt.Sprint(n+1), `},"spec":{}}`))
		u.SetName(fmt.Sprint("s", n))
		at.left(step{key: virtual.Key{Kind: services, Namespace: "default", Name: u.GetName()}, now: u.Object})
	}
	if len(at.wrote) != plan.MaxWrote {
		t.Errorf("%d", len(at.wrote))
	}
}

// A reader waits for what was written before it, and for that only.
func TestMarks(t *testing.T) {
	store := openStore(t)
	store.SetSynced(services, true)
	key := virtual.Key{Kind: services, Namespace: "default", Name: "s"}
	put := func(version string) {
		t.Helper()
		b, err := virtual.Encode(service(t, version, `},"spec":{}}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := store.Put(key, b); err != nil {
			t.Fatal(err)
		}
	}
	put("7")
	m := newMarks()
	waits := func(kinds ...virtual.Kind) bool {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
		defer cancel()
		err := m.await(ctx, store, "i", kinds)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		return err != nil
	}
	m.wrote("i", key, "9")
	m.wrote("i", key, "8") // side by side: it was the earlier one
	m.wrote("other", key, "100")
	m.wrote("i", virtual.Key{Kind: virtual.Kind{Version: "v1", Kind: "Pod"}, Name: "p"}, "100")
	if !waits(services) {
		t.Error("version 7 is not what was written")
	}
	put("8")
	if !waits(services) {
		t.Error("version 8 is not what was written last")
	}
	put("9")
	if waits(services) {
		t.Error("waits for what is there")
	}
	if waits(virtual.Kind{Version: "v1", Kind: "Pod"}) {
		t.Error("waits for a kind that nobody watches")
	}
	if waits() {
		t.Error("waits for a kind that nobody reads")
	}
	m.deleted("i", key, "uid-of-service-s")
	if !waits(services) {
		t.Error("it is still there")
	}
	if _, _, err := store.Delete(key); err != nil {
		t.Fatal(err)
	}
	if waits(services) {
		t.Error("it is gone")
	}
	// A wait that has begun is ended by the change.
	m.wrote("i", key, "12")
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ended <- m.await(ctx, store, "i", []virtual.Kind{services})
	}()
	put("12")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
