package expr

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/interpreter"
	"github.com/google/cel-go/parser"
)

const lessWork = "let the query do the work and leave few rows to the condition"

var noSuchKey = regexp.MustCompile(`^no such key: (.*)$`)

// explain is what went wrong in an evaluation.
func (p *Program) explain(err error) error {
	var cancelled interpreter.EvalCancelledError
	if errors.As(err, &cancelled) {
		return &Error{
			Message: fmt.Sprintf("the condition was stopped: it costs more than %d steps", MaxCost),
			Hint:    lessWork,
		}
	}
	out := &Error{Message: err.Error()}
	var e *types.Err
	if errors.As(err, &e) {
		out.Message = e.Error()
		p.locate(out, e.NodeID())
	}
	switch m := noSuchKey.FindStringSubmatch(out.Message); {
	case m != nil:
		p.missing(out, m[1])
	case strings.Contains(out.Message, "no such overload"):
		out.Message = "a value is of another type than the condition takes it for (" + out.Message + ")"
		out.Hint = "convert it, e.g. int(…) or string(…)"
	}
	return out
}

func (p *Program) locate(out *Error, id int64) {
	if loc := p.ast.NativeRep().SourceInfo().GetStartLocation(id); loc.Line() > 0 {
		out.Line, out.Column = loc.Line(), loc.Column()+1
	}
}

// missing names the field that isn't there by its whole path, where one place only reads a field of that name.
func (p *Program) missing(out *Error, field string) {
	reads := findAll(p.ast, func(e ast.Expr) bool {
		return e.Kind() == ast.SelectKind && e.AsSelect().FieldName() == field && !e.AsSelect().IsTestOnly()
	})
	out.Message = fmt.Sprintf("there is no %q", field)
	switch len(reads) {
	case 0: // an index: cr.spec.params['x']
		out.Hint = fmt.Sprintf("test it with '%s' in …, or read it as …[?'%s'].orValue(…)", field, field)
		return
	case 1:
		whole, err := parser.Unparse(reads[0], p.ast.NativeRep().SourceInfo())
		above, isPath := strings.CutSuffix(whole, "."+field)
		if err == nil && isPath {
			p.locate(out, reads[0].ID())
			out.Message = "there is no " + whole
			out.Hint = fmt.Sprintf("test it with has(%s), or read it as %s.?%s.orValue(…)", whole, above, field)
			return
		}
	}
	out.Hint = fmt.Sprintf("test it with has(….%s), or read it as ….?%s.orValue(…)", field, field)
}
