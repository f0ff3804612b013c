package render

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/flosch/pongo2/v6"
)

// register adds our tags and filters to pongo2's registry, which belongs to the process; nothing else in it uses
// pongo2. It runs once, at the first rendering.
var register = sync.OnceValue(func() error {
	pongo2.SetAutoescape(false)
	err := errors.Join(
		pongo2.RegisterTag("_", parsePrint),
		pongo2.RegisterTag("_enter", parseGuard(func(r *run) { r.enter("a macro") })),
		pongo2.RegisterTag("_leave", parseGuard((*run).leave)),
		pongo2.ReplaceTag("for", parseFor),
		pongo2.ReplaceTag("set", parseSet),
	)
	for name, f := range shared {
		add := pongo2.RegisterFilter
		if pongo2.FilterExists(name) {
			add = pongo2.ReplaceFilter
		}
		err = errors.Join(err, add(name, asPongo2Filter(name, f)))
	}
	if err != nil {
		return fmt.Errorf("set up pongo2: %w", err)
	}
	return nil
})

func asPongo2Filter(name string, f filter) pongo2.FilterFunction {
	return func(in, param *pongo2.Value) (*pongo2.Value, *pongo2.Error) {
		out, err := f(in.Interface(), param.Interface())
		if err != nil {
			return nil, &pongo2.Error{Sender: "filter:" + name, OrigError: err}
		}
		return pongo2.AsValue(out), nil
	}
}

// meter counts what is written, because pongo2 ignores the errors of its writers.
type meter struct {
	run *run
	w   io.Writer
}

func (m *meter) Write(b []byte) (int, error) {
	m.run.wrote(len(b))
	return m.w.Write(b)
}

func (m *meter) WriteString(s string) (int, error) {
	m.run.wrote(len(s))
	return io.WriteString(m.w, s)
}

func metered(r *run, w pongo2.TemplateWriter) pongo2.TemplateWriter {
	if m, ok := w.(*meter); ok {
		return m
	}
	return &meter{run: r, w: w}
}

// printNode is {{ expr }}.
type printNode struct {
	expr   pongo2.IEvaluator
	source string
	at     *pongo2.Token
}

func parsePrint(_ *pongo2.Parser, _ *pongo2.Token, args *pongo2.Parser) (pongo2.INodeTag, *pongo2.Error) {
	n := &printNode{at: args.Get(0)}
	var b strings.Builder
	for i := range args.Count() {
		b.WriteString(args.Get(i).Val)
	}
	n.source = b.String()
	var err *pongo2.Error
	if n.expr, err = args.ParseExpression(); err != nil {
		return nil, err
	}
	if args.Remaining() > 0 {
		return nil, args.Error(fmt.Sprintf("unexpected %q", args.Current().Val), nil)
	}
	return n, nil
}

// undefined ends the message about a value that isn't there, in both engines.
const undefined = " is undefined or null"

// Execute implements pongo2.INode.
func (n *printNode) Execute(ctx *pongo2.ExecutionContext, w pongo2.TemplateWriter) *pongo2.Error {
	v, err := n.expr.Evaluate(ctx)
	if err != nil {
		return err
	}
	s, ok := text(v.Interface())
	if !ok {
		// pongo2 would print nothing, and what was misspelt would be shipped as an empty field.
		return ctx.Error(n.source+undefined, n.at)
	}
	runOf(ctx).wrote(len(s))
	w.WriteString(s)
	return nil
}

type guardNode func(*run)

func parseGuard(f func(*run)) pongo2.TagParser {
	return func(*pongo2.Parser, *pongo2.Token, *pongo2.Parser) (pongo2.INodeTag, *pongo2.Error) {
		return guardNode(f), nil
	}
}

// Execute implements pongo2.INode.
func (f guardNode) Execute(ctx *pongo2.ExecutionContext, _ pongo2.TemplateWriter) *pongo2.Error {
	f(runOf(ctx))
	return nil
}

// setNode is {% set name = expr %}. pongo2's own lets a loop double a string without a bound.
type setNode struct {
	name string
	expr pongo2.IEvaluator
}

func parseSet(_ *pongo2.Parser, _ *pongo2.Token, args *pongo2.Parser) (pongo2.INodeTag, *pongo2.Error) {
	name := args.MatchType(pongo2.TokenIdentifier)
	if name == nil {
		return nil, args.Error("expected a name to set", nil)
	}
	if args.Match(pongo2.TokenSymbol, "=") == nil {
		return nil, args.Error(`expected "="`, nil)
	}
	expr, err := args.ParseExpression()
	if err != nil {
		return nil, err
	}
	if args.Remaining() > 0 {
		return nil, args.Error(fmt.Sprintf("unexpected %q", args.Current().Val), nil)
	}
	return &setNode{name.Val, expr}, nil
}

// Execute implements pongo2.INode.
func (n *setNode) Execute(ctx *pongo2.ExecutionContext, _ pongo2.TemplateWriter) *pongo2.Error {
	v, err := n.expr.Evaluate(ctx)
	if err != nil {
		return err
	}
	if v.IsString() {
		runOf(ctx).wrote(v.Len())
	}
	ctx.Private[n.name] = v
	return nil
}
