package specs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
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

// nearest is the name that word was probably meant to be: the one with the fewest edits, if those are few.
func nearest(word string, names []string) string {
	best, least := "", 1+max(2, len(word)/3)
	for _, n := range names {
		d := distance(strings.ToLower(word), strings.ToLower(n))
		if d < least && d < len(n) {
			best, least = n, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, substitutions and swaps of neighbours that make b of a.
func distance(a, b string) int {
	if len(a) > 100 || len(b) > 100 {
		return 100
	}
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, prev, row = prev, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
