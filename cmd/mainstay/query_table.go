package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

const (
	// gap parts a table's columns.
	gap = "   "
	// leastWidth is what a column keeps of its width, however narrow the terminal is.
	leastWidth = 8
)

// table prints a result as kubectl does. Of a live query each one has a line with the time before it.
func (p *printer) table(rows *virtual.Rows) {
	if p.live {
		what := "rows"
		if len(rows.Values) == 1 {
			what = "row"
		}
		fmt.Fprintf(p.out, "--- %s, %d %s\n", p.now().Format("15:04:05"), len(rows.Values), what)
	}
	lines := make([][]string, 1, 1+len(rows.Values))
	for _, c := range rows.Columns {
		lines[0] = append(lines[0], heading(c))
	}
	for _, values := range rows.Values {
		line := make([]string, len(values))
		for i, v := range values {
			line[i] = printable(cell(v))
		}
		lines = append(lines, line)
	}
	widths := fit(columnWidths(lines), p.width())
	for _, line := range lines {
		var b strings.Builder
		for i, text := range line {
			if i > 0 {
				b.WriteString(gap)
			}
			text = cut(text, widths[i])
			b.WriteString(text)
			b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)))
		}
		fmt.Fprintln(p.out, strings.TrimRight(b.String(), " "))
	}
}

// heading is a column's name in capitals, unless it is an expression, in which case matters.
func heading(column string) string {
	if strings.ContainsFunc(column, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		return printable(column)
	}
	return strings.ToUpper(column)
}

// printable writes out what would move the cursor or worse: what the cluster holds must not command the terminal.
func printable(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

func columnWidths(lines [][]string) []int {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, text := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	return widths
}

// fit takes from the widest columns what is too much for a width; 0 is any.
func fit(widths []int, width int) []int {
	if width <= 0 {
		return widths
	}
	room := width - len(gap)*(len(widths)-1)
	all := func(most int) (sum int) {
		for _, w := range widths {
			sum += min(w, most)
		}
		return sum
	}
	most := max(leastWidth, slices.Max(append([]int{0}, widths...)))
	for most > leastWidth && all(most) > room {
		most--
	}
	out := make([]int, len(widths))
	for i, w := range widths {
		out[i] = min(w, most)
	}
	// What one less for the widest leaves over goes to the first of them.
	for i := 0; i < len(out) && all(most) < room; i++ {
		if out[i] < widths[i] && slices.Max(out) == most {
			out[i]++
			room--
		}
	}
	return out
}

func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:width-1]) + "…"
}
