// Package expr compiles and evaluates conditions, which authors write in CEL: decide.when.
//
// What can be wrong with a condition is found when it is compiled: its syntax, names that aren't there, types that don't
// fit, and fields of the custom resource that its schema doesn't have. What runs is bounded: in length, in cost, in the
// size of the texts that it makes, and by its context. It sees what it is given and nothing else: no cluster, no clock.
package expr

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
)

// The bounds of a condition. They are far above what one needs.
const (
	// MaxLength of a condition's text, in characters.
	MaxLength = 8192
	// MaxCost of an evaluation, in CEL's own unit, which is about a step or ten characters of a text.
	MaxCost = 1_000_000
	// maxNesting of an expression's parts.
	maxNesting = 100
	// maxRange is how long a list lists.range makes.
	maxRange = 10_000
	// interruptEvery is after how many rounds of a loop the context is asked.
	interruptEvery = 100
	// maxTime of an evaluation. The cost mostly comes first.
	maxTime = 5 * time.Second
)

// Scope says what a condition may name, beside cr, event and instance, which are always there.
type Scope struct {
	// Schema is the openAPIV3Schema of the custom resource; nil: its fields aren't known, so that any goes.
	Schema map[string]any
	// Object: there is an object that is reacted to.
	Object bool
	// Rows: there is a query whose rows are bound.
	Rows bool
}

// Program is a compiled condition. It may be used concurrently.
type Program struct {
	ast     *cel.Ast
	program cel.Program
	vars    []string
}

// Compile reads and checks a condition.
//
// Possible errors: Errors, all that are found at once.
func Compile(text string, scope Scope) (*Program, error) {
	if n := len([]rune(text)); n > MaxLength {
		return nil, Errors{{Message: fmt.Sprintf("the condition has %d characters; at most %d are allowed", n, MaxLength)}}
	}
	base, err := baseEnv()
	if err != nil {
		return nil, fmt.Errorf("set up CEL: %w", err)
	}
	schemas := newSchemas(base.CELTypeProvider())
	vars, options := schemas.variables(scope)
	env, err := base.Extend(append(options, cel.CustomTypeProvider(schemas))...)
	if err != nil {
		return nil, fmt.Errorf("set up CEL: %w", err)
	}
	parsed, issues := env.Parse(text)
	if issues.Err() != nil {
		return nil, syntaxErrors(issues)
	}
	checked, issues := env.Check(parsed)
	if issues.Err() != nil {
		e := explainer{env: env, ast: parsed, schemas: schemas, vars: vars, scope: scope}
		return nil, e.errors(issues)
	}
	// What comes from JSON is of no known type: then the value tells.
	if t := checked.OutputType(); !t.IsExactType(types.BoolType) && !t.IsExactType(types.DynType) {
		return nil, Errors{{
			Line: 1, Column: 1, Message: fmt.Sprintf("the condition is %s, not true or false", typeName(t)),
			Hint: "compare it with something, e.g. size(rows) > 0",
		}}
	}
	program, err := env.Program(checked, programOptions...)
	if err != nil {
		return nil, Errors{{Message: fmt.Sprintf("the condition can't be prepared: %v", err)}}
	}
	return &Program{ast: checked, program: program, vars: vars}, nil
}

// Bool evaluates the condition. The values of vars are decoded JSON: map[string]any, []any, []map[string]any, int64,
// float64, string, bool and nil; each variable of the scope must be there.
//
// Possible errors: *Error, which is the condition's own fault: a field that isn't there, a value of another type than
// the condition takes it for, no true or false, too much to do; and the context's.
func (p *Program) Bool(ctx context.Context, vars map[string]any) (bool, error) {
	for _, name := range p.vars {
		if _, ok := vars[name]; !ok {
			return false, fmt.Errorf("evaluate a condition: the variable %q has no value", name)
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, maxTime, &Error{
		Message: fmt.Sprintf("the condition was stopped: it takes longer than %s", maxTime), Hint: lessWork,
	})
	defer cancel()
	if err := context.Cause(ctx); err != nil {
		return false, err
	}
	out, _, err := p.program.ContextEval(ctx, vars)
	if err != nil {
		if stopped := context.Cause(ctx); stopped != nil {
			return false, stopped
		}
		return false, p.explain(err)
	}
	answer, ok := out.(types.Bool)
	if !ok {
		return false, &Error{
			Line: 1, Column: 1, Message: fmt.Sprintf("the condition came out as %s, not as true or false", typeName(out.Type())),
			Hint: "compare it with something, e.g. == 'yes'",
		}
	}
	return bool(answer), nil
}

// programOptions are those of every condition.
var programOptions = []cel.ProgramOption{
	cel.EvalOptions(cel.OptOptimize), cel.CostLimit(MaxCost), cel.InterruptCheckFrequency(interruptEvery),
}

// baseEnv is what all conditions have in common. It takes some milliseconds to make, and is never changed.
var baseEnv = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.OptionalTypes(),
		ext.Strings(ext.StringsVersion(5)),
		ext.Lists(ext.ListsVersion(3), ext.ListsMaxRangeSize(maxRange)),
		ext.Math(ext.MathVersion(2)),
		ext.Sets(ext.SetsVersion(1)),
		ext.Encoders(ext.EncodersVersion(1)),
		boundedStrings(),
		cel.CrossTypeNumericComparisons(true),
		cel.EnableIdentifierEscapeSyntax(), // cr.spec.`log-level`
		cel.ParserExpressionSizeLimit(MaxLength),
		cel.ParserRecursionLimit(maxNesting),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals()),
	)
})
