package expr

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
)

// explainer says what the checker found in the words of those who write conditions.
type explainer struct {
	env     *cel.Env
	ast     *cel.Ast
	schemas *schemas
	vars    []string
	scope   Scope
}

var (
	undeclared = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	undefined  = regexp.MustCompile(`^undefined field '(.*)'$`)
	structName = regexp.MustCompile(`<([^>]*)>`)
	noOverload = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '(.*)'$`)
)

func (x explainer) errors(issues *cel.Issues) Errors {
	var out Errors
	for _, e := range issues.Errors() {
		message, hint := e.Message, ""
		switch m := undeclared.FindStringSubmatch(e.Message); {
		case m != nil:
			message, hint = x.undeclared(m[1], e.ExprID)
		default:
			if m := undefined.FindStringSubmatch(e.Message); m != nil {
				message, hint = x.undefined(m[1], e.ExprID)
			} else if m := noOverload.FindStringSubmatch(e.Message); m != nil {
				message = fmt.Sprintf("%s can't be applied to %s", operator(m[1]), structName.ReplaceAllString(m[2], "$1"))
				if m[1] == "_[_]" && structName.MatchString(m[2]) {
					hint = "a field that the schema has is read with a dot: .name, or .`log-level`"
				}
			}
		}
		out = append(out, at(e, message, hint))
	}
	return out
}

// soon are the variables of the design that are yet to be built.
var soon = []string{"oldObject", "item", "outputs", "vars"}

func (x explainer) undeclared(name string, id int64) (message, hint string) {
	if e := find(x.ast, func(e ast.Expr) bool { return e.ID() == id }); e != nil && e.Kind() == ast.CallKind {
		var known []string
		for f := range x.env.Functions() {
			if !strings.ContainsAny(f, "_@") {
				known = append(known, f)
			}
		}
		slices.Sort(known)
		return fmt.Sprintf("there is no function %q", name), didYouMean(name, known)
	}
	switch {
	case name == "object" && !x.scope.Object:
		hint = "only a rule that watches objects has one"
	case name == "rows" && !x.scope.Rows:
		hint = "rows are there if the rule has a query: write decide.sql"
	case slices.Contains(soon, name):
		return fmt.Sprintf("the variable %q is not supported yet", name), ""
	default:
		if hint = didYouMean(name, x.vars); hint == "" {
			hint = "there are " + strings.Join(x.vars, ", ")
		}
	}
	return fmt.Sprintf("there is no variable %q", name), hint
}

// undefined explains a field that a schema doesn't have. Where the path to it is plain, its own neighbours are offered.
func (x explainer) undefined(field string, id int64) (message, hint string) {
	known, of := x.schemas.fields(), ""
	if e := find(x.ast, func(e ast.Expr) bool { return e.ID() == id }); e != nil {
		operand := e
		switch {
		case e.Kind() == ast.SelectKind:
			operand = e.AsSelect().Operand()
		case e.Kind() == ast.CallKind && len(e.AsCall().Args()) > 0: // a.?b
			operand = e.AsCall().Args()[0]
		}
		if path := pathOf(operand); path != "" {
			of = path + " has "
			if names, ok := x.schemas.FindStructFieldNames("<" + path + ">"); ok {
				known = names
			}
		}
	}
	if of == "" {
		return fmt.Sprintf("there is no field %q by the schema", field), didYouMean(field, known)
	}
	if hint = didYouMean(field, known); hint == "" && len(known) <= 12 {
		hint = "it has " + strings.Join(known, ", ")
	}
	return fmt.Sprintf("%sno field %q", of, field), hint
}

// pathOf is an expression's path from a variable, as schemas name types: cr.spec.tls; "" if it is more than names.
func pathOf(e ast.Expr) string {
	switch e.Kind() {
	case ast.IdentKind:
		return e.AsIdent()
	case ast.SelectKind:
		if above := pathOf(e.AsSelect().Operand()); above != "" {
			return above + "." + e.AsSelect().FieldName()
		}
	case ast.CallKind:
		c := e.AsCall()
		switch args := c.Args(); c.FunctionName() {
		case "_?._": // its second argument is the field's name
			if above := pathOf(args[0]); above != "" && args[1].Kind() == ast.LiteralKind {
				if name, ok := args[1].AsLiteral().Value().(string); ok {
					return above + "." + name
				}
			}
		case "_[_]":
			if above := pathOf(args[0]); above != "" {
				return above + "[]"
			}
		}
	}
	return ""
}

// operator is a function's name as people write it: _==_ is ==.
func operator(function string) string {
	return strings.Trim(strings.ReplaceAll(function, "[_]", "[]"), "_@")
}

// find is the first expression of a tree for which ok holds, or nil.
func find(a *cel.Ast, ok func(ast.Expr) bool) ast.Expr {
	for _, e := range findAll(a, ok) {
		return e
	}
	return nil
}

func findAll(a *cel.Ast, ok func(ast.Expr) bool) (out []ast.Expr) {
	native := a.NativeRep()
	visit := ast.NewExprVisitor(func(e ast.Expr) {
		if ok(e) {
			out = append(out, e)
		}
	})
	ast.PreOrderVisit(native.Expr(), visit)
	for _, call := range native.SourceInfo().MacroCalls() {
		ast.PreOrderVisit(call, visit)
	}
	return out
}

// typeName is a type for people.
func typeName(t interface{ TypeName() string }) string {
	switch n := t.TypeName(); n {
	case "null_type":
		return "null"
	case "int":
		return "an " + n
	default:
		return "a " + strings.Trim(n, "<>")
	}
}
