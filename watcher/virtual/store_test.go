package virtual

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/buntdb"
)

var (
	pods     = Kind{Version: "v1", Kind: "Pod"}
	services = Kind{Version: "v1", Kind: "Service"}
)

const label = "mainstay.dev/instance"

func open(t testing.TB) *Store {
	t.Helper()
	s, err := Open(Options{InstanceLabel: label})
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

func key(kind Kind, namespace, name string) Key {
	return Key{Kind: kind, Namespace: namespace, Name: name}
}

// put stores an object with more members of metadata.
func put(t testing.TB, s *Store, k Key, uid, version string, more ...string) {
	t.Helper()
	if _, _, err := s.Put(k, document(k, uid, version, more...)); err != nil {
		t.Fatal(err)
	}
}

func document(k Key, uid, version string, more ...string) []byte {
	more = append([]string{fmt.Sprintf(`"name":%q,"namespace":%q,"uid":%q,"resourceVersion":%q`, k.Name, k.Namespace, uid, version)}, more...)
	return fmt.Appendf(nil, `{"apiVersion":%q,"kind":%q,"metadata":{%s}}`, k.APIVersion(), k.Kind.Kind, strings.Join(more, ","))
}

func labelled(instance string) string {
	return fmt.Sprintf(`"labels":{"app":"x",%q:%q}`, label, instance)
}

func owned(uids ...string) string {
	var refs []string
	for _, uid := range uids {
		refs = append(refs, fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","name":"n","uid":%q}`, uid))
	}
	return `"ownerReferences":[` + strings.Join(refs, ",") + `]`
}

func released(namespace, name string) string {
	return fmt.Sprintf(`"annotations":{"meta.helm.sh/release-name":%q,"meta.helm.sh/release-namespace":%q}`, name, namespace)
}

func TestPutGetDelete(t *testing.T) {
	s := open(t)
	k := key(pods, "default", "a")
	if _, ok := s.Get(k); ok {
		t.Fatal("an empty store has an object")
	}
	old, existed, err := s.Put(k, document(k, "u1", "1", `"managedFields":[{"manager":"x"}]`))
	if err != nil || existed || old.Exists() {
		t.Fatalf("first put: %+v, %v, %v", old, existed, err)
	}
	got, ok := s.Get(k)
	want, err := NewObject(k, document(k, "u1", "1"))
	if err != nil || !ok || got != want || got.UID != "u1" || got.ResourceVersion != "1" {
		t.Fatalf("get: %v, %+v, want %+v, %v", ok, got, want, err)
	}
	if diff := cmp.Diff(string(document(k, "u1", "1")), string(got.JSON())); diff != "" {
		t.Error(diff)
	}
	old, existed, err = s.Put(k, document(k, "u1", "2"))
	if err != nil || !existed || old.ResourceVersion != "1" {
		t.Fatalf("second put: %+v, %v, %v", old, existed, err)
	}
	old, existed, err = s.Delete(k)
	if err != nil || !existed || old.ResourceVersion != "2" {
		t.Fatalf("delete: %+v, %v, %v", old, existed, err)
	}
	if _, ok := s.Get(k); ok {
		t.Error("a deleted object is still there")
	}
	grave, ok := s.Tombstone(k)
	if !ok || !grave.Deleted || grave.Exists() || grave.UID != "u1" {
		t.Errorf("tombstone: %+v, %v", grave, ok)
	}
	if _, existed, err := s.Delete(k); existed || err != nil {
		t.Errorf("second delete: %v, %v", existed, err)
	}
	if _, _, err := s.Put(k, []byte(`{"kind":"Status"}`)); err == nil {
		t.Error("something without metadata was stored")
	}
}

func TestTombstoneOfARecreatedObject(t *testing.T) {
	s := open(t)
	k := key(pods, "default", "a")
	put(t, s, k, "u1", "1")
	put(t, s, k, "u2", "5")
	if grave, ok := s.Tombstone(k); !ok || grave.UID != "u1" {
		t.Errorf("tombstone: %+v, %v", grave, ok)
	}
	if now, ok := s.Get(k); !ok || now.UID != "u2" {
		t.Errorf("object: %+v, %v", now, ok)
	}
}

func TestTombstonesExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(Options{TombstoneTTL: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		k := key(pods, "default", "a")
		put(t, s, k, "u1", "1")
		if _, _, err := s.Delete(k); err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Second)
		if _, ok := s.Tombstone(k); !ok {
			t.Error("the tombstone is gone too early")
		}
		time.Sleep(3 * time.Second)
		if n := size(t, s); n != 0 {
			t.Errorf("%d keys are left", n)
		}
		closeInBubble(t, s)
	})
}

// closeInBubble closes a store and lets the database's ticker find that out, as no goroutine may outlive the bubble.
func closeInBubble(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	time.Sleep(2 * time.Second)
}

// size counts all keys of the database.
func size(t testing.TB, s *Store) int {
	t.Helper()
	var n int
	if err := s.db.View(func(tx *buntdb.Tx) (err error) { n, err = tx.Len(); return err }); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestList(t *testing.T) {
	s := open(t)
	for _, k := range []Key{
		key(pods, "b", "1"), key(pods, "a", "2"), key(pods, "a", "10"), key(pods, "ab", "1"), key(services, "a", "1"),
		key(Kind{Version: "v1", Kind: "Node"}, "", "n*"),
	} {
		put(t, s, k, "u-"+k.String(), "1")
	}
	names := func(kind Kind, namespace string) (found []string) {
		s.List(kind, namespace, func(o Object) bool {
			found = append(found, o.Key.String())
			return true
		})
		return found
	}
	for _, tt := range []struct {
		kind      Kind
		namespace string
		want      []string
	}{
		{pods, "", []string{"v1 Pod a/10", "v1 Pod a/2", "v1 Pod ab/1", "v1 Pod b/1"}},
		{pods, "a", []string{"v1 Pod a/10", "v1 Pod a/2"}},
		{pods, "c", nil},
		{services, "", []string{"v1 Service a/1"}},
		{Kind{Version: "v1", Kind: "Node"}, "", []string{"v1 Node n*"}},
		{Kind{Version: "v1", Kind: "Unknown"}, "", nil},
	} {
		if got := names(tt.kind, tt.namespace); !slices.Equal(got, tt.want) {
			t.Errorf("list %s in %q: %q, want %q", tt.kind, tt.namespace, got, tt.want)
		}
	}
	first := 0
	s.List(pods, "", func(o Object) bool {
		first++
		// The store is free while the callback runs.
		put(t, s, key(pods, "z", "new"), "z", "1")
		return false
	})
	if first != 1 {
		t.Errorf("the callback was called %d times after it had said stop", first)
	}
}

func TestOnChange(t *testing.T) {
	s := open(t)
	var seen []string
	s.OnChange(func(c Change) {
		seen = append(seen, fmt.Sprintf("%s %s>%s %s>%s", c.Key.Name, c.Old.ResourceVersion, c.Now.ResourceVersion,
			c.Old.Instance, c.Now.Instance))
	})
	a, b := key(pods, "default", "a"), key(pods, "default", "b")
	put(t, s, b, "ub", "1", owned("ua"))
	put(t, s, a, "ua", "2")
	put(t, s, a, "ua", "2")
	put(t, s, a, "ua", "3", labelled("x"))
	if _, _, err := s.Delete(a); err != nil {
		t.Fatal(err)
	}
	want := []string{"b >1 >", "a >2 >", "a 2>3 >x", "b 1>1 >x", "a 3> x>"}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}
}

func TestConcurrentUse(t *testing.T) {
	s := open(t)
	var told sync.Map
	s.OnChange(func(c Change) { told.Store(c.Key, true); s.Get(c.Key) })
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			kind := Kind{Version: "v1", Kind: fmt.Sprintf("Kind%d", worker%4)}
			for i := range 200 {
				k := key(kind, fmt.Sprint(worker), fmt.Sprint(i%20))
				put(t, s, k, fmt.Sprintf("%s-%d", k, i), fmt.Sprint(i+1), labelled(fmt.Sprint(i%3)), owned("boss"))
				s.ByInstance("1", kind, func(o Object) bool { return o.Instance == "1" })
				s.List(kind, "", func(Object) bool { return true })
				if i%5 == 0 {
					if _, _, err := s.Delete(k); err != nil {
						t.Error(err)
					}
				}
				if i%50 == 0 {
					if err := s.BindOwner("boss", fmt.Sprint(i)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkPut(b *testing.B) {
	s := open(b)
	filler := `"annotations":{"filler":"` + strings.Repeat("x", 2500) + `"}`
	k := key(pods, "default", "a")
	docs := [][]byte{document(k, "u", "1", labelled("demo"), filler), document(k, "u", "2", labelled("demo"), filler)}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, _, err := s.Put(k, docs[i%2]); err != nil {
			b.Fatal(err)
		}
	}
}
