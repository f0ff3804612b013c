package expr

import (
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// maxText bounds the texts that replace and join make, in bytes. The cost limit comes too late for them: it counts a
// call when it is done, and a few calls in a row make gigabytes of a short text.
const maxText = 1 << 20

// boundedStrings puts bounded functions in the place of those of CEL's strings extension.
func boundedStrings() cel.EnvOption {
	text, list := cel.StringType, cel.ListType(cel.StringType)
	return func(e *cel.Env) (*cel.Env, error) {
		for _, option := range []cel.EnvOption{
			cel.Function("replace",
				cel.MemberOverload("string_replace_string_string", []*cel.Type{text, text, text}, text,
					cel.FunctionBinding(func(args ...ref.Val) ref.Val { return replace(args, -1) })),
				cel.MemberOverload("string_replace_string_string_int", []*cel.Type{text, text, text, cel.IntType}, text,
					cel.FunctionBinding(func(args ...ref.Val) ref.Val {
						n, ok := args[3].(types.Int)
						if !ok {
							return types.MaybeNoSuchOverloadErr(args[3])
						}
						return replace(args[:3], int(n))
					}))),
			cel.Function("join",
				cel.MemberOverload("list_join", []*cel.Type{list}, text,
					cel.UnaryBinding(func(l ref.Val) ref.Val { return join(l, types.String("")) })),
				cel.MemberOverload("list_join_string", []*cel.Type{list, text}, text, cel.BinaryBinding(join))),
		} {
			var err error
			if e, err = option(e); err != nil {
				return nil, err
			}
		}
		return e, nil
	}
}

func replace(args []ref.Val, n int) ref.Val {
	var texts [3]string
	for i, arg := range args {
		s, ok := arg.(types.String)
		if !ok {
			return types.MaybeNoSuchOverloadErr(arg)
		}
		texts[i] = string(s)
	}
	text, old, with := texts[0], texts[1], texts[2]
	found := strings.Count(text, old)
	if n >= 0 {
		found = min(found, n)
	}
	if len(text)+found*max(0, len(with)-len(old)) > maxText {
		return tooLong("replace")
	}
	return types.String(strings.Replace(text, old, with, n))
}

func join(list, separator ref.Val) ref.Val {
	l, ok := list.(traits.Lister)
	if !ok {
		return types.MaybeNoSuchOverloadErr(list)
	}
	by, ok := separator.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(separator)
	}
	var b strings.Builder
	first := true
	for it := l.Iterator(); it.HasNext() == types.True; first = false {
		item := it.Next()
		s, ok := item.(types.String)
		if !ok {
			return types.MaybeNoSuchOverloadErr(item)
		}
		if b.Len()+len(by)+len(s) > maxText {
			return tooLong("join")
		}
		if !first {
			b.WriteString(string(by))
		}
		b.WriteString(string(s))
	}
	return types.String(b.String())
}

func tooLong(function string) ref.Val {
	return types.NewErr("%s would make a text of more than %d KiB", function, maxText>>10)
}
