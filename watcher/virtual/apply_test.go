package virtual

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func object(t testing.TB, k Key, uid, version string, more ...string) Object {
	t.Helper()
	o, err := NewObject(k, document(k, uid, version, more...))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// told collects what a store tells of its changes.
func told(s *Store) *[]string {
	var all []string
	s.OnChange(func(c Change) {
		all = append(all, fmt.Sprintf("%s %s>%s", c.Key.Name, c.Old.ResourceVersion, c.Now.ResourceVersion))
	})
	return &all
}

func TestReplace(t *testing.T) {
	for _, synced := range []bool{false, true} {
		s := open(t)
		s.SetSynced(pods, synced)
		for _, name := range []string{"a", "b", "c"} {
			put(t, s, key(pods, "n", name), "u"+name, "1")
		}
		put(t, s, key(services, "n", "a"), "us", "1")
		changes := told(s)
		err := s.Replace(pods, []Object{
			object(t, key(pods, "n", "b"), "ub", "1"), object(t, key(pods, "n", "d"), "ud", "2"), object(t, key(pods, "n", "c"), "uc", "3"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"d >2", "c 1>3", "a 1>"}, *changes); diff != "" {
			t.Error(diff)
		}
		if _, ok := s.Get(key(services, "n", "a")); !ok {
			t.Error("an object of another kind is gone")
		}
		if err := s.Replace(pods, nil); err != nil {
			t.Fatal(err)
		}
		if grave, ok := s.Tombstone(key(pods, "n", "d")); !ok || grave.UID != "ud" {
			t.Errorf("tombstone: %+v, %v", grave, ok)
		}
		for _, wrong := range []Object{{}, {Key: key(pods, "n", "a"), Deleted: true}, object(t, key(services, "n", "x"), "u", "1")} {
			if err := s.Replace(pods, []Object{wrong}); err == nil {
				t.Errorf("%+v was taken", wrong)
			}
		}
	}
}

// TestReplaceMany goes over more objects than one batch, and keeps what membership an object had.
func TestReplaceMany(t *testing.T) {
	s := open(t)
	if err := s.BindOwner("cr", "x"); err != nil {
		t.Fatal(err)
	}
	var list []Object
	for i := range 3*batch + 7 {
		list = append(list, object(t, key(pods, "n", fmt.Sprintf("%04d", i)), fmt.Sprint("u", i), "1", owned("cr")))
	}
	changes := told(s)
	for range 2 {
		if err := s.Replace(pods, list); err != nil {
			t.Fatal(err)
		}
		n := 0
		s.ByInstance("x", pods, func(Object) bool { n++; return true })
		if n != len(list) {
			t.Fatalf("%d of %d objects belong to the instance", n, len(list))
		}
	}
	// What is there already is nothing new.
	if len(*changes) != len(list) {
		t.Errorf("%d changes for %d objects", len(*changes), len(list))
	}
}

func TestApplyTwiceTheSame(t *testing.T) {
	s := open(t)
	changes := told(s)
	k := key(pods, "n", "a")
	if err := s.Apply([]Object{object(t, k, "u", "1"), object(t, k, "u", "2"), {Key: k, Deleted: true}, object(t, k, "u", "3")}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a >1", "a 1>2", "a 2>", "a >3"}, *changes); diff != "" {
		t.Error(diff)
	}
	if o, ok := s.Get(k); !ok || o.ResourceVersion != "3" {
		t.Errorf("%+v, %v", o, ok)
	}
}

func TestEvents(t *testing.T) {
	s, err := Open(Options{Events: 6})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	seen := func() (all []string) {
		for _, e := range s.events.all() {
			all = append(all, fmt.Sprintf("%s %s %s %s", e.category, e.Name, e.uid, e.resourceVersion))
		}
		return all
	}
	if got := seen(); len(got) > 0 {
		t.Errorf("nothing has happened, yet %q", got)
	}
	a, b := key(pods, "n", "a"), key(pods, "n", "b")
	put(t, s, a, "u1", "1")
	put(t, s, a, "u1", "1")
	put(t, s, a, "u1", "2")
	put(t, s, a, "u1", "3", `"labels":{"x":"y"}`)
	put(t, s, a, "u2", "4")
	if _, _, err := s.Delete(a); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"ResourceDidCreate a u1 1", "ResourceDidUpdate a u1 3", "ResourceDidDelete a u1 3", "ResourceDidCreate a u2 4", "ResourceDidDelete a u2 4",
	}
	if diff := cmp.Diff(want, seen()); diff != "" {
		t.Error(diff)
	}
	put(t, s, b, "u3", "5")
	put(t, s, b, "u3", "6", `"labels":{"x":"y"}`)
	want = append(want[1:], "ResourceDidCreate b u3 5", "ResourceDidUpdate b u3 6")
	if diff := cmp.Diff(want, seen()); diff != "" {
		t.Error(diff)
	}
}

func TestIndexedLabels(t *testing.T) {
	s, err := Open(Options{IndexedLabels: []string{"team"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	k := key(pods, "n", "a")
	keys := func() (found []string) {
		for c := s.snapshot().seek(spaceLabel); c.next(); {
			found = append(found, c.key)
		}
		return found
	}
	id := s.id(pods)
	for _, tt := range []struct {
		labels string
		want   []string
	}{
		{`"labels":{"team":"x","app":"y"}`, []string{labelPrefix(id, "team", "x") + "n" + sep + "a"}},
		{`"labels":{"team":""}`, []string{labelPrefix(id, "team", "") + "n" + sep + "a"}},
		{`"labels":{"\u0074eam":"\u0078"}`, []string{labelPrefix(id, "team", "x") + "n" + sep + "a"}},
		{`"labels":{"team":5}`, nil},
		{`"labels":{"team":"x\u0000y"}`, nil},
		{`"labels":{}`, nil},
		{`"labels":null`, nil},
		{`"labels":"team"`, nil},
	} {
		put(t, s, k, "u", tt.labels, tt.labels)
		if diff := cmp.Diff(tt.want, keys()); diff != "" {
			t.Errorf("%s: %s", tt.labels, diff)
		}
	}
}

// TestUnchangedIndexes: a change of the status writes nothing but the object.
func TestUnchangedIndexes(t *testing.T) {
	s := open(t)
	k := key(pods, "n", "a")
	put(t, s, k, "u", "1", labelled("x"), owned("o"), `"creationTimestamp":"t"`)
	err := s.update(func(tx *txn) error {
		_, _, _, err := s.put(tx, tail(s.id(pods), "n", "a"), object(t, k, "u", "2", labelled("x"), owned("o"), `"creationTimestamp":"t2"`).record)
		if len(s.pending) != 1 {
			t.Errorf("%d keys were written", len(s.pending))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
