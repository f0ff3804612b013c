package virtual

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHash(t *testing.T) {
	const base = `{"kind":"Service","metadata":{"name":"a","uid":"u","resourceVersion":"1","generation":1,"labels":{"a":"b","c":"d"}},"spec":{"ports":[1,2],"on":true,"x":null},"status":{"generation":1}}`
	change := func(old, new string) string {
		t.Helper()
		if !strings.Contains(base, old) {
			t.Fatalf("no %s in the document", old)
		}
		return strings.Replace(base, old, new, 1)
	}
	for name, tt := range map[string]struct {
		doc  string
		same bool
	}{
		"resourceVersion":       {change(`"resourceVersion":"1"`, `"resourceVersion":"2"`), true},
		"generation":            {change(`"generation":1,`, ``), true},
		"managedFields":         {change(`"uid":"u"`, `"uid":"u","managedFields":[{"a":1}]`), true},
		"order":                 {change(`{"a":"b","c":"d"}`, `{"c":"d","a":"b"}`), true},
		"blanks":                {change(`"spec":{`, "\n \"spec\" : {  "), true},
		"escapes":               {change(`"a":"b"`, `"\u0061":"\u0062"`), true},
		"uid":                   {change(`"uid":"u"`, `"uid":"v"`), false},
		"label":                 {change(`"c":"d"`, `"c":"e"`), false},
		"annotation":            {change(`"uid":"u"`, `"uid":"u","annotations":{"a":"b"}`), false},
		"order of a list":       {change(`[1,2]`, `[2,1]`), false},
		"digits":                {change(`[1,2]`, `[12]`), false},
		"number or string":      {change(`[1,2]`, `["1",2]`), false},
		"missing null":          {change(`,"x":null`, ``), false},
		"status":                {change(`"status":{"generation":1}`, `"status":{"generation":2}`), false},
		"metadata deeper":       {change(`"on":true`, `"metadata":{"generation":1}`), false},
		"generation of another": {change(`"on":true`, `"on":true,"metadata":{"resourceVersion":"1"}`), false},
	} {
		t.Run(name, func(t *testing.T) {
			if same := Hash([]byte(base)) == Hash([]byte(tt.doc)); same != tt.same {
				t.Errorf("same is %v, want %v", same, tt.same)
			}
		})
	}
	if h := Hash([]byte(base)); len(h) != 11 || h != "HirtL-3Xtwy" {
		t.Errorf("the hash has changed to %q: workflows that run would take every object for changed", h)
	}
}

func FuzzHash(f *testing.F) {
	f.Add(`{"metadata":{"name":"a"},"spec":{"b":[1,"x",{"c":null}],"a":"\u003c"}}`)
	f.Fuzz(func(t *testing.T, doc string) {
		var object map[string]any
		if json.Unmarshal([]byte(doc), &object) != nil || strings.ContainsAny(doc, ".eE") {
			return
		}
		again, err := json.Marshal(object)
		if err != nil || strings.ContainsAny(string(again), ".eE") {
			return
		}
		before := string(again)
		if err := json.Unmarshal(again, &object); err != nil {
			t.Fatal(err)
		}
		again, err = json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		if Hash([]byte(before)) != Hash(again) {
			t.Errorf("%s and %s differ", before, again)
		}
	})
}

func BenchmarkHash(b *testing.B) {
	doc := document(key(pods, "n", "a"), "u", "1", labelled("x"), `"annotations":{"filler":"`+strings.Repeat("x", 2500)+`"}`)
	b.ReportAllocs()
	for b.Loop() {
		Hash(doc)
	}
}

func TestEncode(t *testing.T) {
	object := map[string]any{
		"kind":     "X",
		"metadata": map[string]any{"name": "a<b", "managedFields": []any{"x"}, "generation": int64(1) << 53},
	}
	got, err := Encode(object)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"kind":"X","metadata":{"generation":9007199254740992,"name":"a<b"}}`, string(got)); diff != "" {
		t.Error(diff)
	}
	if object["metadata"].(map[string]any)["managedFields"] == nil {
		t.Error("the caller's object was changed")
	}
}
