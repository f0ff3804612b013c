package plan

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
)

// many are n changes as a rule over real objects makes them: readable names, random uids and hashes.
func many(n int) (Changes, Memory) {
	r := rand.New(rand.NewPCG(1, 2))
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	word := func(n int, of string) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = of[r.IntN(len(of))]
		}
		return string(b)
	}
	var changes Changes
	memory := Memory{"config-follows-service": {}}
	for i := range n {
		c := Change{
			Rule: "config-follows-service", Namespace: "production-eu-1", Name: fmt.Sprintf("checkout-%s-%s", word(9, "bcdf2456789"), word(5, "bcdf2456789")),
			UID: word(8, "0123456789abcdef") + "-" + word(4, "0123456789abcdef"), Hash: word(11, letters), ResourceVersion: fmt.Sprint(1_000_000 + i*7),
		}
		if i%3 == 0 {
			c.Health, c.Deleting = Ready, i%2 == 0
		}
		changes = append(changes, c)
		memory[c.Rule][c.Key()] = Seen{UID: c.UID, Hash: c.Hash, Health: c.Health, Deleting: c.Deleting, Held: i%5 == 0, ResourceVersion: c.ResourceVersion}
	}
	return changes, memory
}

func TestWhatIsPackedIsUnpackedTheSame(t *testing.T) {
	for _, n := range []int{0, 1, packAbove, packAbove + 1, 5000} {
		changes, memory := many(n)
		if n > 2 {
			changes[1].Trouble, changes[2].Was = "says \t it\nfailed", "before"
		}
		b, err := json.Marshal(Dirty{Changes: changes})
		if err != nil {
			t.Fatal(err)
		}
		var back Dirty
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if n > packAbove {
			changes[1].Trouble = "says   it failed"
		}
		if !reflect.DeepEqual(changes, back.Changes) {
			t.Errorf("%d changes come back otherwise", n)
		}
		if b, err = json.Marshal(MaintainState{Seen: memory}); err != nil {
			t.Fatal(err)
		}
		var state MaintainState
		if err := json.Unmarshal(b, &state); err != nil {
			t.Fatal(err)
		}
		if n > 0 && !reflect.DeepEqual(memory, state.Seen) {
			t.Errorf("a memory of %d comes back otherwise", n)
		}
	}
}

// Temporal takes 2 MiB for a payload. Each of 20,000 objects is either handled or waits, or both after a change.
func TestTwentyThousandObjectsFitIntoAPayload(t *testing.T) {
	changes, memory := many(20_000)
	b, err := json.Marshal(MaintainInput{State: &MaintainState{Seen: memory, Pending: changes}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d KiB", len(b)>>10)
	if len(b) > 2<<20 {
		t.Errorf("the state of 20,000 objects takes %d bytes", len(b))
	}
}

func TestGarbageIsNotUnpacked(t *testing.T) {
	for _, text := range []string{`"no base64!"`, `"aGVsbG8="`, `7`} {
		var c Changes
		if err := json.Unmarshal([]byte(text), &c); err == nil {
			t.Errorf("%s was taken for changes", text)
		}
		var m Memory
		if err := json.Unmarshal([]byte(text), &m); err == nil {
			t.Errorf("%s was taken for a memory", text)
		}
	}
}
