package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// explain makes an error one that tells what to do about it.
func (q *query) explain(err error) error {
	var wrong *virtual.SQLError
	var limit *virtual.LimitError
	switch {
	case errors.As(err, &wrong):
		return errors.New(pointOut(q.text, wrong))
	case errors.As(err, &limit) && limit.Limit == "rows":
		return fmt.Errorf("%w, or raise --limit", err)
	case errors.As(err, &limit) && limit.Limit == "time":
		return fmt.Errorf("%w, or raise --timeout", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("not done within %v, which --timeout can raise: %w", q.timeout, err)
	}
	return err
}

// lineWidth is how much of a line of a statement is shown.
const lineWidth = 100

// pointOut shows where in a statement the mistake is:
//
//	no such table: servics
//	  1 | SELECT * FROM servics
//	    |               ^
//	did you mean services?
func pointOut(text string, e *virtual.SQLError) string {
	var b strings.Builder
	b.WriteString(e.Message)
	if e.Offset >= 0 && e.Offset <= len(text) {
		start := strings.LastIndexByte(text[:e.Offset], '\n') + 1
		line, _, _ := strings.Cut(text[start:], "\n")
		number := fmt.Sprintf("%3d | ", 1+strings.Count(text[:start], "\n"))
		// The caret stands below only if all characters are one column wide.
		line = strings.Map(func(r rune) rune {
			if r < ' ' {
				return ' '
			}
			return r
		}, line)
		column := utf8.RuneCountInString(text[start:e.Offset])
		shown := []rune(line)
		if column > lineWidth*3/4 {
			skip := column - lineWidth/2
			shown = append([]rune("…"), shown[skip:]...)
			column -= skip - 1
		}
		if len(shown) > lineWidth {
			shown = append(shown[:lineWidth-1], '…')
		}
		fmt.Fprintf(&b, "\n%s%s\n    | %s^", number, strings.TrimRight(string(shown), " "), strings.Repeat(" ", column))
	}
	if e.Hint != "" {
		b.WriteString("\n" + e.Hint)
	}
	return b.String()
}

// refused says what an API server's refusal means for a statement.
func refused(s *source, namespace, verb string, err error) error {
	where := " in all namespaces"
	switch {
	case !s.Namespaced:
		where = ""
	case namespace != "":
		where = " in namespace " + namespace
	}
	switch {
	case apierrors.IsForbidden(err):
		hint := ""
		if s.Namespaced && namespace == "" {
			hint = "; -n asks for one namespace only"
		}
		return fmt.Errorf("you lack the verb %s on %s%s: grant it%s (%w)", verb, s.Table(), where, hint, err)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("the API server has %s no more: %w", s.Table(), err)
	}
	return fmt.Errorf("%s %s%s: %w", verb, s.Table(), where, err)
}
