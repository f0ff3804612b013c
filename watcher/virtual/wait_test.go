package virtual

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestWaitFor(t *testing.T) {
	k := key(pods, "n", "a")
	for name, tt := range map[string]struct {
		before  func(*Store)
		during  func(*Store)
		version string
		exists  bool
		err     error
	}{
		"no version":             {nil, nil, "", false, nil},
		"is there":               {func(s *Store) { put(t, s, k, "u", "10") }, nil, "9", true, nil},
		"comes":                  {nil, func(s *Store) { put(t, s, k, "u", "10") }, "10", true, nil},
		"ten is after nine":      {func(s *Store) { put(t, s, k, "u", "9") }, func(s *Store) { put(t, s, k, "u", "10") }, "10", true, nil},
		"another one comes":      {nil, func(s *Store) { put(t, s, key(pods, "n", "b"), "ub", "10") }, "10", false, context.DeadlineExceeded},
		"the kind moves on":      {nil, func(s *Store) { s.SetProgress(pods, "11") }, "10", false, nil},
		"another kind does":      {nil, func(s *Store) { s.SetProgress(services, "11") }, "10", false, context.DeadlineExceeded},
		"stays old":              {func(s *Store) { put(t, s, k, "u", "9") }, nil, "10", true, context.DeadlineExceeded},
		"deleted":                {func(s *Store) { put(t, s, k, "u", "9") }, func(s *Store) { _, _, _ = s.Delete(k); s.SetProgress(pods, "12") }, "12", false, nil},
		"equal but not a number": {func(s *Store) { put(t, s, k, "u", "abc") }, nil, "abc", true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := Open(Options{})
				if err != nil {
					t.Fatal(err)
				}
				s.SetSynced(pods, false)
				if tt.before != nil {
					tt.before(s)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				began, done := time.Now(), make(chan struct{})
				var ok bool
				go func() {
					defer close(done)
					_, ok, err = s.WaitFor(ctx, k, tt.version)
				}()
				synctest.Wait()
				if tt.during != nil {
					tt.during(s)
				}
				<-done
				if ok != tt.exists || !errors.Is(err, tt.err) {
					t.Errorf("got %v, %v; want %v, %v", ok, err, tt.exists, tt.err)
				}
				if tt.err == nil && time.Since(began) > 0 {
					t.Error("it was not woken by the change")
				}
				closeInBubble(t, s)
			})
		})
	}
}

func TestWaitForErrors(t *testing.T) {
	s := open(t)
	k := key(pods, "n", "a")
	if _, _, err := s.WaitFor(t.Context(), k, "1"); !errors.Is(err, ErrNotWatched) {
		t.Errorf("a kind nobody watches: %v", err)
	}
	s.SetSynced(pods, false)
	put(t, s, k, "u", "10")
	if o, ok, err := s.WaitFor(t.Context(), k, "abc"); err == nil || !ok || o.ResourceVersion != "10" {
		t.Errorf("a version that is no number: %v, %v, %v", o, ok, err)
	}
	if s.Watches(pods) {
		t.Error("not yet synced, yet watched")
	}
	s.SetSynced(pods, true)
	if !s.Watches(pods) {
		t.Error("synced, yet not watched")
	}
}
