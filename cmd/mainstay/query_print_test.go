package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

var someRows = &virtual.Rows{
	Columns: []string{"name", "labels->>'App'", "spec", "name", "n"},
	Values: [][]any{
		{"web", nil, map[string]any{"b": []any{int64(1), "<&>"}, "a": true}, "x\ty\x1b[31m", int64(3)},
		{"", "true", nil, "two\nlines", 0.5},
	},
}

func printed(t *testing.T, o queryOptions, width int, results ...*virtual.Rows) string {
	t.Helper()
	var out bytes.Buffer
	p, err := newPrinter(&out, o)
	if err != nil {
		t.Fatal(err)
	}
	p.width = func() int { return width }
	p.now = func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local) }
	for _, rows := range results {
		if err := p.print(rows); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

func TestFormats(t *testing.T) {
	none := &virtual.Rows{Columns: []string{"name"}}
	cases := []struct {
		name string
		o    queryOptions
		rows []*virtual.Rows
		want string
	}{
		{"table", queryOptions{format: "table"}, []*virtual.Rows{someRows}, `
NAME   labels->>'App'   SPEC                       NAME           N
web    <none>           {"a":true,"b":[1,"<&>"]}   x\ty\x1b[31m   3
       true             <none>                     two\nlines     0.5
`},
		{"empty table", queryOptions{format: "table"}, []*virtual.Rows{none}, "\nNAME\n"},
		{"live table", queryOptions{format: "table", watch: true}, []*virtual.Rows{none, {Columns: none.Columns, Values: [][]any{{"a"}}}}, `
--- 03:04:05, 0 rows
NAME
--- 03:04:05, 1 row
NAME
a
`},
		{"json", queryOptions{format: "json"}, []*virtual.Rows{someRows, none}, `
[
  {
    "name": "web",
    "labels->>'App'": null,
    "spec": {
      "a": true,
      "b": [
        1,
        "<&>"
      ]
    },
    "name:1": "x\ty\u001b[31m",
    "n": 3
  },
  {
    "name": "",
    "labels->>'App'": "true",
    "spec": null,
    "name:1": "two\nlines",
    "n": 0.5
  }
]
[]
`},
		{"jsonl", queryOptions{format: "jsonl"}, []*virtual.Rows{someRows, none}, `
{"name":"web","labels->>'App'":null,"spec":{"a":true,"b":[1,"<&>"]},"name:1":"x\ty\u001b[31m","n":3}
{"name":"","labels->>'App'":"true","spec":null,"name:1":"two\nlines","n":0.5}
`},
		{"live jsonl", queryOptions{format: "jsonl", watch: true}, []*virtual.Rows{none, {Columns: none.Columns, Values: [][]any{{"a"}, {"b"}}}}, `
[]
[{"name":"a"},{"name":"b"}]
`},
		{"yaml", queryOptions{format: "yaml"}, []*virtual.Rows{someRows, none}, `
- name: web
  labels->>'App': null
  spec:
    a: true
    b:
      - 1
      - <&>
  name:1: "x\ty\e[31m"
  n: 3
- name: ""
  labels->>'App': "true"
  spec: null
  name:1: |-
    two
    lines
  n: 0.5
---
[]
`},
		{"csv", queryOptions{format: "csv"}, []*virtual.Rows{someRows}, `
name,labels->>'App',spec,name,n
web,,"{""a"":true,""b"":[1,""<&>""]}",x` + "\ty\x1b" + `[31m,3
,true,,"two
lines",0.5
`},
	}
	for _, c := range cases {
		if d := cmp.Diff(strings.TrimPrefix(c.want, "\n"), printed(t, c.o, 0, c.rows...)); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
	if _, err := newPrinter(nil, queryOptions{format: "xml"}); err == nil || !strings.Contains(err.Error(), "not one of table, json") {
		t.Errorf("xml: %v", err)
	}
	if _, err := newPrinter(nil, queryOptions{format: "csv", watch: true}); err == nil {
		t.Error("a live csv is no csv")
	}
}

func TestTableFitsTheTerminal(t *testing.T) {
	rows := &virtual.Rows{Columns: []string{"name", "a", "b"}, Values: [][]any{{"short", strings.Repeat("ä", 50), strings.Repeat("y", 31)}}}
	for _, c := range []struct{ width, want int }{{0, 92}, {200, 92}, {92, 92}, {91, 91}, {70, 70}, {45, 45}, {27, 27}, {3, 27}} {
		lines := strings.Split(printed(t, queryOptions{format: "table"}, c.width, rows), "\n")
		if got := utf8.RuneCountInString(lines[1]); got != c.want {
			t.Errorf("width %d: %d columns, want %d: %s", c.width, got, c.want, lines[1])
		}
		if !strings.HasPrefix(lines[1], "short   ä") {
			t.Errorf("width %d: the short column needed no cut: %s", c.width, lines[1])
		}
		if cut := c.width > 0 && c.width < 92; cut != strings.Contains(lines[1], "…") {
			t.Errorf("width %d: %s", c.width, lines[1])
		}
	}
	if got := printed(t, queryOptions{format: "json"}, 10, rows); strings.Contains(got, "…") {
		t.Errorf("JSON was cut: %s", got)
	}
}

func TestPointOut(t *testing.T) {
	long := strings.Repeat("x", 300)
	cases := []struct {
		text string
		err  virtual.SQLError
		want string
	}{
		{"SELECT 1", virtual.SQLError{Message: "wrong", Offset: -1}, "wrong"},
		{"SELECT 1", virtual.SQLError{Message: "wrong", Hint: "do right", Offset: -1}, "wrong\ndo right"},
		{"SELECT x FROM y", virtual.SQLError{Message: "wrong", Hint: "do right", Offset: 7}, "wrong\n  1 | SELECT x FROM y\n    |        ^\ndo right"},
		{"SELECT 'ä',\n\tx\nFROM y", virtual.SQLError{Message: "wrong", Offset: 14}, "wrong\n  2 |  x\n    |  ^"},
		{"SELECT 'ää', x", virtual.SQLError{Message: "wrong", Offset: 15}, "wrong\n  1 | SELECT 'ää', x\n    |              ^"},
		{"SELECT (", virtual.SQLError{Message: "wrong", Offset: 8}, "wrong\n  1 | SELECT (\n    |         ^"},
		{"SELECT (", virtual.SQLError{Message: "wrong", Offset: 9}, "wrong"},
		{long + "!" + long, virtual.SQLError{Message: "wrong", Offset: 300},
			"wrong\n  1 | …" + strings.Repeat("x", 50) + "!" + strings.Repeat("x", 47) + "…\n    | " + strings.Repeat(" ", 51) + "^"},
	}
	for _, c := range cases {
		if d := cmp.Diff(c.want, pointOut(c.text, &c.err)); d != "" {
			t.Error(d)
		}
	}
}

func TestParams(t *testing.T) {
	got, err := parseParams([]string{"a=web", ":b=3", "c=true", `d="3"`, "e=", "f=null", "g=007", "h=1 2", "i=x=y", `j=["a"]`})
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, name := range strings.Fields("a c d e f g h i j") {
		texts = append(texts, string(must(compactJSON(got[name]))))
	}
	if d := cmp.Diff([]string{`"web"`, "true", `"3"`, `""`, "null", `"007"`, `"1 2"`, `"x=y"`, `["a"]`}, texts); d != "" {
		t.Error(d)
	}
	if string(must(compactJSON(got["b"]))) != "3" {
		t.Errorf("b is %v", got["b"])
	}
	for _, bad := range []string{"a", "=3", ":=3"} {
		if _, err := parseParams([]string{bad}); err == nil {
			t.Errorf("%q is no parameter", bad)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
