package virtual

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ncruces/go-sqlite3"
	"k8s.io/apimachinery/pkg/labels"
)

// functions adds what SQLite lacks here: a MATCH that no table takes, as within OR. And it replaces what takes quadratic
// time within one step, which nothing can interrupt, by what doesn't.
func (c *conn) functions() error {
	const flags = sqlite3.DETERMINISTIC | sqlite3.INNOCUOUS
	for _, f := range [...]struct {
		name string
		args int
		fn   sqlite3.ScalarFunction
	}{
		{"match", 2, c.match},
		{"instr", 2, instr},
		{"replace", 3, replaceText},
		{"trim", 2, trim(true, true)},
		{"ltrim", 2, trim(true, false)},
		{"rtrim", 2, trim(false, true)},
	} {
		fn := f.fn
		safe := func(ctx sqlite3.Context, args ...sqlite3.Value) {
			var err error
			defer func() {
				if err != nil {
					ctx.ResultError(err)
				}
			}()
			defer outOfMemory(&err)
			fn(ctx, args...)
		}
		if err := c.db.CreateFunction(f.name, f.args, flags, safe); err != nil {
			return fmt.Errorf("register function %s: %w", f.name, err)
		}
	}
	return nil
}

// match is what becomes of labels MATCH 'app=web'.
func (c *conn) match(ctx sqlite3.Context, args ...sqlite3.Value) {
	selector, ok := ctx.GetAuxData(0).(labels.Selector)
	if !ok {
		var err error
		if selector, err = c.selector(args[0]); err != nil {
			ctx.ResultError(c.fail(err))
			return
		}
		ctx.SetAuxData(0, selector)
	}
	switch args[1].Type() {
	case sqlite3.NULL, sqlite3.BLOB:
		ctx.ResultBool(selector.Matches(labelSet(view(args[1].RawBlob()))))
	default:
		ctx.ResultError(c.fail(&SQLError{Message: "MATCH wants the column labels on its left", Offset: -1}))
	}
}

// anyNull tells whether an argument is NULL: then so is the result.
func anyNull(args []sqlite3.Value) bool {
	for _, a := range args {
		if a.Type() == sqlite3.NULL {
			return true
		}
	}
	return false
}

func instr(ctx sqlite3.Context, args ...sqlite3.Value) {
	if anyNull(args) {
		return
	}
	if args[0].Type() == sqlite3.BLOB && args[1].Type() == sqlite3.BLOB {
		ctx.ResultInt(1 + strings.Index(view(args[0].RawBlob()), view(args[1].RawBlob())))
		return
	}
	text := view(args[0].RawText())
	i := strings.Index(text, view(args[1].RawText()))
	if i < 0 {
		ctx.ResultInt(0)
		return
	}
	ctx.ResultInt(1 + utf8.RuneCountInString(text[:i]))
}

func replaceText(ctx sqlite3.Context, args ...sqlite3.Value) {
	if anyNull(args) {
		return
	}
	text, from, to := view(args[0].RawText()), view(args[1].RawText()), view(args[2].RawText())
	if from == "" {
		ctx.ResultText(text)
		return
	}
	if grown := len(to) - len(from); grown > 0 && len(text)+grown*strings.Count(text, from) > maxLength {
		ctx.ResultError(sqlite3.TOOBIG)
		return
	}
	ctx.ResultText(strings.ReplaceAll(text, from, to))
}

func trim(left, right bool) sqlite3.ScalarFunction {
	return func(ctx sqlite3.Context, args ...sqlite3.Value) {
		if anyNull(args) {
			return
		}
		text, set := view(args[0].RawText()), map[rune]bool{}
		for _, r := range view(args[1].RawText()) {
			set[r] = true
		}
		in := func(r rune) bool { return set[r] }
		if left {
			text = strings.TrimLeftFunc(text, in)
		}
		if right {
			text = strings.TrimRightFunc(text, in)
		}
		ctx.ResultText(text)
	}
}

// labelSet is the section labels as selectors read it.
type labelSet string

// Has tells whether there is a label.
func (s labelSet) Has(name string) bool { return lookup(string(s), name) != "" }

// Get is a label's value.
func (s labelSet) Get(name string) string {
	value, _ := text(lookup(string(s), name))
	return value
}

// Lookup is both.
func (s labelSet) Lookup(name string) (string, bool) { return s.Get(name), s.Has(name) }

// selector reads what follows MATCH: what kubectl's -l takes.
func (c *conn) selector(v sqlite3.Value) (labels.Selector, error) {
	if v.Type() == sqlite3.NULL {
		return labels.Nothing(), nil
	}
	s := v.Text()
	selector, err := labels.Parse(s)
	if err != nil {
		return nil, &SQLError{
			Message: fmt.Sprintf("labels MATCH %q: %v", s, err), Offset: -1,
			Hint: "a selector is like app=web,tier!=cache,track in (a,b)",
		}
	}
	return selector, nil
}
