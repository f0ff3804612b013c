package render

import (
	"fmt"

	"github.com/flosch/pongo2/v6"
)

// forNode is {% for x in list %} and {% for key, value in map %}, with "reversed" and "sorted". Unlike pongo2's own
// it walks maps in the order of their keys, ends when the rendering's time is over, and refuses what is no list.
type forNode struct {
	key, value       string
	over             pongo2.IEvaluator
	at               *pongo2.Token
	reversed, sorted bool
	body, empty      *pongo2.NodeWrapper
}

// forloop is what a template sees of the loop, by pongo2's names.
type forloop struct {
	Counter, Counter0, Revcounter, Revcounter0 int
	First, Last                                bool
	Parentloop                                 *forloop
}

func parseFor(doc *pongo2.Parser, start *pongo2.Token, args *pongo2.Parser) (pongo2.INodeTag, *pongo2.Error) {
	n := &forNode{at: start}
	key := args.MatchType(pongo2.TokenIdentifier)
	if key == nil {
		return nil, args.Error("expected a loop variable's name", nil)
	}
	n.key = key.Val
	if args.Match(pongo2.TokenSymbol, ",") != nil {
		value := args.MatchType(pongo2.TokenIdentifier)
		if value == nil {
			return nil, args.Error("expected the name of the second loop variable", nil)
		}
		n.value = value.Val
	}
	if args.Match(pongo2.TokenKeyword, "in") == nil {
		return nil, args.Error(`expected "in"`, nil)
	}
	var err *pongo2.Error
	if n.over, err = args.ParseExpression(); err != nil {
		return nil, err
	}
	n.reversed = args.MatchOne(pongo2.TokenIdentifier, "reversed") != nil
	n.sorted = args.MatchOne(pongo2.TokenIdentifier, "sorted") != nil
	if args.Remaining() > 0 {
		return nil, args.Error(fmt.Sprintf("unexpected %q", args.Current().Val), nil)
	}
	wrapper, end, err := doc.WrapUntilTag("empty", "else", "endfor")
	if err != nil {
		return nil, err
	}
	n.body = wrapper
	if wrapper.Endtag != "endfor" {
		if n.empty, end, err = doc.WrapUntilTag("endfor"); err != nil {
			return nil, err
		}
	}
	if end.Count() > 0 {
		return nil, end.Error("endfor takes no argument", nil)
	}
	return n, nil
}

// Execute implements pongo2.INode.
func (n *forNode) Execute(ctx *pongo2.ExecutionContext, w pongo2.TemplateWriter) (failed *pongo2.Error) {
	r := runOf(ctx)
	w = metered(r, w)
	inner := pongo2.NewChildExecutionContext(ctx)
	loop := &forloop{First: true}
	if parent, ok := inner.Private["forloop"].(*forloop); ok {
		loop.Parentloop = parent
	}
	inner.Private["forloop"] = loop

	over, err := n.over.Evaluate(inner)
	if err != nil {
		return err
	}
	var isMap bool
	switch v := over.Interface().(type) {
	case nil, []any, string:
	case map[string]any:
		isMap = true
	default:
		if !over.CanSlice() {
			return ctx.Error(fmt.Sprintf("can't loop over %v: neither a list nor a map", v), n.at)
		}
	}
	if n.value != "" && !isMap && !over.IsNil() {
		return ctx.Error("two loop variables need a map to loop over", n.at)
	}
	over.IterateOrder(func(i, count int, key, value *pongo2.Value) bool {
		r.check()
		inner.Private[n.key] = key
		if value != nil && n.value != "" {
			inner.Private[n.value] = value
		}
		loop.Counter, loop.Counter0 = i+1, i
		loop.Revcounter, loop.Revcounter0 = count-i, count-i-1
		loop.First, loop.Last = i == 0, i == count-1
		failed = n.body.Execute(inner, w)
		return failed == nil
	}, func() {
		if n.empty != nil {
			failed = n.empty.Execute(inner, w)
		}
	}, n.reversed, n.sorted || isMap)
	return failed
}
