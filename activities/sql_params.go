package activities

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/mainstay-dev/mainstay/specs/render"
)

// sqlParams are the values for the names in the statements: those that are always there and the command's own, whose
// texts are templates.
func (t *attempt) sqlParams(ctx context.Context, own map[string]any) (map[string]any, error) {
	f, err := t.facts(ctx)
	if err != nil {
		return nil, err
	}
	params, err := t.params(f)
	if err != nil || len(own) == 0 {
		return params, err
	}
	vars := t.varsOf(f)
	if hasTemplate(own) {
		rows, ok, err := t.rows(ctx, f)
		if err != nil {
			return nil, err
		}
		if ok {
			vars["rows"] = listOf(rows)
		}
	}
	for name, value := range own {
		if params[name], err = t.renderParam(ctx, "parameter "+name+" of "+t.in.Command.Name, value, vars); err != nil {
			return nil, err
		}
	}
	return params, nil
}

// hasTemplate tells whether a value holds a text that is a template.
func hasTemplate(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, "{{") || strings.Contains(v, "{%")
	case []any:
		return slices.ContainsFunc(v, hasTemplate)
	case map[string]any:
		for _, value := range v {
			if hasTemplate(value) {
				return true
			}
		}
	}
	return false
}

// renderParam renders the texts in a value. One that is a single expression keeps the type of what that gives:
// "{{ cr.spec.port }}" is a number where the port is one, or SQL would compare 80 with '80'.
func (t *attempt) renderParam(ctx context.Context, name string, value any, vars map[string]any) (any, error) {
	switch v := value.(type) {
	case string:
		if !hasTemplate(v) {
			return v, nil
		}
		text, err := t.renderText(ctx, name, v, t.in.Command.Engine, vars)
		if err != nil {
			return nil, err
		}
		if typed, ok := t.renderTyped(ctx, name, v, vars); ok {
			return typed, nil
		}
		return text, nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = t.renderParam(ctx, name, v[i], vars); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			var err error
			if out[k], err = t.renderParam(ctx, name+"."+k, v[k], vars); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return value, nil
}

// renderTyped is the value of a template that is one expression and nothing else; false: it is none, or the value has
// no JSON.
func (t *attempt) renderTyped(ctx context.Context, name, text string, vars map[string]any) (any, bool) {
	expr, ok := strings.CutPrefix(strings.TrimSpace(text), "{{")
	if !ok {
		return nil, false
	}
	if expr, ok = strings.CutSuffix(expr, "}}"); !ok || strings.Contains(expr, "{{") || strings.Contains(expr, "}}") || strings.Contains(expr, "{%") {
		return nil, false
	}
	expr = strings.TrimSuffix(strings.TrimPrefix(expr, "-"), "-")
	switch t.in.Command.Engine {
	case render.Pongo2:
		// Its filters bind to the last operand, not to the whole expression.
		text = "{% set param = " + expr + " %}{{ param|to_json }}"
	case render.Helm:
		text = "{{ (" + expr + ") | toJson }}"
	default:
		return nil, false
	}
	out, err := t.renderText(ctx, name, text, t.in.Command.Engine, vars)
	if err != nil || !json.Valid([]byte(out)) {
		return nil, false
	}
	var value any
	if err := utiljson.Unmarshal([]byte(out), &value); err != nil {
		return nil, false
	}
	return value, true
}
