package render_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/mainstay-dev/mainstay/specs/render"
)

func vars() map[string]any {
	return map[string]any{
		"cr": map[string]any{
			"metadata": map[string]any{"name": "demo", "namespace": "default", "labels": map[string]any{"a.b/c": "d", "z": "1", "m": "2"}},
			"spec": map[string]any{
				"port": float64(8080), "big": int64(1 << 52), "ratio": 1.5, "num": json.Number("3"), "on": true, "off": false,
				"text": `say "hi" & <bye>`, "empty": "", "null": nil,
				"list":  []any{"a", int64(2), 2.5, true},
				"hosts": []any{map[string]any{"name": "one"}, map[string]any{"name": "two"}},
				"lines": "one\ntwo",
			},
		},
	}
}

func run(t *testing.T, engine, text string) (string, error) {
	t.Helper()
	return runWith(engine, render.Template{Name: "file.yaml", Text: text}, vars())
}

func runWith(engine string, tpl render.Template, vars map[string]any) (string, error) {
	f, ok := render.Engine(engine)
	if !ok {
		return "", fmt.Errorf("no engine %q", engine)
	}
	return f(context.Background(), tpl, vars)
}

// TestEnginesAgree renders the same thing in both languages and compares the structures.
func TestEnginesAgree(t *testing.T) {
	for _, c := range []struct{ name, pongo2, helm, want string }{
		{"integer", `v: {{ cr.spec.port }}`, `v: {{ .cr.spec.port }}`, `{"v":8080}`},
		{"large integer", `v: {{ cr.spec.big }}`, `v: {{ .cr.spec.big }}`, `{"v":4503599627370496}`},
		{"float", `v: {{ cr.spec.ratio }}`, `v: {{ .cr.spec.ratio }}`, `{"v":1.5}`},
		{"number of a decoder", `v: {{ cr.spec.num }}`, `v: {{ .Values.num }}`, `{"v":3}`},
		{"bool", `v: {{ cr.spec.on }}`, `v: {{ .cr.spec.on }}`, `{"v":true}`},
		{"bool in a string", `v: "x{{ cr.spec.off }}"`, `v: "x{{ .cr.spec.off }}"`, `{"v":"xfalse"}`},
		{"no escaping", `v: '{{ cr.spec.text }}'`, `v: '{{ .Values.text }}'`, `{"v":"say \"hi\" & <bye>"}`},
		{"quote", `v: {{ cr.spec.text|quote }}`, `v: {{ .Values.text | quote }}`, `{"v":"say \"hi\" & <bye>"}`},
		{"list inline", `v: {{ cr.spec.list }}`, `v: {{ .Values.list }}`, `{"v":["a",2,2.5,true]}`},
		{"map inline", `v: {{ cr.metadata.labels }}`, `v: {{ .cr.metadata.labels }}`, `{"v":{"a.b/c":"d","m":"2","z":"1"}}`},
		{"to_json", `v: {{ cr.spec.list|to_json }}`, `v: {{ .Values.list | to_json }}`, `{"v":["a",2,2.5,true]}`},
		{"toJson", `v: {{ cr.spec.list|to_json }}`, `v: {{ .Values.list | toJson }}`, `{"v":["a",2,2.5,true]}`},
		{"to_yaml", "v:\n{{ cr.spec.list|to_yaml|indent:2 }}", "v:\n{{ .Values.list | to_yaml | indent 2 }}", `{"v":["a",2,2.5,true]}`},
		{"toYaml", "v:\n{{ cr.metadata.labels|to_yaml|indent:2 }}", "v:{{ .cr.metadata.labels | toYaml | nindent 2 }}", `{"v":{"a.b/c":"d","m":"2","z":"1"}}`},
		{"base64", `v: {{ cr.spec.text|b64encode }}`, `v: {{ .Values.text | b64encode }}`, `{"v":"c2F5ICJoaSIgJiA8YnllPg=="}`},
		{"base64 of a number", `v: {{ cr.spec.port|b64encode|b64decode|quote }}`, `v: {{ .Values.port | b64encode | b64decode | quote }}`, `{"v":"8080"}`},
		{"sha256", `v: {{ cr.spec.lines|sha256 }}`, `v: {{ .Values.lines | sha256 }}`, `{"v":"21066d108d5319ecb5a1fc4454f42ef22fc5f1c7df49c31d90294950e0ea8b2c"}`},
		{"default of empty", `v: {{ cr.spec.empty|default:"x" }}`, `v: {{ .Values.empty | default "x" }}`, `{"v":"x"}`},
		{"default of missing", `v: {{ cr.spec.nope|default:7 }}`, `v: {{ dig "nope" 7 .Values }}`, `{"v":7}`},
		{"default unused", `v: {{ cr.spec.port|default:7 }}`, `v: {{ .Values.port | default 7 }}`, `{"v":8080}`},
		{"if", `v: {% if cr.spec.on and not cr.spec.off %}a{% else %}b{% endif %}`, `v: {{ if and .Values.on (not .Values.off) }}a{{ else }}b{{ end }}`, `{"v":"a"}`},
		{"if missing", `v: {% if cr.spec.a.b.c %}a{% else %}b{% endif %}`, `v: {{ if dig "a" "b" "c" nil .Values }}a{{ else }}b{{ end }}`, `{"v":"b"}`},
		{"loop", "v:\n{% for h in cr.spec.hosts %}- {{ h.name }}\n{% endfor %}", "v:\n{{ range .Values.hosts }}- {{ .name }}\n{{ end }}", `{"v":["one","two"]}`},
		{"loop over a map is sorted", "v: [{% for k, v in cr.metadata.labels %}{{ k }}={{ v }}{% if not forloop.Last %}, {% endif %}{% endfor %}]",
			`v: [{{ $n := 0 }}{{ range $k, $v := .cr.metadata.labels }}{{ if $n }}, {{ end }}{{ $n = 1 }}{{ $k }}={{ $v }}{{ end }}]`, `{"v":["a.b/c=d","m=2","z=1"]}`},
		{"compare", `v: {% if cr.spec.port == 8080 and cr.spec.ratio == 1.5 %}same{% endif %}`, `v: {{ if and (eq .Values.port 8080) (eq .Values.ratio 1.5) }}same{{ end }}`, `{"v":"same"}`},
		{"set", `{% set p = cr.spec.port + 1 %}v: {{ p }}`, `{{ $p := add .Values.port 1 }}v: {{ $p }}`, `{"v":8081}`},
		{"macro", `{% macro two(x) %}{{ x }}-{{ x }}{% endmacro %}v: {{ two("a") }}`, `{{ define "two" }}{{ . }}-{{ . }}{{ end }}v: {{ include "two" "a" }}`, `{"v":"a-a"}`},
		{"trim", "v:   {%- if cr.spec.on -%}   1   {%- endif -%}   ", "v:   {{- if .Values.on -}}   1   {{- end -}}   ", `"v:1"`},
		{"nothing", `{% if cr.spec.off %}v: 1{% endif %}`, `{{ if .Values.off }}v: 1{{ end }}`, `null`},
		{"label", `v: {{ cr.metadata.labels["a.b/c"] }}`, `v: {{ index .cr.metadata.labels "a.b/c" }}`, `{"v":"d"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for engine, text := range map[string]string{"pongo2": c.pongo2, "helm": c.helm} {
				out, err := run(t, engine, text)
				if err != nil {
					t.Errorf("%s: %v", engine, err)
					continue
				}
				var got, want any
				if err := json.Unmarshal([]byte(c.want), &want); err != nil {
					t.Fatal(err)
				}
				if err := yaml.Unmarshal([]byte(out), &got); err != nil {
					t.Errorf("%s renders %q: %v", engine, out, err)
					continue
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s renders %q (-want +got):\n%s", engine, out, diff)
				}
			}
		})
	}
}

// TestErrors: each mistake is the template's, at its place.
func TestErrors(t *testing.T) {
	for _, c := range []struct{ engine, text, want string }{
		{"pongo2", "a: 1\nb: {{ cr.spec.prot }}", `file.yaml:2:7: cr.spec.prot is undefined or null; where it may be, write |default:"…" or put {% if %} around it`},
		{"pongo2", "{{ cr.spec.null }}", `file.yaml:1:4: cr.spec.null is undefined or null; where`},
		{"pongo2", "é {{ cr.spec.on }} {{ cr.spec.on }} {{ cr.spec.prot }}", `file.yaml:1:40: cr.spec.prot is undefined`},
		{"pongo2", "a: {{ x|default(\"y\") }}", `file.yaml:1:16: default(…): an argument in brackets; Jinja2 writes default("x"), pongo2 writes default:"x"; the jinja2 engine is not supported yet`},
		{"pongo2", "a: {{ a if b else c }}", `file.yaml:1:9: "if" inside an expression; Jinja2 writes a if b else c`},
		{"pongo2", "a: {{ a ~ b }}", `file.yaml:1:9: unexpected '~'; Jinja2 joins with ~`},
		{"pongo2", "{% for x in cr.spec.list %}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}", `file.yaml:1:45: loop.last means nothing to pongo2; pongo2 writes forloop.Last`},
		{"pongo2", "{% for x in cr.spec.list %}{% if forloop.last %},{% endif %}{% endfor %}", `file.yaml:1:34: forloop.last means nothing to pongo2; pongo2 writes forloop.Last`},
		{"pongo2", "{% for k, v in cr.spec.items() %}{% endfor %}", `file.yaml:1:24: items() can't be called: values have no methods here; pongo2 writes {% for key, value in map %}`},
		{"pongo2", "{% if x is defined %}{% endif %}", `file.yaml:1:9: "is" is no operator here; Jinja2 writes x is defined, pongo2 writes {% if x %}`},
		{"pongo2", "{% if cr.spec.on == True %}{% endif %}", `file.yaml:1:21: True is no value here; pongo2 writes true`},
		{"pongo2", `{{ cr.spec.host or "x" }}`, `file.yaml:1:17: "or" yields true or false here, not one of its sides; write |default:"x"`},
		{"pongo2", `{{ cr.spec.hosts[0].name }}`, `file.yaml:1:20: a field behind [ ]; pongo2 writes x.0.y`},
		{"pongo2", "\n  {{ cr.spec.on|tojson }}", `file.yaml:2:17: unknown filter "tojson"; pongo2 writes to_json`},
		{"pongo2", "{% raw %}{% endraw %}", `file.yaml:1:4: unknown tag "raw"; pongo2 writes {% verbatim %}`},
		{"pongo2", "{% if cr.spec.on %}", `file.yaml:1:18: a block is not closed: expected {% elif or else or endif %}`},
		{"pongo2", "x\n{{ a", `file.yaml:2:1: {{ is not closed`},
		{"pongo2", "x\n{{ a\n}}", `file.yaml:2:1: a line break inside {{; pongo2 wants each tag on one line`},
		{"pongo2", "{{ }}", `file.yaml:1:1: nothing between {{ and }}`},
		{"pongo2", "{{ a b }}", `file.yaml:1:6: unexpected "b"`},
		{"pongo2", "{% comment %}\n{% endcomment x %}", `file.yaml:1:1: {% comment %} is not closed`},
		{"pongo2", "{# a\nb #}", `file.yaml:1:1: a {# comment #} of several lines; pongo2 writes {% comment %}`},
		{"pongo2", "{{ 1 / 0 }}", `file.yaml: can't be rendered: runtime error: integer divide by zero`},
		{"pongo2", "a\x01b", `file.yaml:1:2: control character U+0001`},
		{"pongo2", "a\xffb", `file.yaml:1:2: not valid UTF-8`},
		{"pongo2", "{{ cr.spec.text|b64decode }}", `file.yaml:1:17: decode base64: illegal`},
		{"pongo2", "{% for x in cr.spec.port %}{% endfor %}", `file.yaml:1:4: can't loop over 8080: neither a list nor a map`},
		{"pongo2", "{{ __mainstay_run }}", `file.yaml:1:4: the name "__mainstay_run" starts with _`},
		{"helm", "a: 1\nb: {{ .cr.spec.prot }}", `file.yaml:2:10: prot is undefined or null; where it may be missing, write {{ dig "prot"`},
		{"helm", "{{ .Values.null }}", `file.yaml:1:4: .Values.null is undefined or null; where it may be`},
		{"helm", "a\n{{ if }}", `file.yaml:2: missing value for if`},
		{"helm", `{{ required "give a name" .Values.empty }}`, `file.yaml:1:4: give a name`},
		{"helm", `{{ fail "no" }}`, `file.yaml:1:4: no`},
		{"helm", `{{ now }}`, `file.yaml:1: unknown function "now"; it gives another result at each rendering`},
		{"helm", `{{ env "HOME" }}`, `file.yaml:1: unknown function "env"; a template sees nothing but its context`},
		{"helm", `{{ nope }}`, `file.yaml:1: unknown function "nope"`},
		{"helm", `{{ tpl "{{ .x" . }}`, `tpl:1: unclosed action`},
		{"helm", `{{ div 1 0 }}`, `file.yaml:1:4: error calling div: runtime error: integer divide by zero`},
	} {
		t.Run(c.engine+" "+c.text, func(t *testing.T) {
			out, err := run(t, c.engine, c.text)
			var e *render.Error
			if !errors.As(err, &e) {
				t.Fatalf("rendered %q, error %v (%T); want a render.Error", out, err, err)
			}
			if !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("error\n  %s\nwant\n  %s", err, c.want)
			}
		})
	}
}

// TestBounds: an accident ends by itself, and as an error of the template.
func TestBounds(t *testing.T) {
	long := strings.Repeat("x", 1000)
	big := make([]any, 2000)
	for i := range big {
		big[i] = long
	}
	v := map[string]any{"big": big}
	self := func(name string) (string, error) {
		return map[string]string{"self.p": `{% include "self.p" %}`, "lazy.p": `{% set n = "lazy.p" %}{% include n %}`, "self.h": `{{ include "self.h" . }}`}[name], nil
	}
	for _, c := range []struct{ engine, text, want string }{
		{"pongo2", `{% for a in big %}{% for b in big %}{{ b }}{% endfor %}{% endfor %}`, "renders more than 8 MiB"},
		{"pongo2", `{% for a in big %}{% for b in big %}` + long + `{% endfor %}{% endfor %}`, "renders more than 8 MiB"},
		{"pongo2", `{% macro m() %}{% for a in big %}{% for b in big %}{{ b }}{% endfor %}{% endfor %}{% endmacro %}{% if m() %}{% endif %}`, "renders more than 8 MiB"},
		{"pongo2", `{% set s = "xxxxxxxx" %}{% for a in big %}{% set s = s + s %}{% endfor %}`, "renders more than 8 MiB"},
		{"pongo2", `{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}`, "a macro nests more than 100 deep"},
		{"pongo2", `{% macro m() %}{% if m() %}{% endif %}{% endmacro %}{{ m() }}`, "a macro nests more than 100 deep"},
		{"pongo2", `{% include "self.p" %}`, "includes more than 500 files"},
		{"pongo2", `{% include "lazy.p" %}`, "includes more than 500 files"},
		{"pongo2", strings.Repeat("{% if 1 %}", 101), "blocks nest more than 100 deep"},
		{"pongo2", "{{ " + strings.Repeat("(", 100000), "the expression is too long"},
		{"pongo2", strings.Repeat("x", 1<<20+1), "is larger than 1024 KiB"},
		{"helm", `{{ range .big }}{{ range $.big }}{{ . }}{{ end }}{{ end }}`, "renders more than 8 MiB"},
		{"helm", `{{ $s := "xxxxxxxx" }}{{ range .big }}{{ $s = print $s $s }}{{ end }}`, "renders more than 8 MiB"},
		{"helm", `{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}`, "a template nests more than 100 deep"},
		{"helm", `{{ define "a" }}{{ include "a" . }}{{ end }}{{ include "a" . }}`, "include nests more than 100 deep"},
		{"helm", `{{ include "self.h" . }}`, "include nests more than 100 deep"},
		{"helm", `{{ repeat 1000000000 "x" }}`, "error calling repeat: 1000000000 is too much"},
		{"helm", `{{ until 1000000000 }}`, "error calling until: a list of more than 1048576 numbers"},
	} {
		t.Run(c.engine+" "+c.text[:min(60, len(c.text))], func(t *testing.T) {
			_, err := runWith(c.engine, render.Template{Name: "f", Text: c.text, Include: self}, v)
			var e *render.Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// TestTimeEnds: the caller gets its own context's error, at once.
func TestTimeEnds(t *testing.T) {
	for engine, text := range map[string]string{
		"pongo2": `{% for a in big %}{% for b in big %}{% for c in big %}{% for d in big %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}`,
		"helm":   `{{ range 10000000000000 }}{{ end }}`,
	} {
		t.Run(engine, func(t *testing.T) {
			f, _ := render.Engine(engine)
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			start := time.Now()
			_, err := f(ctx, render.Template{Name: "f", Text: text}, map[string]any{"big": make([]any, 10000)})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v, want the context's", err)
			}
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("took %s", d)
			}
		})
	}
}

// TestSandbox: no way leads to a file that Include doesn't give.
func TestSandbox(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	var asked []string
	include := func(name string) (string, error) {
		asked = append(asked, name)
		if name == "parts/a.yaml" {
			return "part of {{ cr.metadata.name }}", nil
		}
		if name == "parts/a.gotmpl" {
			return "part of {{ .cr.metadata.name }}", nil
		}
		if name == "base.yaml" {
			return "<{% block b %}{% endblock %}>", nil
		}
		if name == "macros.yaml" {
			return "{% macro m(x) export %}[{{ x }}]{% endmacro %}", nil
		}
		return "", errors.New("no such file")
	}
	t.Setenv("MAINSTAY_SECRET", "hush")
	for _, c := range []struct{ engine, text, want string }{
		{"pongo2", `{% include "parts/a.yaml" %}`, "part of demo"},
		{"pongo2", `{% include "parts/../parts/a.yaml" %}`, "part of demo"},
		{"pongo2", `{% extends "base.yaml" %}{% block b %}x{% endblock %}`, "<x>"},
		{"pongo2", `{% import "macros.yaml" m %}{{ m("x") }}`, "[x]"},
		{"pongo2", `{% include "nope" if_exists %}`, ""},
		{"helm", `{{ include "parts/a.gotmpl" . }}`, "part of demo"},
		{"pongo2", `{% include "nope" %}`, `!file.yaml:1:12: include "nope": no such file`},
		{"pongo2", `{% include "/etc/passwd" %}`, `!file.yaml:1:12: include "/etc/passwd": "/etc/passwd" is not a path inside`},
		{"pongo2", `{% include "../x" %}`, `!file.yaml:1:12: include "../x": "../x" is not a path inside`},
		{"pongo2", `{% set f = "/etc/passwd" %}{% include f %}`, `!file.yaml: include "/etc/passwd": "/etc/passwd" is not a path inside`},
		{"pongo2", `{% ssi "` + secret + `" %}`, `!file.yaml:1:4: "ssi" is not available`},
		{"pongo2", `{% now "2006" %}`, `!file.yaml:1:4: "now" is not available`},
		{"pongo2", `{% extends "/etc/passwd" %}`, `!file.yaml: include "/etc/passwd"`},
		{"pongo2", `{% import "/etc/passwd" m %}`, `!file.yaml:1:4: include "/etc/passwd"`},
		{"helm", `{{ include "/etc/passwd" . }}`, `!file.yaml:1:4: neither a template nor a file: "/etc/passwd" is not a path inside`},
		{"helm", `{{ include "../x" . }}`, `!file.yaml:1:4: neither a template nor a file: "../x" is not a path inside`},
		{"helm", `{{ expandenv "$MAINSTAY_SECRET" }}`, `!file.yaml:1: unknown function "expandenv"`},
		{"helm", `{{ tpl "{{ env \"MAINSTAY_SECRET\" }}" . }}`, `!tpl:1: unknown function "env"`},
		{"helm", `{{ getHostByName "localhost" }}`, `!file.yaml:1: unknown function "getHostByName"`},
	} {
		t.Run(c.engine+" "+c.text, func(t *testing.T) {
			asked = nil
			out, err := runWith(c.engine, render.Template{Name: "file.yaml", Text: c.text, Include: include}, vars())
			if want, fails := strings.CutPrefix(c.want, "!"); fails {
				if err == nil || !strings.HasPrefix(err.Error(), want) {
					t.Errorf("rendered %q, error %v; want error %s", out, err, want)
				}
			} else if err != nil || out != c.want {
				t.Errorf("rendered %q, error %v; want %q", out, err, c.want)
			}
			for _, name := range asked {
				if strings.HasPrefix(name, "/") || strings.Contains(name, "..") {
					t.Errorf("Include was asked for %q", name)
				}
			}
		})
	}
}

// TestIncludedPlace: an error in an included file names that file.
func TestIncludedPlace(t *testing.T) {
	include := func(name string) (string, error) {
		return map[string]string{"a.p": "\n {{ cr.x }}", "b.p": "\n{{ x ~ }}", "a.h": "\n {{ .cr.x }}"}[name], nil
	}
	for _, c := range []struct{ engine, text, want string }{
		{"pongo2", `{% include "a.p" %}`, "a.p:2:5: cr.x is undefined"},
		{"pongo2", `{% include "b.p" if_exists %}`, "b.p:2:6: unexpected '~'"},
		{"helm", `{{ include "a.h" . }}`, "a.h:2:8: x is undefined"},
	} {
		_, err := runWith(c.engine, render.Template{Name: "f", Text: c.text, Include: include}, vars())
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %s", c.text, err, c.want)
		}
	}
}

// TestSame: a rendering repeats itself, whatever order maps come in.
func TestSame(t *testing.T) {
	m := map[string]any{}
	for i := range 50 {
		m[fmt.Sprintf("k%02d", i)] = int64(i)
	}
	for engine, text := range map[string]string{
		"pongo2": `{{ m }}{% for k, v in m %}{{ k }}{{ v }}{% endfor %}{{ m|to_yaml }}`,
		"helm":   `{{ .m }}{{ range $k, $v := .m }}{{ $k }}{{ $v }}{{ end }}{{ .m | toYaml }}{{ keys .m }}{{ values .m }}`,
	} {
		first := ""
		for range 10 {
			out, err := runWith(engine, render.Template{Name: "f", Text: text}, map[string]any{"m": m})
			if err != nil {
				t.Fatal(err)
			}
			if first == "" {
				first = out
			}
			if out != first {
				t.Fatalf("%s renders differently:\n%s\n%s", engine, first, out)
			}
		}
	}
}

// TestVarsStay: templates can't change the caller's variables.
func TestVarsStay(t *testing.T) {
	v := vars()
	if _, err := runWith("helm", render.Template{Name: "f", Text: `{{ $_ := set .cr.spec "port" 1 }}{{ $_ := set . "cr" 1 }}`}, v); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(vars(), v); diff != "" {
		t.Error(diff)
	}
}

func TestForFile(t *testing.T) {
	for _, c := range [][3]string{
		{"a.yaml", "", "pongo2"}, {"a.yaml", "helm", "helm"}, {"a.yaml.gotmpl", "pongo2", "helm"}, {"a.GOTMPL", "", "helm"},
		{"a.j2", "pongo2", "pongo2"}, {"a", "pongo2", "pongo2"},
	} {
		if got := render.ForFile(c[0], c[1]); got != c[2] {
			t.Errorf("ForFile(%q, %q) = %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func fuzz(f *testing.F, engine string, seeds ...string) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		out, err := runWith(engine, render.Template{Name: "f", Text: text}, vars())
		var e *render.Error
		if err != nil && !errors.As(err, &e) {
			t.Errorf("%v is no render.Error", err)
		}
		if again, err2 := runWith(engine, render.Template{Name: "f", Text: text}, vars()); (err == nil) != (err2 == nil) || again != out {
			t.Errorf("renders differently:\n%q %v\n%q %v", out, err, again, err2)
		}
	})
}

func FuzzPongo2(f *testing.F) {
	fuzz(f, "pongo2", "a: {{ cr.spec.port|default:1 }}", "{%- for k, v in cr.metadata.labels -%}{{ k }}{% endfor %}",
		"{% macro m(a=1) %}{{ a }}{% endmacro %}{{ m(2) }}{# c #}{% comment %}x{% endcomment %}", "{% verbatim %}{{{% endverbatim %}",
		"{% if cr.spec.on == true %}{% elif 1 %}{% else %}{% endif %}", "{% set x = 1.5 ^ 2 %}{{ x }}{% with a=x %}{{ a }}{% endwith %}")
}

func FuzzHelm(f *testing.F) {
	fuzz(f, "helm", "a: {{ .cr.spec.port | default 1 }}", "{{- range $k, $v := .cr.metadata.labels -}}{{ $k }}{{ end }}",
		`{{ define "x" }}{{ . }}{{ end }}{{ include "x" .Values.list }}{{ template "x" 1 }}`, `{{ tpl "{{ .cr }}" . | fromYaml }}`,
		`{{ with .Values.hosts }}{{ index . 0 | toJson | quote | nindent 4 }}{{ else }}{{ end }}`)
}
