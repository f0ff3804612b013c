package expr

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
)

// Error is one mistake in a condition, or what went wrong when it ran.
type Error struct {
	// Line and Column are within the condition and count from 1, Column in characters; both are 0 if it is about the
	// condition as a whole.
	Line, Column int
	// Message says what is wrong.
	Message string
	// Hint says what to do, where that is known.
	Hint string
}

func (e *Error) Error() string {
	s := e.Message
	if e.Line > 0 {
		s = fmt.Sprintf("%d:%d: %s", e.Line, e.Column, s)
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Errors are all mistakes in a condition. It is never empty as an error.
type Errors []*Error

// Error is one line for each.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find a single Error.
func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i, one := range e {
		out[i] = one
	}
	return out
}

// expecting is the parser's list of everything that would have been allowed.
var expecting = regexp.MustCompile(`(?s) expecting \{.*$`)

// syntaxErrors is the first of the parser's errors: the others mostly follow from it.
func syntaxErrors(issues *cel.Issues) Errors {
	all := issues.Errors()
	slices.SortStableFunc(all, func(a, b *cel.Error) int {
		return cmp.Or(cmp.Compare(a.Location.Line(), b.Location.Line()), cmp.Compare(a.Location.Column(), b.Location.Column()))
	})
	first := all[0]
	message, hint := expecting.ReplaceAllString(first.Message, ""), ""
	message = strings.ReplaceAll(strings.Replace(message, "Syntax error: ", "", 1), "'<EOF>'", "the end")
	switch {
	case strings.Contains(message, "extraneous input '='"), strings.Contains(message, "mismatched input '='"),
		strings.Contains(message, "token recognition error at: '= '"):
		hint = "to compare, write =="
	case strings.Contains(message, "token recognition error at: ''"), strings.Contains(message, `token recognition error at: '"`):
		hint = "a text in quotes has no end"
	case strings.Contains(message, "no viable alternative at input '."):
		hint = "a field with such a name is written in backticks: .`in`"
	case strings.Contains(message, "input 'and'"):
		hint = "CEL writes && for and"
	case strings.Contains(message, "input 'or'"):
		hint = "CEL writes || for or"
	case strings.Contains(message, "input 'not'"):
		hint = "CEL writes ! for not"
	}
	return Errors{at(first, "no valid CEL: "+message, hint)}
}

func at(e *cel.Error, message, hint string) *Error {
	// CEL finds an empty text wrong in front of its first character.
	return &Error{Line: max(1, e.Location.Line()), Column: max(1, e.Location.Column()+1), Message: message, Hint: hint}
}
