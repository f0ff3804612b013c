package virtual

import "strings"

// Part is one statement of a text.
type Part struct {
	Text string
	// Offset is where it begins in the text, in bytes.
	Offset int
}

// Split splits a text into its statements, as SQLite does, without the empty ones. Possible errors: *SQLError, if a
// quote isn't closed.
func Split(text string) ([]Part, error) {
	var parts []Part
	from, to := -1, 0
	add := func() {
		if from >= 0 {
			parts = append(parts, Part{Text: text[from:to], Offset: from})
		}
		from = -1
	}
	l := lexer{text: text}
	for l.next() {
		switch {
		case l.kind == tokenBroken:
			return nil, &SQLError{Message: "a quote isn't closed", Offset: l.from}
		case l.kind == tokenOther && text[l.from] == ';':
			add()
		default:
			if from < 0 {
				from = l.from
			}
			to = l.to
		}
	}
	add()
	return parts, nil
}

type tokenKind int

const (
	tokenOther  tokenKind = iota // an operator, a number, a parameter
	tokenWord                    // a keyword or a bare name
	tokenName                    // a quoted name
	tokenString                  // 'text'
	tokenBroken                  // a quote that isn't closed
)

// lexer finds the tokens of SQL, as far as it is needed to tell what is quoted or comment from what is not.
type lexer struct {
	text     string
	kind     tokenKind
	from, to int
}

// next goes to the next token and skips blanks and comments; false: there is none.
func (l *lexer) next() bool {
	t := l.text
	i := l.to
	for i < len(t) {
		switch {
		case isSpace(t[i]):
			i++
		case strings.HasPrefix(t[i:], "--"):
			n := strings.IndexByte(t[i:], '\n')
			if n < 0 {
				n = len(t) - i
			}
			i += n
		case strings.HasPrefix(t[i:], "/*") && len(t) > i+2:
			// SQLite lets the end of the text end a comment.
			n := strings.Index(t[i+2:], "*/")
			if n < 0 {
				i = len(t)
			} else {
				i += n + 4
			}
		default:
			l.from = i
			l.read()
			return true
		}
	}
	l.from, l.to = len(t), len(t)
	return false
}

func (l *lexer) read() {
	t, i := l.text, l.from
	switch c := t[i]; {
	case c == '\'':
		l.quoted(tokenString, c)
	case c == '"' || c == '`':
		l.quoted(tokenName, c)
	case c == '[':
		l.quoted(tokenName, ']')
	case isNameByte(c):
		for i < len(t) && isNameByte(t[i]) {
			i++
		}
		l.kind, l.to = tokenWord, i
		if c >= '0' && c <= '9' {
			l.kind = tokenOther
		}
	default:
		l.kind, l.to = tokenOther, i+1
		for _, operator := range [...]string{"->>", "->", "||"} {
			if strings.HasPrefix(t[i:], operator) {
				l.to = i + len(operator)
				return
			}
		}
	}
}

func (l *lexer) quoted(kind tokenKind, end byte) {
	t := l.text
	for i := l.from + 1; i < len(t); i++ {
		if t[i] != end {
			continue
		}
		if end != ']' && i+1 < len(t) && t[i+1] == end {
			i++
			continue
		}
		l.kind, l.to = kind, i+1
		return
	}
	l.kind, l.to = tokenBroken, len(t)
}

// token is the text of the present one.
func (l *lexer) token() string { return l.text[l.from:l.to] }

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' && c != '\v' }

func isNameByte(c byte) bool {
	return c == '_' || c == '$' || c >= '0' && c <= '9' || c|32 >= 'a' && c|32 <= 'z' || c >= 0x80
}

// firstWord is a statement's first keyword, in capitals.
func firstWord(text string) string {
	l := lexer{text: text}
	if !l.next() || l.kind != tokenWord {
		return ""
	}
	return strings.ToUpper(l.token())
}
