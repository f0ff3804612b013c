package render

import (
	"text/template"
	"text/template/parse"
)

// guard rewrites the templates of a set that weren't yet, as html/template does for its escaping:
//
//   - what is printed goes through _print, so that it looks as in every engine, and nil is an error instead of
//     "<no value>";
//   - each round of a loop begins with _check, which ends a rendering that has run out of time;
//   - {{ template }} stands between _enter and _leave, which bound the depth.
func guard(t *template.Template) {
	for _, t := range t.Templates() {
		if t.Tree != nil && t.Tree.Root != nil && !guarded(t.Tree.Root) {
			guardList(t.Tree.Root)
			t.Tree.Root.Nodes = append([]parse.Node{call("_check", 0)}, t.Tree.Root.Nodes...)
		}
	}
}

// guarded tells whether a root list was rewritten: it then begins with _check, which no author can write.
func guarded(l *parse.ListNode) bool {
	if len(l.Nodes) == 0 {
		return false
	}
	a, ok := l.Nodes[0].(*parse.ActionNode)
	return ok && len(a.Pipe.Cmds) == 1 && a.Pipe.Cmds[0].String() == "_check"
}

func guardList(l *parse.ListNode) {
	if l == nil {
		return
	}
	var nodes []parse.Node
	for _, n := range l.Nodes {
		switch n := n.(type) {
		case *parse.ActionNode:
			if len(n.Pipe.Decl) == 0 {
				source := &parse.StringNode{NodeType: parse.NodeString, Pos: n.Pos, Text: n.Pipe.String()}
				source.Quoted = source.Text
				n.Pipe.Cmds = append(n.Pipe.Cmds, command("_print", n.Pos, source))
			}
		case *parse.IfNode:
			guardList(n.List)
			guardList(n.ElseList)
		case *parse.WithNode:
			guardList(n.List)
			guardList(n.ElseList)
		case *parse.RangeNode:
			guardList(n.List)
			guardList(n.ElseList)
			n.List.Nodes = append([]parse.Node{call("_check", n.Pos)}, n.List.Nodes...)
		case *parse.TemplateNode:
			nodes = append(nodes, call("_enter", n.Pos), n, call("_leave", n.Pos))
			continue
		}
		nodes = append(nodes, n)
	}
	l.Nodes = nodes
}

func call(name string, pos parse.Pos) *parse.ActionNode {
	return &parse.ActionNode{NodeType: parse.NodeAction, Pos: pos, Pipe: &parse.PipeNode{
		NodeType: parse.NodePipe, Pos: pos, Cmds: []*parse.CommandNode{command(name, pos)},
	}}
}

func command(name string, pos parse.Pos, args ...parse.Node) *parse.CommandNode {
	id := parse.NewIdentifier(name).SetPos(pos)
	return &parse.CommandNode{NodeType: parse.NodeCommand, Pos: pos, Args: append([]parse.Node{id}, args...)}
}
