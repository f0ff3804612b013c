package virtual

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/buntdb"
)

func instanceOf(t testing.TB, s *Store, k Key) string {
	t.Helper()
	o, ok := s.Get(k)
	if !ok {
		t.Fatalf("%s is not there", k)
	}
	return o.Instance
}

func TestMembership(t *testing.T) {
	a, b, c := key(pods, "n", "a"), key(pods, "n", "b"), key(pods, "n", "c")
	type step func(t *testing.T, s *Store)
	object := func(k Key, more ...string) step {
		return func(t *testing.T, s *Store) { put(t, s, k, "u"+k.Name, "1", more...) }
	}
	owner := func(uid, instance string) step {
		return func(t *testing.T, s *Store) {
			if err := s.BindOwner(uid, instance); err != nil {
				t.Fatal(err)
			}
		}
	}
	release := func(name, instance string) step {
		return func(t *testing.T, s *Store) {
			if err := s.BindRelease("n", name, instance); err != nil {
				t.Fatal(err)
			}
		}
	}
	gone := func(k Key) step {
		return func(t *testing.T, s *Store) {
			if _, _, err := s.Delete(k); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tt := range map[string]struct {
		steps []step
		want  map[Key]string
	}{
		"none":                     {[]step{object(a)}, map[Key]string{a: ""}},
		"label":                    {[]step{object(a, labelled("x"))}, map[Key]string{a: "x"}},
		"label changes":            {[]step{object(a, labelled("x")), object(a, labelled("y"))}, map[Key]string{a: "y"}},
		"label goes":               {[]step{object(a, labelled("x")), object(a)}, map[Key]string{a: ""}},
		"release bound before":     {[]step{release("r", "x"), object(a, released("n", "r"))}, map[Key]string{a: "x"}},
		"release bound after":      {[]step{object(a, released("n", "r")), release("r", "x")}, map[Key]string{a: "x"}},
		"release elsewhere":        {[]step{release("r", "x"), object(a, released("m", "r"))}, map[Key]string{a: ""}},
		"release unbound":          {[]step{release("r", "x"), object(a, released("n", "r")), release("r", "")}, map[Key]string{a: ""}},
		"label beats release":      {[]step{release("r", "x"), object(a, released("n", "r"), labelled("y"))}, map[Key]string{a: "y"}},
		"label beats owner":        {[]step{object(a, labelled("x")), object(b, owned("ua"), labelled("y"))}, map[Key]string{b: "y"}},
		"resource owns, before":    {[]step{owner("cr", "x"), object(a, owned("cr"))}, map[Key]string{a: "x"}},
		"resource owns, after":     {[]step{object(a, owned("cr")), owner("cr", "x")}, map[Key]string{a: "x"}},
		"resource owned, unbound":  {[]step{owner("cr", "x"), object(a, owned("cr")), owner("cr", "")}, map[Key]string{a: ""}},
		"owner before":             {[]step{object(a, labelled("x")), object(b, owned("ua"))}, map[Key]string{b: "x"}},
		"owner after":              {[]step{object(b, owned("ua")), object(a, labelled("x"))}, map[Key]string{b: "x"}},
		"chain, bottom first":      {[]step{object(c, owned("ub")), object(b, owned("ua")), object(a, labelled("x"))}, map[Key]string{b: "x", c: "x"}},
		"chain through a release":  {[]step{object(c, owned("ub")), object(b, released("n", "r")), release("r", "x")}, map[Key]string{c: "x"}},
		"owner changes its mind":   {[]step{object(a, labelled("x")), object(b, owned("ua")), object(a, labelled("y"))}, map[Key]string{b: "y"}},
		"second owner decides":     {[]step{object(a, labelled("x")), object(b, owned("nobody", "ua"))}, map[Key]string{b: "x"}},
		"cycle without a reason":   {[]step{object(a, owned("ub")), object(b, owned("ua"))}, map[Key]string{a: "", b: ""}},
		"cycle loses its reason":   {[]step{object(a, owned("ub"), labelled("x")), object(b, owned("ua")), object(a, owned("ub"))}, map[Key]string{a: "", b: ""}},
		"owns itself":              {[]step{object(a, owned("ua"))}, map[Key]string{a: ""}},
		"deleted owner, untouched": {[]step{object(a, labelled("x")), object(b, owned("ua")), gone(a)}, map[Key]string{b: "x"}},
		"deleted owner, touched":   {[]step{object(a, labelled("x")), object(b, owned("ua")), gone(a), object(b, owned("ua"), `"generation":2`)}, map[Key]string{b: "x"}},
		"orphaned":                 {[]step{object(a, labelled("x")), object(b, owned("ua")), gone(a), object(b)}, map[Key]string{b: ""}},
		"hostile values":           {[]step{object(a, "\"labels\":{\"mainstay.dev/instance\":\"x\\ny\"}", owned("u\\u0000b"))}, map[Key]string{a: ""}},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			for _, step := range tt.steps {
				step(t, s)
			}
			for k, want := range tt.want {
				if got := instanceOf(t, s, k); got != want {
					t.Errorf("%s belongs to %q, want %q", k, got, want)
				}
			}
		})
	}
}

// TestMembershipHolds does things at random and compares with what a walk over everything finds.
func TestMembershipHolds(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := open(t)
		type model struct {
			label, release string
			owners         []string
		}
		objects := map[Key]model{}
		byUID := map[string]Key{}
		owners, releases := map[string]string{}, map[string]string{}
		pick := func(from ...string) string { return from[random.IntN(len(from))] }
		for range 150 {
			k := key([]Kind{pods, services}[random.IntN(2)], "n", pick("1", "2", "3", "4"))
			uid := "u" + k.Kind.Kind + k.Name
			instance := pick("", "x", "y")
			switch random.IntN(8) {
			case 0:
				at := pick("cr1", "cr2")
				owners[at] = instance
				if err := s.BindOwner(at, instance); err != nil {
					t.Fatal(err)
				}
			case 1:
				releases["r"] = instance
				if err := s.BindRelease("n", "r", instance); err != nil {
					t.Fatal(err)
				}
			default:
				var m model
				var more []string
				if random.IntN(4) == 0 {
					m.label = pick("x", "y")
					more = append(more, labelled(m.label))
				}
				if random.IntN(4) == 0 {
					m.release = "r"
					more = append(more, released("n", "r"))
				}
				for range random.IntN(3) {
					m.owners = append(m.owners, pick("cr1", "cr2", "uPod1", "uPod2", "uPod3", "uService1", "uService2"))
				}
				more = append(more, owned(m.owners...))
				objects[k], byUID[uid] = m, k
				put(t, s, k, uid, "1", more...)
			}
			var find func(k Key, seen []string) string
			find = func(k Key, seen []string) string {
				m := objects[k]
				if m.label != "" {
					return m.label
				}
				if m.release != "" && releases[m.release] != "" {
					return releases[m.release]
				}
				for _, o := range m.owners {
					if owners[o] != "" {
						return owners[o]
					}
				}
				for _, o := range m.owners {
					above, ok := byUID[o]
					if ok && !slices.Contains(seen, o) {
						seen = append(seen, o)
						if i := find(above, seen); i != "" {
							return i
						}
					}
				}
				return ""
			}
			want := map[string][]string{}
			for k := range objects {
				i := find(k, []string{"u" + k.Kind.Kind + k.Name})
				if got := instanceOf(t, s, k); got != i {
					t.Fatalf("seed %d: %s belongs to %q, want %q", seed, k, got, i)
				}
				if i != "" {
					want[i] = append(want[i], k.String())
				}
			}
			for _, i := range []string{"x", "y"} {
				var got []string
				for _, kind := range []Kind{pods, services} {
					s.ByInstance(i, kind, func(o Object) bool { got = append(got, o.Key.String()); return true })
				}
				slices.Sort(want[i])
				if !slices.Equal(got, want[i]) {
					t.Fatalf("seed %d: index of %q: %q, want %q", seed, i, got, want[i])
				}
			}
		}
		for k := range objects {
			if _, _, err := s.Delete(k); err != nil {
				t.Fatal(err)
			}
		}
		assertOnlyTombstones(t, s)
	}
}

// assertOnlyTombstones finds index keys that outlive their objects.
func assertOnlyTombstones(t *testing.T, s *Store) {
	t.Helper()
	for _, space := range []string{spaceObject, spaceInstance, spaceDependent, spaceRelease, spaceLabel} {
		var left []string
		err := s.db.View(func(tx *buntdb.Tx) error {
			for _, key := range (&txn{tx, s}).scan(space) {
				left = append(left, fmt.Sprintf("%q", key))
			}
			return nil
		})
		if err != nil || len(left) > 0 {
			t.Fatalf("left behind: %s %v", strings.Join(left, " "), err)
		}
	}
}
