package render

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A pongo2 template is read twice: here first, then by pongo2. This reading
//
//   - refuses what pongo2 would take for something else without a word (loop.last, True, x.items()) and explains
//     what it wouldn't understand (Jinja2's own syntax);
//   - bounds the nesting, because pongo2's parser recurses, and takes out {% comment %} blocks, because a closing
//     tag with an argument sends pongo2's parser into an endless loop;
//   - writes {{ x }} as the tag {%_ x %}, which prints values as YAML wants them (pongo2 prints 1.5 as 1.500000, a
//     bool as True and a list as <[]interface {} Value>), and puts a guard at both ends of a macro's body.
//
// Columns move by the rewriting; source.place moves them back.

// source is a template as pongo2 gets it.
type source struct {
	name  string
	lines []string // of the original
	text  string   // rewritten
	edits map[int][]edit
}

// edit is an insertion into a line: columns of the result from col on (0-based, bytes) are off by delta.
type edit struct{ col, delta int }

// place turns a line and column of the rewritten text into those of the original, the column in characters.
func (s *source) place(line, col int) (int, int) {
	if line < 1 || line > len(s.lines) || col < 1 {
		return line, col
	}
	orig, at := s.lines[line-1], col-1
	for _, e := range s.edits[line] {
		if col-1 >= e.col {
			at -= e.delta
		}
	}
	return line, utf8.RuneCountInString(orig[:max(0, min(at, len(orig)))]) + 1
}

// word is a token within a tag.
type word struct {
	kind byte // 'w' word or number, 's' string, or '.' for any symbol
	text string
	pos  int // byte offset in the original
}

// scanner reads a template tag by tag.
type scanner struct {
	name string
	in   string
	pos  int
	out  strings.Builder
	// line and lineStart (offset in in) of pos; outStart is where that line starts in out.
	line, lineStart, outStart int
	edits                     map[int][]edit
	depth                     int
}

// scan checks and rewrites a template. Error: *Error.
func scan(name, text string) (*source, error) {
	s := &scanner{name: name, in: text, line: 1, edits: map[int][]edit{}}
	for s.pos < len(s.in) {
		rest := s.in[s.pos:]
		var err error
		switch {
		case strings.HasPrefix(rest, "{% verbatim %}"):
			end := strings.Index(rest, "{% endverbatim %}")
			if end < 0 {
				return nil, s.errorAt(s.pos, "{% verbatim %} is not closed", "")
			}
			s.copy(end + len("{% endverbatim %}"))
		case strings.HasPrefix(rest, "{#"):
			end := strings.Index(rest, "#}")
			if end < 0 {
				return nil, s.errorAt(s.pos, "the comment is not closed", "")
			}
			if strings.Contains(rest[:end], "\n") {
				return nil, s.errorAt(s.pos, "a {# comment #} of several lines",
					"pongo2 writes {% comment %} … {% endcomment %}")
			}
			s.copy(end + 2)
		case strings.HasPrefix(rest, "{{"), strings.HasPrefix(rest, "{%"):
			err = s.tag()
		default:
			next := strings.IndexByte(rest[1:], '{')
			if next < 0 {
				next = len(rest) - 1
			}
			s.copy(next + 1)
		}
		if err != nil {
			return nil, err
		}
	}
	return &source{name: name, lines: strings.Split(text, "\n"), text: s.out.String(), edits: s.edits}, nil
}

// copy passes the next n bytes on.
func (s *scanner) copy(n int) { s.replace(n, s.in[s.pos:s.pos+n]) }

// replace passes on with instead of the next n bytes; both have the same line breaks.
func (s *scanner) replace(n int, with string) {
	s.out.WriteString(with)
	if i := strings.LastIndexByte(s.in[s.pos:s.pos+n], '\n'); i >= 0 {
		s.line += strings.Count(s.in[s.pos:s.pos+n], "\n")
		s.lineStart = s.pos + i + 1
		s.outStart = s.out.Len() - (n - i - 1)
	}
	s.pos += n
}

// insert puts text in here, which the original doesn't have.
func (s *scanner) insert(text string) {
	s.out.WriteString(text)
	s.edits[s.line] = append(s.edits[s.line], edit{col: s.out.Len() - s.outStart, delta: len(text)})
}

func (s *scanner) errorAt(pos int, message, hint string) *Error {
	return &Error{
		Template: s.name, Line: s.line, Column: utf8.RuneCountInString(s.in[s.lineStart:pos]) + 1,
		Message: message, Hint: hint,
	}
}

// tag checks one {{ }} or {% %} and passes it on, rewritten.
func (s *scanner) tag() error {
	open := s.pos
	prints := s.in[open+1] == '{'
	words, end, err := s.words()
	if err != nil {
		return err
	}
	trimOpen := strings.HasPrefix(s.in[open+2:], "-")
	closes := s.in[end-2 : end]
	trimClose := strings.HasSuffix(s.in[:end-2], "-")
	if want := map[bool]string{true: "}}", false: "%}"}[prints]; closes != want {
		return s.errorAt(open, fmt.Sprintf("%s is closed by %s", s.in[open:open+2], closes), "")
	}
	if prints && len(words) == 0 {
		return s.errorAt(open, "nothing between {{ and }}", "")
	}
	name := ""
	if !prints && len(words) > 0 {
		name = words[0].text
	}
	if name == "comment" {
		return s.comment(end)
	}
	if err := s.check(words, prints); err != nil {
		return err
	}
	if err := s.nest(name, words); err != nil {
		return err
	}

	inner := s.in[open+2 : end-2]
	switch {
	case prints:
		s.replace(2, "{%")
		if trimOpen {
			s.copy(1)
			inner = inner[1:]
		}
		s.insert("_ ")
		s.copy(len(inner))
		s.replace(2, "%}")
	case name == "endmacro":
		s.insert(map[bool]string{true: "{%-_leave%}", false: "{%_leave%}"}[trimOpen])
		s.copy(end - open)
	case name == "macro":
		s.copy(end - open)
		s.insert(map[bool]string{true: "{%_enter-%}", false: "{%_enter%}"}[trimClose])
	default:
		s.copy(end - open)
	}
	return nil
}

// words splits the tag at pos, and returns the offset behind its end.
func (s *scanner) words() (words []word, end int, err error) {
	open := s.pos
	i := open + 2
	if strings.HasPrefix(s.in[i:], "-") {
		i++
	}
	brackets := 0
	for i < len(s.in) {
		c, rest := s.in[i], s.in[i:]
		switch {
		case c == '\n':
			return nil, 0, s.errorAt(open, fmt.Sprintf("a line break inside %s", s.in[open:open+2]), "pongo2 wants each tag on one line")
		case c == ' ' || c == '\t' || c == '\r':
			i++
			continue
		case strings.HasPrefix(rest, "}}"), strings.HasPrefix(rest, "%}"):
			return words, i + 2, nil
		case strings.HasPrefix(rest, "-}}"), strings.HasPrefix(rest, "-%}"):
			return words, i + 3, nil
		case c == '"' || c == '\'':
			n := stringEnd(rest)
			if n == 0 {
				return nil, 0, s.errorAt(i, "the string is not closed", "")
			}
			words = append(words, word{'s', rest[:n], i})
			i += n
		case isWord(c):
			n := 1
			for n < len(rest) && isWord(rest[n]) {
				n++
			}
			words = append(words, word{'w', rest[:n], i})
			i += n
		case strings.IndexByte("=<>!&|()+-*/^,.:%[]", c) >= 0:
			if c == '(' || c == '[' {
				brackets++
			}
			words = append(words, word{'.', rest[:1], i})
			i++
		default:
			r, _ := utf8.DecodeRuneInString(rest)
			hint := ""
			if r == '~' {
				hint = `Jinja2 joins with ~, pongo2 with +; the jinja2 engine is not supported yet`
			}
			return nil, 0, s.errorAt(i, fmt.Sprintf("unexpected %q", r), hint)
		}
		if brackets > maxDepth || len(words) > 20*maxDepth {
			return nil, 0, s.errorAt(open, "the expression is too long", "")
		}
	}
	return nil, 0, s.errorAt(open, fmt.Sprintf("%s is not closed", s.in[open:open+2]), "")
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// stringEnd is the length of the string literal that s starts with; 0: it doesn't end on its line.
func stringEnd(s string) int {
	for i := 1; i < len(s) && s[i] != '\n'; i++ {
		switch s[i] {
		case '\\':
			i++
		case s[0]:
			return i + 1
		}
	}
	return 0
}

// comment blanks the inside of a {% comment %} block, whose opening tag ends at end.
func (s *scanner) comment(end int) error {
	for off := end; ; off += 2 {
		i := strings.Index(s.in[off:], "{%")
		if i < 0 {
			return s.errorAt(s.pos, "{% comment %} is not closed", "")
		}
		off += i
		stop := strings.Index(s.in[off:], "%}")
		if stop >= 0 && strings.TrimSpace(strings.Trim(s.in[off+2:off+stop], "-")) == "endcomment" {
			s.copy(end - s.pos)
			s.replace(off-end, blank(s.in[end:off]))
			s.copy(stop + 2)
			return nil
		}
	}
}

// blank keeps line breaks and lengths, so that places behind a comment stay what they are.
func blank(text string) string {
	b := []byte(text)
	for i, c := range b {
		if c != '\n' {
			b[i] = ' '
		}
	}
	return string(b)
}

// nest keeps count of the blocks that are open.
func (s *scanner) nest(name string, words []word) error {
	switch name {
	case "if", "for", "with", "macro", "block", "filter", "spaceless", "ifchanged", "ifequal", "ifnotequal", "autoescape":
		if s.depth++; s.depth > maxDepth {
			return s.errorAt(words[0].pos, fmt.Sprintf("blocks nest more than %d deep", maxDepth), "")
		}
	default:
		if strings.HasPrefix(name, "end") {
			s.depth--
		}
	}
	return nil
}
