package activities

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mainstay-dev/mainstay/specs/render"
)

func TestParamsKeepTypes(t *testing.T) {
	vars := map[string]any{"cr": map[string]any{"spec": map[string]any{
		"port": int64(80), "ratio": 1.5, "on": true, "name": "80", "list": []any{"a", int64(2)}, "map": map[string]any{"a": "b"},
	}}}
	type values = map[string]any
	tests := []struct {
		engine    string
		in, want  any
		wantFault bool
	}{
		{render.Helm, "{{ .cr.spec.port }}", int64(80), false},
		{render.Helm, "{{- .cr.spec.ratio -}}", 1.5, false},
		{render.Helm, " {{ .cr.spec.on }} ", true, false},
		{render.Helm, "{{ .cr.spec.name }}", "80", false},
		{render.Helm, "{{ .cr.spec.list }}", []any{"a", int64(2)}, false},
		{render.Helm, "{{ .cr.spec.list | join \"-\" }}", "a-2", false},
		{render.Helm, "{{ .cr.spec.port }}{{ .cr.spec.port }}", "8080", false},
		{render.Helm, "port {{ .cr.spec.port }}", "port 80", false},
		{render.Helm, "{{ if .cr.spec.on }}1{{ end }}", "1", false},
		{render.Helm, "{{ .cr.spec.nothing }}", nil, true},
		{render.Pongo2, "{{ cr.spec.port }}", int64(80), false},
		{render.Pongo2, "{{ cr.spec.port + 1 }}", int64(81), false},
		{render.Pongo2, "{{ cr.spec.map }}", values{"a": "b"}, false},
		{render.Pongo2, "{{ cr.spec.name|upper }}", "80", false},
		{render.Pongo2, "{% if cr.spec.on %}1{% endif %}", "1", false},
		{render.Pongo2, "{{ cr.spec.nothing }}", nil, true},
		{render.Pongo2, values{"a": []any{"{{ cr.spec.on }}", "as it is", int64(1)}}, values{"a": []any{true, "as it is", int64(1)}}, false},
		{render.Pongo2, nil, nil, false},
	}
	for _, tt := range tests {
		at := offline(nil)
		at.in.Command.Engine = tt.engine
		got, err := at.renderParam(t.Context(), "parameter p", tt.in, vars)
		if tt.wantFault {
			if err == nil || classify(err).Type != TypeTemplate {
				t.Errorf("%s %v: got %v, %v", tt.engine, tt.in, got, err)
			}
			continue
		}
		if d := cmp.Diff(tt.want, got); err != nil || d != "" {
			t.Errorf("%s %v: %v %s", tt.engine, tt.in, err, d)
		}
	}
}
