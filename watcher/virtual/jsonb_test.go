package virtual

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ncruces/go-sqlite3"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// sqlite asks SQLite for one value that depends on another.
func sqlite(t testing.TB) func(query string, bind func(*sqlite3.Stmt) error) []byte {
	t.Helper()
	db, err := sqlite3.Open(":memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return func(query string, bind func(*sqlite3.Stmt) error) []byte {
		t.Helper()
		stmt, _, err := db.Prepare(query)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stmt.Close() }()
		if err := bind(stmt); err != nil {
			t.Fatal(err)
		}
		if !stmt.Step() {
			return nil
		}
		return append([]byte{}, stmt.ColumnRawBlob(0)...)
	}
}

// hostile are documents in which an encoder may err.
var hostile = []string{
	`null`, `true`, ` false `, `0`, `-0`, `-1`, `12345678901234567890123`, `1.0`, `1e5`, `1E+5`, `-1.5e-300`, `1e999`, `0.10`,
	`""`, `"a"`, `"\""`, `"\\"`, `"\/"`, `"\b\f\n\r\t"`, `"\u0000"`, `"\u0041"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\udc00x"`,
	`"é ü 漢 😀"`, `"` + "\u2028\u2029\x7f" + `"`, `"a\u2028b"`, `"'"`, `"<&>"`,
	`[]`, `{}`, `[[]]`, `[{}]`, `{"":{}}`, `{"":""}`, `[[],{},[{}],{"a":[]}]`, "\t[ 1 ,\n2\r]", `{ "a" : 1 , "b" : [ ] }`,
	`{"a":1,"a":2}`, `{"\u0061":1}`, `{"a.b/c~d":"x","$":1,"[0]":2}`, `{"a\"b":"c\nd"}`,
	strings.Repeat("[", 1000) + strings.Repeat("]", 1000),
	strings.Repeat(`{"a":`, 999) + "[]" + strings.Repeat("}", 999),
	`"` + strings.Repeat("x", 11) + `"`, `"` + strings.Repeat("x", 12) + `"`, `"` + strings.Repeat("x", 255) + `"`,
	`"` + strings.Repeat("x", 256) + `"`, `"` + strings.Repeat("x", 65535) + `"`, `"` + strings.Repeat("x", 65536) + `"`,
	`["` + strings.Repeat("x", 10) + `"]`, `["` + strings.Repeat("x", 11) + `"]`, `["` + strings.Repeat("x", 253) + `"]`,
	`["` + strings.Repeat("x", 254) + `"]`, `[["` + strings.Repeat("x", 65530) + `"]]`, `[["` + strings.Repeat("x", 65531) + `"]]`,
	`[["` + strings.Repeat("x", 65532) + `"]]`, `[["` + strings.Repeat("x", 65533) + `"]]`, `[["` + strings.Repeat("x", 65534) + `"]]`,
}

func TestJSONBIsSQLites(t *testing.T) {
	ask := sqlite(t)
	check := func(doc string) {
		t.Helper()
		want := ask(`SELECT jsonb(?)`, func(s *sqlite3.Stmt) error { return s.BindText(1, doc) })
		r := textReader{text: doc}
		got, err := r.value(nil)
		if err == nil {
			err = r.end()
		}
		if err != nil || string(got) != string(want) {
			t.Errorf("%s: got %x, want %x, %v", shortened(doc), got, want, err)
			return
		}
		back, err := appendJSON(nil, string(got))
		if err != nil {
			t.Fatalf("%s: %v", shortened(doc), err)
		}
		wantText := ask(`SELECT json(?)`, func(s *sqlite3.Stmt) error { return s.BindBlob(1, want) })
		if string(back) != string(wantText) {
			t.Errorf("%s: got %s, want %s", shortened(doc), shortened(string(back)), shortened(string(wantText)))
		}
	}
	for _, doc := range hostile {
		check(doc)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		doc, err := json.Marshal(randomValue(random, 5))
		if err != nil {
			t.Fatal(err)
		}
		check(string(doc))
	}
}

func shortened(s string) string {
	if len(s) > 100 {
		return fmt.Sprintf("%s… (%d bytes)", s[:100], len(s))
	}
	return s
}

// randomValue is what a client decodes some document to.
func randomValue(random *rand.Rand, depth int) any {
	texts := []string{"", "a", "label", "a\nb", `"`, `\`, "é", "漢字", "😀", "<x>", "\x00", "\x7f", "\u2028", strings.Repeat("long ", 60), strings.Repeat("é", 200)}
	pick := func() string { return texts[random.IntN(len(texts))] }
	switch n := random.IntN(10); {
	case n < 2 && depth > 0:
		list := []any{}
		for range random.IntN(6) {
			list = append(list, randomValue(random, depth-1))
		}
		return list
	case n < 6 && depth > 0:
		object := map[string]any{}
		for i := range random.IntN(8) {
			object[pick()+fmt.Sprint(i%3)] = randomValue(random, depth-1)
		}
		return object
	case n == 6:
		return random.Int64() >> random.IntN(64) * int64(random.IntN(3)-1)
	case n == 7:
		return []any{nil, true, false, 0.5, 1e21, 1e-7, -2.0, 123456.75}[random.IntN(8)]
	}
	return pick()
}

// TestDecodedIsAsText: an object becomes the same record whether it comes decoded or by way of JSON, and both ways back
// lead to the same object.
func TestDecodedIsAsText(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	k := key(pods, "n", "a")
	for range 2000 {
		meta := map[string]any{"name": "a", "namespace": "n", "uid": "u", "managedFields": []any{"x"}, "generation": int64(3)}
		object := map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": meta}
		for _, name := range []string{"spec", "status", "data", "other", "a\"b"} {
			if random.IntN(2) == 0 {
				object[name] = randomValue(random, 4)
			}
		}
		for _, name := range []string{"labels", "annotations", "ownerReferences", "finalizers", "creationTimestamp", "uid", "name"} {
			if random.IntN(3) == 0 {
				meta[name] = randomValue(random, 2)
			}
		}
		encoded, err := Encode(object)
		if err != nil {
			t.Fatal(err)
		}
		fromText, err := NewObject(k, encoded)
		if err != nil {
			t.Fatalf("%v: %s", err, encoded)
		}
		decoded, err := DecodedObject(k, object)
		if err != nil {
			t.Fatalf("%v: %s", err, encoded)
		}
		if fromText != decoded {
			t.Fatalf("%s:\n%q\n%q", encoded, fromText.record, decoded.record)
		}
		if decoded.Hash() != Hash(encoded) {
			t.Fatalf("the hashes of %s differ", encoded)
		}
		var want, got map[string]any
		if err := utiljson.Unmarshal(encoded, &want); err != nil {
			t.Fatal(err)
		}
		if err := utiljson.Unmarshal(decoded.JSON(), &got); err != nil {
			t.Fatalf("%v: %s", err, decoded.JSON())
		}
		if diff := cmp.Diff(want, got) + cmp.Diff(want, decoded.Map()); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestInvalidJSON(t *testing.T) {
	for _, doc := range []string{
		``, ` `, `{`, `[`, `"`, `[1`, `[1,`, `[1,]`, `[,1]`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{a:1}`, `{1:1}`, `{"a" 1}`,
		`1 2`, `[1 2]`, `tru`, `nul`, `nulll`, `True`, `+1`, `01`, `.5`, `5.`, `1e`, `1e+`, `-`, `0x1f`, `NaN`, `Infinity`, `'a'`,
		`"\x41"`, `"\u12"`, `"\u12g4"`, `"\`, "\"a\nb\"", "\"\x00\"", `[1]]`, `{}}`, `/**/1`, "\ufeff1",
		strings.Repeat("[", 1001) + strings.Repeat("]", 1001),
	} {
		r := textReader{text: doc}
		b, err := r.value(nil)
		if err == nil {
			err = r.end()
		}
		if err == nil {
			t.Errorf("%s was taken for %x", shortened(doc), b)
		}
		if doc != "" && json.Valid([]byte(doc)) && len(doc) < 1000 {
			t.Errorf("%s is valid", doc)
		}
	}
}

// TestSQLitesOwnJSONB: what SQLite makes of JSON5 and of SQL's strings is read too.
func TestSQLitesOwnJSONB(t *testing.T) {
	ask := sqlite(t)
	for expression, want := range map[string]string{
		`jsonb('[+1, 0x1F, -0x10, .5, 5., -.5]')`:     `[1,31,-16,0.5,5,-0.5]`,
		`jsonb('{a:''it\''s'', ''b'':"\x41\v\0"}')`:   `{"a":"it's","b":"A\u000b\u0000"}`,
		`jsonb_object('a"b', 'c' || char(10) || '\')`: `{"a\"b":"c\n\\"}`,
		`jsonb_set('{"a":{"b":1}}', '$.a.c', 'x"y')`:  `{"a":{"b":1,"c":"x\"y"}}`,
		`jsonb_array(1, 2.5, NULL, 'é', json('[]'))`:  `[1,2.5,null,"é",[]]`,
	} {
		b := ask("SELECT "+expression, func(*sqlite3.Stmt) error { return nil })
		got, err := appendJSON(nil, string(b))
		if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v, want %s", expression, got, err, want)
		}
		var wantValue any
		if err := utiljson.Unmarshal([]byte(want), &wantValue); err != nil {
			t.Fatal(err)
		}
		value, err := decode(string(b))
		if diff := cmp.Diff(wantValue, value); err != nil || diff != "" {
			t.Errorf("%s: %v %s", expression, err, diff)
		}
	}
}

func FuzzJSONB(f *testing.F) {
	for _, doc := range hostile {
		f.Add([]byte(doc))
	}
	f.Add([]byte{0xcc, 0x05, 0x17, 'a'})
	f.Fuzz(func(t *testing.T, b []byte) {
		// Whatever bytes: no panic, and what is read once reads as the same again.
		if doc, err := appendJSON(nil, string(b)); err == nil && json.Valid(doc) {
			_, _ = decode(string(b))
		}
		lookup(string(b), "a")
		appendCanonical(nil, string(b), documentLevel)
		r := textReader{text: string(b)}
		encoded, err := r.value(nil)
		if err == nil {
			err = r.end()
		}
		if err != nil {
			return
		}
		if !json.Valid(b) {
			t.Fatalf("%q was taken", b)
		}
		text, err := appendJSON(nil, string(encoded))
		if err != nil {
			t.Fatal(err)
		}
		again := textReader{text: string(text)}
		if b, err := again.value(nil); err != nil || string(b) != string(encoded) {
			t.Fatalf("%q became %q, %v", text, b, err)
		}
	})
}
