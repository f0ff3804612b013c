package expr

import (
	"fmt"
	"strings"
)

// didYouMean is a hint with the nearest of names, or "" if none is near.
func didYouMean(word string, names []string) string {
	if n := Nearest(word, names); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	return ""
}

// Nearest is the name that word was probably meant to be: the one with the fewest edits, if those are few; else "".
func Nearest(word string, names []string) string {
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
