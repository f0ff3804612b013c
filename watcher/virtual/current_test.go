package virtual

import (
	"fmt"
	"testing"
)

// TestCurrentIsOfTheSnapshot reads objects by hashing while a snapshot is the latest, and after it no longer is.
func TestCurrentIsOfTheSnapshot(t *testing.T) {
	s := open(t)
	k := key(pods, "a", "p")
	at := func(v *snapshot) string {
		r, ok := s.object(v, []byte(spaceObject+tail(s.id(k.Kind), k.Namespace, k.Name)))
		return fmt.Sprint(r.resourceVersion(), ok)
	}
	none := s.snapshot()
	put(t, s, k, "u1", "1")
	first := s.snapshot()
	if at(none) != "false" || at(first) != "1true" {
		t.Errorf("%s, %s", at(none), at(first))
	}
	put(t, s, k, "u1", "2")
	second := s.snapshot()
	if _, _, err := s.Delete(k); err != nil {
		t.Fatal(err)
	}
	gone := s.snapshot()
	for v, want := range map[*snapshot]string{none: "false", first: "1true", second: "2true", gone: "false"} {
		if got := at(v); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if found, ok := s.current.uid("u1"); !ok || found != tail(s.id(k.Kind), "a", "p") {
		t.Errorf("uid: %q, %v", found, ok)
	}
	if len(s.current.records) != 0 {
		t.Errorf("left: %v", s.current.records)
	}
}
