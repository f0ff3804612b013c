package expr_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mainstay-dev/mainstay/specs/expr"
)

func object(p map[string]any) map[string]any {
	return map[string]any{"type": "object", "properties": p}
}

func of(t string) map[string]any { return map[string]any{"type": t} }

var schema = object(map[string]any{
	"spec": object(map[string]any{
		"size":      of("string"),
		"replicas":  of("integer"),
		"ratio":     of("number"),
		"port":      map[string]any{"x-kubernetes-int-or-string": true},
		"log-level": of("string"),
		"paused":    map[string]any{"type": "boolean", "nullable": true},
		"extra":     map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
		"tls":       object(map[string]any{"secret": of("string"), "in": of("string")}),
		"params":    map[string]any{"type": "object", "additionalProperties": of("string")},
		"brokers":   map[string]any{"type": "array", "items": object(map[string]any{"id": of("integer")})},
	}),
	"status": object(map[string]any{"phase": of("string")}),
})

// everything is a scope that has all there is.
var everything = expr.Scope{Schema: schema, Object: true, Rows: true}

// TestCompileErrors: what is wrong is found when the operator is loaded, at its place and with a way out.
func TestCompileErrors(t *testing.T) {
	bare := expr.Scope{Schema: schema}
	for _, c := range []struct {
		scope      expr.Scope
		text, want string
	}{
		// Fields that the resource's schema doesn't have.
		{bare, `cr.spec.siez == 'a'`, `1:8: cr.spec has no field "siez"; did you mean "size"?`},
		{bare, `cr.?spec.?siez.hasValue()`, `1:9: cr.spec has no field "siez"; did you mean "size"?`},
		{bare, `has(cr.spec.sizee)`, `1:4: cr.spec has no field "sizee"; did you mean "size"?`},
		{bare, `cr.spec.tls.sekret == ''`, `1:12: cr.spec.tls has no field "sekret"; did you mean "secret"?`},
		{bare, `cr.spec.brokers[0].if == 1`, `1:19: cr.spec.brokers[] has no field "if"; did you mean "id"?`},
		{bare, `cr.spec.brokers.exists(b, b.ig == 1)`, `1:28: b has no field "ig"; did you mean "id"?`},
		{bare, "true &&\n  cr.spec.foo == 1", `2:10: cr.spec has no field "foo"; it has brokers, extra, log-level, params, paused, port, ratio, replicas, size, tls`},
		{bare, `cr.specs.size == ''`, `1:3: cr has no field "specs"; did you mean "spec"?`},
		{bare, `cr.metadata.lables.x == ''`, `1:12: cr.metadata has no field "lables"; did you mean "labels"?`},
		{bare, `event.kin == 'x' || instance.labl == ''`, "1:6: event has no field \"kin\"; did you mean \"kind\"?\n1:29: instance has no field \"labl\"; did you mean \"label\"?"},
		{bare, `cr['spec'].size == ''`, "1:3: [] can't be applied to (cr, string); a field that the schema has is read with a dot: .name, or .`log-level`"},
		// Names.
		{bare, `crr.spec.size == ''`, `1:1: there is no variable "crr"; did you mean "cr"?`},
		{bare, `zebra`, `1:1: there is no variable "zebra"; there are cr, event, instance`},
		{bare, `object.spec.x`, `1:1: there is no variable "object"; only a rule that watches objects has one`},
		{bare, `size(rows) > 0`, `1:6: there is no variable "rows"; rows are there if the rule has a query: write decide.sql`},
		{bare, `outputs.a == 1`, `1:1: the variable "outputs" is not supported yet`},
		{bare, `cr.spec.size.startWith('a')`, `1:23: there is no function "startWith"; did you mean "startsWith"?`},
		// Types.
		{bare, `cr.spec.replicas > '3'`, `1:18: > can't be applied to (int, string)`},
		{bare, `cr.spec.params.x == 1`, `1:18: == can't be applied to (string, int)`},
		{bare, `'aé' == 1`, `1:6: == can't be applied to (string, int)`},
		{bare, `cr.spec.size`, `1:1: the condition is a string, not true or false; compare it with something, e.g. size(rows) > 0`},
		{bare, `cr.spec.tls`, `1:1: the condition is a cr.spec.tls, not true or false; compare it with something, e.g. size(rows) > 0`},
		{bare, `1`, `1:1: the condition is an int, not true or false; compare it with something, e.g. size(rows) > 0`},
		{bare, `cr.spec.size.matches('(')`, `1:22: invalid matches argument`},
		{bare, `duration('3x') == duration('1s')`, `1:10: invalid duration argument`},
		// Syntax.
		{bare, ``, `1:1: no valid CEL: mismatched input the end`},
		{bare, `(`, `1:2: no valid CEL: mismatched input the end`},
		{bare, `cr.spec.size = 'a'`, `1:14: no valid CEL: token recognition error at: '= '; to compare, write ==`},
		{bare, `a and b`, `1:3: no valid CEL: mismatched input 'and' expecting <EOF>; CEL writes && for and`},
		{bare, `'unterminated`, `1:1: no valid CEL: token recognition error at: ''unterminated'; a text in quotes has no end`},
		{bare, `cr.spec.tls.in == 'x'`, "1:13: no valid CEL: no viable alternative at input '.in'; a field with such a name is written in backticks: .`in`"},
		{bare, strings.Repeat("(", 150) + "1" + strings.Repeat(")", 150), `no valid CEL: expression recursion limit exceeded: 100`},
		{bare, strings.Repeat("é", 8193), `the condition has 8193 characters; at most 8192 are allowed`},
	} {
		_, err := expr.Compile(c.text, c.scope)
		var all expr.Errors
		if !errors.As(err, &all) {
			t.Errorf("%.60s\nerror %v is no expr.Errors", c.text, err)
			continue
		}
		if got := err.Error(); got != c.want && !strings.HasSuffix(got, c.want) {
			t.Errorf("%.60s\ngot  %s\nwant %s", c.text, got, c.want)
		}
	}
}

// values are of the types that decoded JSON has.
func values() map[string]any {
	return map[string]any{
		"cr": map[string]any{
			"metadata": map[string]any{"name": "demo", "labels": map[string]any{"app": "x"}},
			"spec": map[string]any{
				"size": "big", "replicas": int64(3), "ratio": 1.5, "port": "http", "log-level": "info", "paused": nil,
				"params": map[string]any{"a": "b"}, "brokers": []any{map[string]any{"id": int64(1)}},
				"extra": map[string]any{"deep": map[string]any{"n": int64(1)}},
			},
		},
		"event":    map[string]any{"category": "ResourceDidChange", "kind": "Service", "rule": "r", "name": "web"},
		"instance": map[string]any{"name": "demo", "namespace": "default", "label": "demo.1", "releases": map[string]any{"web": "demo-web"}},
		"object":   map[string]any{"metadata": map[string]any{"name": "demo"}, "spec": map[string]any{"type": "LoadBalancer", "n": int64(5), "ratio": int64(2), "text": strings.Repeat("a", 200_000)}},
		"rows":     []map[string]any{{"name": "x", "n": int64(3), "spec": map[string]any{"a": []any{int64(1), 2.5}}}, {"name": nil, "n": 0.5}},
	}
}

func TestBool(t *testing.T) {
	for text, want := range map[string]bool{
		`size(rows) > 0 && object.spec.type == 'LoadBalancer'`:                        true,
		`cr.spec.size == 'big' && cr.spec.replicas == 3 && cr.spec.ratio > 1`:         true,
		`cr.spec.ratio == 1.5 && object.spec.ratio == 2.0 && object.spec.ratio > 1.5`: true,
		"cr.spec.`log-level` == 'info' && cr.spec.port == 'http'":                     true,
		`cr.spec.paused == null`:                                                                      true,
		`has(cr.spec.tls)`:                                                                            false,
		`has(cr.spec.tls) && cr.spec.tls.secret == ''`:                                                false,
		`cr.?spec.?tls.?secret.orValue('none') == 'none'`:                                             true,
		`cr.spec.extra.deep.n == 1 && cr.spec.params.a == 'b'`:                                        true,
		`cr.metadata.labels.app == 'x' && !has(cr.metadata.deletionTimestamp)`:                        true,
		`cr.spec.brokers.exists(b, b.id == 1) && cr.spec.brokers[0].id < 2`:                           true,
		`rows.exists(r, r.name == 'x') && rows[0].spec.a[1] == 2.5`:                                   true,
		`rows.filter(r, r.n > 1).sortBy(r, r.name)[0].n == 3`:                                         true,
		`rows[1].name == null && !has(rows[1].spec)`:                                                  true,
		`event.kind == 'Service' && event.name == instance.releases.web`:                              false,
		`instance.releases.web == 'demo-web'`:                                                         true,
		`sets.contains(['a', 'b'], ['a']) && math.greatest(1, 2) == 2`:                                true,
		`base64.encode(b'a') == 'YQ==' && ['a', 'b'].join(',') == 'a,b'`:                              true,
		`'a-b-c'.replace('-', '.', 1) == 'a.b-c' && 'a-b'.replace('-', '') == 'ab'`:                   true,
		`['', 'a', ''].join(',') == ',a,' && 'A'.lowerAscii() == 'a'`:                                 true,
		`duration('90s') > duration('1m') && timestamp('2020-01-01T00:00:00Z').getFullYear() == 2020`: true,
		`[2, 1].sort() == [1, 2] && optional.of(1).hasValue()`:                                        true,
		`object.spec.missing == 1 || true`:                                                            true,
		`object.spec == cr.spec`:                                                                      false,
	} {
		p, err := expr.Compile(text, everything)
		if err != nil {
			t.Errorf("%s\n%v", text, err)
			continue
		}
		if got, err := p.Bool(t.Context(), values()); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
}

// TestOpenSchema: a resource whose schema is unknown or says nothing has any field.
func TestOpenSchema(t *testing.T) {
	for name, s := range map[string]map[string]any{
		"none": nil, "empty": of("object"),
		"preserving": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": map[string]any{"spec": of("object")}},
	} {
		p, err := expr.Compile(`cr.spec.size == 'big' && cr.metadata.name == 'demo'`, expr.Scope{Schema: s})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if ok, err := p.Bool(t.Context(), values()); err != nil || !ok {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
}

// TestRunErrors: what can only be wrong when it runs is the condition's own error, at its place.
func TestRunErrors(t *testing.T) {
	long := strings.Repeat("a", 40)
	for text, want := range map[string]string{
		`object.spec.foo == 1`:             `1:12: there is no object.spec.foo; test it with has(object.spec.foo), or read it as object.spec.?foo.orValue(…)`,
		`object.spec.foo.bar == 1`:         `1:12: there is no object.spec.foo; test it with has(object.spec.foo), or read it as object.spec.?foo.orValue(…)`,
		`cr.spec.tls.secret == ''`:         `1:8: there is no cr.spec.tls; test it with has(cr.spec.tls), or read it as cr.spec.?tls.orValue(…)`,
		`cr.spec.params['x'] == ''`:        `1:15: there is no "x"; test it with 'x' in …, or read it as …[?'x'].orValue(…)`,
		"true &&\n rows[0].nme == 'x'":     `2:9: there is no rows[0].nme; test it with has(rows[0].nme), or read it as rows[0].?nme.orValue(…)`,
		`cr.spec.brokers[3].id == 1`:       `1:19: index out of bounds: 3`,
		`rows[0].name > 3`:                 `1:14: a value is of another type than the condition takes it for (no such overload); convert it, e.g. int(…) or string(…)`,
		`object.spec.type`:                 `1:1: the condition came out as a string, not as true or false; compare it with something, e.g. == 'yes'`,
		`object.?spec`:                     `1:1: the condition is a optional_type, not true or false; compare it with something, e.g. size(rows) > 0`,
		`1 / (object.spec.n - 5) == 1`:     `1:3: division by zero`,
		`lists.range(1000000).size() == 1`: `1:12: lists.range: size 1000000 exceeds maximum allowed (10000)`,
		`lists.range(1000).all(x, !object.spec.text.contains('b' + string(x)))`:                                       `the condition was stopped: it costs more than 1000000 steps; let the query do the work and leave few rows to the condition`,
		`'` + long + `'.replace('a', '` + long + `').replace('a', '` + long + `').replace('a', '` + long + `') == ''`: `1:165: replace would make a text of more than 1024 KiB`,
		`lists.range(9).map(x, object.spec.text).join() == ''`:                                                        `1:45: join would make a text of more than 1024 KiB`,
	} {
		p, err := expr.Compile(text, everything)
		if err == nil {
			_, err = p.Bool(t.Context(), values())
		}
		var one *expr.Error
		if !errors.As(err, &one) {
			t.Errorf("%.60s\nerror %v is no *expr.Error", text, err)
		} else if one.Error() != want {
			t.Errorf("%.60s\ngot  %s\nwant %s", text, one, want)
		}
	}
}

// TestNotItsFault: a caller's mistake and a context that is done are no errors of the condition.
func TestNotItsFault(t *testing.T) {
	p, err := expr.Compile("size(rows) == 0", everything)
	if err != nil {
		t.Fatal(err)
	}
	vars := values()
	delete(vars, "rows")
	stopping := errors.New("stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stopping)
	_, unbound := p.Bool(t.Context(), vars)
	_, stopped := p.Bool(ctx, values())
	var one *expr.Error
	if unbound == nil || errors.As(unbound, &one) || !strings.Contains(unbound.Error(), `"rows"`) {
		t.Errorf("without a value for rows: %v", unbound)
	}
	if !errors.Is(stopped, stopping) {
		t.Errorf("with a context that is done: %v", stopped)
	}
}

// TestManyRows: a large result is affordable.
func TestManyRows(t *testing.T) {
	p, err := expr.Compile("rows.exists(r, r.name == 'none' || r.n > 200000)", everything)
	if err != nil {
		t.Fatal(err)
	}
	vars := values()
	rows := make([]map[string]any, 2_000)
	for i := range rows {
		rows[i] = map[string]any{"name": fmt.Sprint(i), "n": int64(i)}
	}
	vars["rows"] = rows
	if ok, err := p.Bool(t.Context(), vars); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestConcurrentUse(t *testing.T) {
	p, err := expr.Compile("cr.spec.brokers[0].id == 1 && cr.?spec.?tls.?secret.orValue('') == ''", everything)
	if err != nil {
		t.Fatal(err)
	}
	for range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for range 50 {
				if ok, err := p.Bool(t.Context(), values()); !ok || err != nil {
					t.Errorf("%v, %v", ok, err)
				}
			}
		})
	}
}

func TestNearest(t *testing.T) {
	for word, want := range map[string]string{"chrat": "chart", "Chart": "chart", "x": "", "colour": ""} {
		if got := expr.Nearest(word, []string{"chart", "values"}); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, text := range []string{
		"size(rows) > 0 && object.spec.type == 'LoadBalancer'", "cr.spec.brokers.exists(b, b.id == 1)", "cr.?spec.?tls.?secret.orValue('') == ''",
		"rows.map(r, r.n).sortBy(n, n)[0] == 0.5", "has(cr.spec.tls) ? cr.spec.siez : object.a['b']", "'\\'", "a.`b-c`.?d[?0]", "{'a': [1u, b'x']}.a", "\x00é(((",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := expr.Compile(text, everything)
		var all expr.Errors
		if err != nil {
			if !errors.As(err, &all) || len(all) == 0 || strings.TrimSpace(all[0].Message) == "" {
				t.Errorf("error %v is no expr.Errors", err)
			}
			return
		}
		var one *expr.Error
		if _, err := p.Bool(t.Context(), values()); err != nil && !errors.As(err, &one) {
			t.Errorf("error %v is no *expr.Error", err)
		}
	})
}
