package specs

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// place is where a byte of a scalar's text stands in the file: of a block that begins with |, and of a text on one
// line. Where YAML has folded or unescaped the text before it, it is where the scalar begins.
func (d *document) place(n *yaml.Node, offset int) (line, column int) {
	before := n.Value[:min(max(offset, 0), len(n.Value))]
	lines := strings.Split(d.source, "\n")
	at := func(i int) string {
		if i < 0 || i >= len(lines) {
			return ""
		}
		return strings.TrimSuffix(lines[i], "\r")
	}
	if n.Style&yaml.LiteralStyle != 0 {
		i := strings.Count(before, "\n")
		written := at(n.Line + i) // the text begins a line after its |
		indent, ok := strings.CutSuffix(written, strings.Split(n.Value, "\n")[i])
		if ok && strings.Trim(indent, " ") == "" {
			return n.Line + 1 + i, len(indent) + utf8.RuneCountInString(before[strings.LastIndex(before, "\n")+1:]) + 1
		}
		return n.Line, n.Column
	}
	skip := n.Column - 1
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		skip++
	}
	written := []rune(at(n.Line - 1))
	if skip <= len(written) && strings.HasPrefix(string(written[skip:]), before) {
		return n.Line, skip + utf8.RuneCountInString(before) + 1
	}
	return n.Line, n.Column
}

// within reports a finding about a byte of a scalar's text.
func (d *document) within(n *yaml.Node, offset int, hint, format string, args ...any) {
	line, column := d.place(n, offset)
	d.at(line, column, hint, format, args...)
}

// spot is a place as plans name it: relative to the operator's folder.
func spot(line, column int) string { return fmt.Sprintf("%s:%d:%d", Description, line, column) }

// offsetOf is the byte at a line and column of a text, both counted from 1, the column in characters.
func offsetOf(text string, line, column int) int {
	offset := 0
	for ; line > 1; line-- {
		i := strings.IndexByte(text[offset:], '\n')
		if i < 0 {
			return len(text)
		}
		offset += i + 1
	}
	for ; column > 1 && offset < len(text); column-- {
		_, size := utf8.DecodeRuneInString(text[offset:])
		offset += size
	}
	return offset
}
