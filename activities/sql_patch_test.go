package activities

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

func TestRowPatch(t *testing.T) {
	const head = `"apiVersion":"v1","kind":"K","metadata":{"name":"x","uid":"u","resourceVersion":"7"`
	tests := []struct{ name, before, after, want string }{
		{"nothing", `,"labels":{"a":"b"}},"spec":{"a":1}`, `,"labels":{"a":"b"}},"spec":{"a":1}`, `{}`},
		{"a number written another way", `},"spec":{"a":1}`, `},"spec":{"a":1.0}`, `{}`},
		{"a large number", `},"spec":{"a":9007199254740993}`, `},"spec":{"a":9007199254740992}`, `{"spec":{"a":9007199254740992}}`},
		{"one field", `},"spec":{"a":1,"b":{"c":2,"d":3}}`, `},"spec":{"a":1,"b":{"c":2,"d":4}}`, `{"spec":{"b":{"d":4}}}`},
		{"a field more", `},"spec":{}`, `},"spec":{"a":{"b":[]}}`, `{"spec":{"a":{"b":[]}}}`},
		{"a field less", `},"spec":{"a":1,"b":{"c":2}}`, `},"spec":{"a":1,"b":{}}`, `{"spec":{"b":{"c":null}}}`},
		{"null is no field", `},"spec":{"a":1}`, `},"spec":{"a":null,"b":null}`, `{"spec":{"a":null}}`},
		{"a section less", `},"data":{"a":"1"}`, `}`, `{"data":null}`},
		{"a list as a whole", `},"spec":{"l":[{"a":1},{"a":2}],"m":1}`, `},"spec":{"l":[{"a":1},{"a":3}],"m":1}`, `{"spec":{"l":[{"a":1},{"a":3}]}}`},
		{"a mapping for a scalar", `},"spec":{"a":1}`, `},"spec":{"a":{"b":1}}`, `{"spec":{"a":{"b":1}}}`},
		{"a scalar for a mapping", `},"spec":{"a":{"b":1}}`, `},"spec":{"a":"b"}`, `{"spec":{"a":"b"}}`},
		{"labels and annotations", `,"labels":{"a":"b","c":"d"}}`, `,"labels":{"a":"b"},"annotations":{"e/f":"g"}}`,
			`{"metadata":{"annotations":{"e/f":"g"},"labels":{"c":null}}}`},
		{"no labels for none", `}`, `,"labels":{},"annotations":{}}`, `{}`},
		{"what identifies it", `,"generation":1}`, `,"generation":2,"creationTimestamp":"now","deletionTimestamp":"now","namespace":"y"}`, `{}`},
		{"finalizers and owners", `,"finalizers":["a"]}`, `,"finalizers":[]}`, `{"metadata":{"finalizers":[]}}`},
	}
	for _, tt := range tests {
		decode := func(text string) map[string]any {
			m, err := decodeObject([]byte(text))
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			return m
		}
		before, after := "{"+head+tt.before+"}", "{"+head+tt.after+"}"
		patch, err := json.Marshal(rowPatch(decode(before), decode(after)))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(decode(tt.want), decode(string(patch))); d != "" {
			t.Errorf("%s: %s", tt.name, d)
			continue
		}
		// The patch is worth something only if it leads where it should, and no further.
		got, err := jsonpatch.MergePatch([]byte(before), patch)
		if err != nil {
			t.Fatal(err)
		}
		if again := rowPatch(decode(string(got)), decode(after)); len(again) > 0 {
			t.Errorf("%s: after the patch, %v is missing", tt.name, again)
		}
	}
}

func TestTally(t *testing.T) {
	update := plan.Query{Writes: []string{"ingresses.networking.k8s.io"}}
	read := plan.Query{Reads: []string{"services"}}
	tests := []struct {
		done       tally
		statements []plan.Query
		want       string
	}{
		{tally{updated: 3}, []plan.Query{update}, "updated 3 of ingresses.networking.k8s.io"},
		{tally{updated: 3, created: 1}, []plan.Query{update, {Writes: []string{"services"}}}, "updated 3, created 1 of ingresses.networking.k8s.io, services (2 statements)"},
		{tally{}, []plan.Query{update, update}, "nothing to change in ingresses.networking.k8s.io (2 statements)"},
		{tally{rows: 12}, []plan.Query{read}, "12 rows"},
		{tally{rows: 1}, []plan.Query{read}, "1 row"},
		{tally{}, []plan.Query{read}, "0 rows"},
		{tally{deleted: 2, rows: 12}, []plan.Query{update, read}, "deleted 2 of ingresses.networking.k8s.io; 12 rows (2 statements)"},
	}
	for _, tt := range tests {
		if got := tt.done.message(tt.statements); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
