package virtual

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/buntdb"
)

// contents are all keys and values of a snapshot.
func (v *snapshot) contents() map[string]string {
	all := map[string]string{}
	for c := v.seek(""); c.next(); {
		all[c.key] = c.value
	}
	return all
}

// stored are all keys and values of the database.
func stored(t testing.TB, s *Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := s.db.View(func(tx *buntdb.Tx) error {
		return tx.Ascend("", func(key, value string) bool {
			all[key] = value
			return true
		})
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// model is what the store must hold, by the plainest means.
type model struct {
	objects  map[Key]string // JSON
	labelled map[Key]string // value of the label app
}

func (m model) clone() model { return model{maps.Clone(m.objects), maps.Clone(m.labelled)} }

// check compares a snapshot with the model.
func (m model) check(t *testing.T, s *Store, v *snapshot) {
	t.Helper()
	seen := 0
	for c := v.seek(spaceObject); c.next(); {
		seen++
		k := s.key(c.key)
		if got := string(record(c.value).object(k).JSON()); got != m.objects[k] {
			t.Fatalf("%s is %s, want %s", k, got, m.objects[k])
		}
	}
	if seen != len(m.objects) {
		t.Fatalf("%d objects, want %d", seen, len(m.objects))
	}
	var got, want []string
	for c := v.seek(spaceLabel); c.next(); {
		got = append(got, c.key)
	}
	for k, value := range m.labelled {
		want = append(want, labelPrefix(s.id(k.Kind), "app", value)+k.Namespace+sep+k.Name)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	for c := v.seek(spaceUID); c.next(); {
		if _, there := v.get(spaceObject + c.value); !there {
			if _, buried := v.get(spaceTombstone + c.value); !buried {
				t.Fatalf("%q leads to nothing", c.key)
			}
		}
	}
}

// TestModel does things at random and compares with a plain map; snapshots taken on the way stay as they are.
func TestModel(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 5))
		s := open(t)
		now := model{map[Key]string{}, map[Key]string{}}
		type kept struct {
			v     *snapshot
			model model
			all   map[string]string
		}
		var snapshots []kept
		version := 0
		some := func() Key {
			return key([]Kind{pods, services}[random.IntN(2)], fmt.Sprint(random.IntN(3)), fmt.Sprint(random.IntN(15)))
		}
		state := func(k Key) Object {
			version++
			var more []string
			delete(now.labelled, k)
			if n := random.IntN(4); n > 0 {
				now.labelled[k] = []string{"", "", "x", "y"}[n]
				more = append(more, fmt.Sprintf(`"labels":{"app":%q,"other":"z"}`, now.labelled[k]))
			}
			if random.IntN(5) == 0 {
				more = append(more, owned("uid-"+fmt.Sprint(random.IntN(20))))
			}
			doc := document(k, fmt.Sprintf("uid-%s-%d", k, version%3), fmt.Sprint(version), more...)
			now.objects[k] = string(doc)
			o, err := NewObject(k, doc)
			if err != nil {
				t.Fatal(err)
			}
			return o
		}
		gone := func(k Key) Object {
			delete(now.objects, k)
			delete(now.labelled, k)
			return Object{Key: k, Deleted: true}
		}
		for range 400 {
			var err error
			switch random.IntN(8) {
			case 0, 1, 2:
				_, _, err = s.PutObject(state(some()))
			case 3:
				_, _, err = s.Delete(gone(some()).Key)
			case 4:
				var batch []Object
				for range random.IntN(6) {
					if k := some(); random.IntN(3) == 0 {
						batch = append(batch, gone(k))
					} else {
						batch = append(batch, state(k))
					}
				}
				err = s.Apply(batch)
			case 5:
				if random.IntN(4) > 0 {
					break
				}
				kind := []Kind{pods, services}[random.IntN(2)]
				s.SetSynced(kind, random.IntN(2) == 0)
				for k := range now.objects {
					if k.Kind == kind {
						gone(k)
					}
				}
				var list []Object
				listed := map[Key]bool{}
				for range random.IntN(30) {
					if k := some(); k.Kind == kind && !listed[k] {
						listed[k] = true
						list = append(list, state(k))
					}
				}
				err = s.Replace(kind, list)
			case 6:
				err = s.BindOwner("uid-"+fmt.Sprint(random.IntN(20)), []string{"", "a", "b"}[random.IntN(3)])
			default:
				v := s.snapshot()
				snapshots = append(snapshots, kept{v, now.clone(), v.contents()})
			}
			if err != nil {
				t.Fatal(err)
			}
			now.check(t, s, s.snapshot())
		}
		if diff := cmp.Diff(stored(t, s), s.snapshot().contents()); diff != "" {
			t.Fatalf("what is stored and what is read differ: %s", diff)
		}
		for _, old := range snapshots {
			old.model.check(t, s, old.v)
			if !maps.Equal(old.all, old.v.contents()) {
				t.Fatal("a snapshot has changed")
			}
		}
	}
}

// TestFailedWrites: what is undone in the database is not to be seen either.
func TestFailedWrites(t *testing.T) {
	s := open(t)
	k := key(pods, "n", "a")
	put(t, s, k, "u", "1")
	before := s.snapshot().contents()
	if err := s.update(func(tx *txn) error {
		if err := tx.set("x", "y", nil); err != nil {
			return err
		}
		if err := tx.remove(spaceObject + tail(s.id(pods), "n", "a")); err != nil {
			return err
		}
		return errNothing
	}); err != errNothing {
		t.Fatal(err)
	}
	if err := s.Apply([]Object{{Key: k, Deleted: true}, {}}); err == nil {
		t.Error("the zero Object was stored")
	}
	put(t, s, key(pods, "n", "b"), "ub", "1")
	if _, _, err := s.Delete(key(pods, "n", "b")); err != nil {
		t.Fatal(err)
	}
	after := s.snapshot().contents()
	for key, value := range before {
		if after[key] != value {
			t.Errorf("%q was %q and is %q", key, value, after[key])
		}
	}
	if after["x"] != "" {
		t.Error("a write that failed can be seen")
	}
}

// TestNothingTorn: a token that moves between objects is always in exactly one of them, whoever looks.
func TestNothingTorn(t *testing.T) {
	s := open(t)
	state := func(name, token string, version int) Object {
		k := key(services, "n", name)
		o, err := NewObject(k, document(k, "u"+name, fmt.Sprint(version), `"labels":{"app":"`+token+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	const rows = 200
	var all []Object
	for i := range rows {
		all = append(all, state(fmt.Sprint(i), "none", 1))
	}
	all[0] = state("0", "token", 1)
	if err := s.Replace(services, all); err != nil {
		t.Fatal(err)
	}
	s.SetSynced(services, true)
	var done atomic.Bool
	var moves, looks atomic.Int64
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		defer done.Store(true)
		random := rand.New(rand.NewPCG(1, 1))
		at := 0
		for version := 2; moves.Load() < 3000 || looks.Load() < 300; version++ {
			to := random.IntN(rows)
			var err error
			switch {
			case to == at:
				continue
			case version%50 == 0:
				// A list that came after an outage moves it too.
				all[at], all[to] = state(fmt.Sprint(at), "none", version), state(fmt.Sprint(to), "token", version)
				err = s.Replace(services, all)
			case version%3 == 0:
				all[at], all[to] = state(fmt.Sprint(at), "none", version), state(fmt.Sprint(to), "token", version)
				err = s.Apply([]Object{{Key: all[at].Key, Deleted: true}, all[to], all[at]})
			default:
				all[at], all[to] = state(fmt.Sprint(at), "none", version), state(fmt.Sprint(to), "token", version)
				err = s.Apply([]Object{all[at], all[to]})
			}
			if err != nil {
				t.Error(err)
				return
			}
			at = to
			moves.Add(1)
		}
	}()
	for range 3 {
		go func() {
			for !done.Load() {
				v := s.snapshot()
				var holders []string
				objects := 0
				for c := v.seek(spaceObject); c.next(); objects++ {
					if record(c.value).label("app") == "token" {
						holders = append(holders, c.key)
					}
				}
				indexed := 0
				for c := v.seek(labelPrefix(s.id(services), "app", "token")); c.next(); indexed++ {
					if len(holders) != 1 || !strings.HasSuffix(holders[0], lastPart(c.key)) {
						t.Errorf("the index leads to %q, the token is in %q", c.key, holders)
					}
				}
				if len(holders) != 1 || indexed != 1 || objects != rows {
					t.Errorf("%d objects, the token is in %q, the index knows %d", objects, holders, indexed)
					return
				}
				looks.Add(1)
			}
		}()
	}
	<-finished
	t.Logf("%d moves, %d looks", moves.Load(), looks.Load())
}

func lastPart(key string) string { return key[strings.LastIndex(key, sep):] }

// TestReadersHoldNothingUp: a write goes on while a reader is in the middle of a list.
func TestReadersHoldNothingUp(t *testing.T) {
	s := open(t)
	for i := range 10 {
		put(t, s, key(pods, "n", fmt.Sprint(i)), fmt.Sprint("u", i), "1")
	}
	n := 0
	s.List(pods, "", func(o Object) bool {
		n++
		written := make(chan error)
		go func() {
			_, _, err := s.Put(key(pods, "n", o.Name+"x"), document(key(pods, "n", o.Name+"x"), o.UID+"x", "1"))
			written <- err
		}()
		select {
		case err := <-written:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("a reader holds up a writer")
		}
		return true
	})
	if n != 10 {
		t.Errorf("the list went over %d objects, 10 were there when it began", n)
	}
}
