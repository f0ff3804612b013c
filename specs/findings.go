package specs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/mainstay-dev/mainstay/specs/expr"
)

// Finding is one mistake in an operator's folder, at the place where it is to be mended.
type Finding struct {
	// File is the path as the caller of Load would write it.
	File string
	// Line and Column count from 1, Column in characters; both are 0 if the finding is about the file as a whole.
	Line, Column int
	// Message says what is wrong.
	Message string
	// Hint says what to do, where that is known.
	Hint string
}

// Error is one line, as compilers write it: path/operator.yaml:9:13: unknown key "chrat" …; did you mean "chart"?
func (f Finding) Error() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d", f.Line)
		if f.Column > 0 {
			fmt.Fprintf(&b, ":%d", f.Column)
		}
	}
	b.WriteString(": " + f.Message)
	if f.Hint != "" {
		b.WriteString("; " + f.Hint)
	}
	return b.String()
}

// Findings are all mistakes that were found, in the order of files and lines. It is never empty as an error.
type Findings []Finding

// Error is one line for each finding.
func (f Findings) Error() string {
	lines := make([]string, len(f))
	for i, one := range f {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find a single Finding.
func (f Findings) Unwrap() []error {
	errs := make([]error, len(f))
	for i, one := range f {
		errs[i] = one
	}
	return errs
}

// err is f as an error, sorted; nil if there are none.
func (f Findings) err() error {
	if len(f) == 0 {
		return nil
	}
	slices.SortStableFunc(f, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.CompactFunc(f, func(a, b Finding) bool { return a == b })
}

// didYouMean is a hint with the nearest of names, or "" if none is near.
func didYouMean(word string, names []string) string {
	if n := nearest(word, names); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	return ""
}

// nearest is the name that word was probably meant to be, or "".
func nearest(word string, names []string) string { return expr.Nearest(word, names) }
