package virtual

import (
	"fmt"
	"slices"
	"strings"
)

// field is a value in one of an object's JSON columns, of which a statement speaks as of spec->'template'->>'name'. It
// stands for a hidden column: so SQLite takes the value alone and not the whole section, and pushes conditions on labels
// down into the table, as it does with columns but with no expressions.
type field struct {
	column int
	path   string // the names of the members, joined by sep
}

// maxFields is how many hidden columns a table has for fields.
const maxFields = 40

// The hidden columns have names that nobody writes.
func fieldColumn(i int) string { return fmt.Sprintf("(field %d)", i) }

// label is the name of the label that a field is; false: it is something else.
func (f field) label() (string, bool) {
	return f.path, f.column == columnLabels && !strings.Contains(f.path, sep)
}

// in finds the field in a record; the result is an element, or nothing.
func (f field) in(r record) string {
	b := r.section(sectionColumns[f.column-columnLabels])
	for rest, more := f.path, true; more && b != ""; {
		var name string
		name, rest, more = strings.Cut(rest, sep)
		b = lookup(b, name)
	}
	return b
}

// fieldUse is where a statement speaks of a field.
type fieldUse struct {
	from, name, to int // name is where the column's begins, after what qualifies it
	field
}

// fieldUses finds the expressions column->>'name' and column->'name'->>'name' that one name may stand for. Left out are
// those of which a neighbour binds at least as tightly, because there the operands are others than they seem.
func fieldUses(text string) []fieldUse {
	if !strings.Contains(text, "->>") {
		return nil
	}
	type token struct {
		kind     tokenKind
		from, to int
	}
	var tokens []token
	for l := (lexer{text: text}); l.next(); {
		tokens = append(tokens, token{l.kind, l.from, l.to})
	}
	at := func(i int) string {
		if i < 0 || i >= len(tokens) {
			return ""
		}
		return text[tokens[i].from:tokens[i].to]
	}
	var uses []fieldUse
	for i := 0; i < len(tokens); i++ {
		column := slices.Index(columnNames[:], strings.ToLower(at(i)))
		if tokens[i].kind != tokenWord || column < columnLabels || column == columnObject {
			continue
		}
		var path []string
		next := i + 1
		for at(next) == "->" || at(next) == "->>" {
			name, ok := memberName(at(next + 1))
			if !ok {
				break
			}
			path = append(path, name)
			next += 2
			if at(next-2) == "->>" {
				break
			}
		}
		first := i
		for at(first-1) == "." {
			first -= 2
		}
		if len(path) == 0 || first < 0 || at(next-2) != "->>" || strings.EqualFold(at(next), "collate") ||
			slices.Contains([]string{"||", "->", "->>", "~", "-", "+", ":", "@", "#"}, at(first-1)) {
			continue
		}
		uses = append(uses, fieldUse{
			tokens[first].from, tokens[i].from, tokens[next-1].to, field{column, strings.Join(path, sep)},
		})
		i = next - 1
	}
	return uses
}

// memberName is the name that a string literal after an arrow is, if it is one; the operators take what begins with $ or
// [ for a path.
func memberName(literal string) (string, bool) {
	if len(literal) < 3 || literal[0] != '\'' || literal[len(literal)-1] != '\'' {
		return "", false
	}
	name := literal[1 : len(literal)-1]
	return name, !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r|32 >= 'a' && r|32 <= 'z' || strings.ContainsRune("-_./", r))
	})
}

// rewriteFields puts hidden columns in the place of expressions.
func (c *conn) rewriteFields(text string) (string, bool) {
	var b strings.Builder
	last := 0
	for _, use := range fieldUses(text) {
		i := slices.Index(c.fields, use.field)
		if i < 0 {
			if len(c.fields) == maxFields {
				continue
			}
			i = len(c.fields)
			c.fields = append(c.fields, use.field)
		}
		column := text[use.from:use.name] + `"` + fieldColumn(i) + `"`
		if _, ok := use.label(); !ok {
			// An expression is compared otherwise than a column, if a number meets a text. Labels are texts.
			column = "(+" + column + ")"
		}
		b.WriteString(text[last:use.from])
		b.WriteString(column)
		last = use.to
	}
	if last == 0 {
		return text, false
	}
	b.WriteString(text[last:])
	return b.String(), true
}

// fieldName is the column that a hidden column is a part of; other names stay.
func (c *conn) fieldName(column string) string {
	var i int
	if _, err := fmt.Sscanf(column, "(field %d)", &i); err == nil && i < len(c.fields) {
		return columnNames[c.fields[i].column]
	}
	return column
}
