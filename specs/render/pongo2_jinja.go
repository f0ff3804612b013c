package render

import (
	"fmt"
	"strings"
)

// What Jinja2 writes and pongo2 either doesn't understand or, worse, understands differently. Each is refused with
// the words of the engine that the template is in.

// loopFields are Jinja2's and Django's names of a loop's state, and pongo2's. pongo2 takes an unknown one for false.
var loopFields = map[string]string{
	"index": "Counter", "index0": "Counter0", "revindex": "Revcounter", "revindex0": "Revcounter0",
	"first": "First", "last": "Last", "parent": "Parentloop",
	"counter": "Counter", "counter0": "Counter0", "revcounter": "Revcounter", "revcounter0": "Revcounter0",
	"parentloop": "Parentloop",
}

// foreignFilters are names that other template languages have for what pongo2 calls otherwise.
var foreignFilters = map[string]string{
	"tojson": "to_json", "toJson": "to_json", "toyaml": "to_yaml", "toYaml": "to_yaml", "to_nice_yaml": "to_yaml",
	"to_nice_json": "to_json", "b64enc": "b64encode", "b64dec": "b64decode", "int": "integer", "count": "length",
	"d": "default", "nindent": "indent", "sha256sum": "sha256",
}

// foreignTags likewise.
var foreignTags = map[string]string{
	"raw": "{% verbatim %}", "endraw": "{% endverbatim %}", "else if": "{% elif %}", "elseif": "{% elif %}",
	"elsif": "{% elif %}", "from": `{% import "file" name %}`,
}

// check looks at the words of a tag. Error: *Error.
func (s *scanner) check(words []word, prints bool) error {
	at := func(i int) word {
		if i < 0 || i >= len(words) {
			return word{}
		}
		return words[i]
	}
	for i, w := range words {
		prev, next := at(i-1), at(i+1)
		if w.kind == '.' && w.text == "(" && prev.kind == 'w' && at(i-2).text == "|" {
			return s.errorAt(w.pos, fmt.Sprintf("%s(…): an argument in brackets", prev.text), fmt.Sprintf(
				`Jinja2 writes %[1]s("x"), pongo2 writes %[1]s:"x"; the jinja2 engine is not supported yet`, prev.text))
		}
		if w.kind == '.' && w.text == "." && prev.text == "]" {
			return s.errorAt(w.pos, "a field behind [ ]", "pongo2 writes x.0.y for Jinja2's x[0].y; to use a name that is "+
				"no identifier, {% set labels = … %} first")
		}
		if w.kind != 'w' {
			continue
		}
		if strings.HasPrefix(w.text, "_") && prev.text != "." {
			return s.errorAt(w.pos, fmt.Sprintf("the name %q starts with _", w.text), "such names are Mainstay's own")
		}
		if prev.text == "." {
			if next.text == "(" && next.kind == '.' && w.text != "Super" {
				return s.errorAt(w.pos, fmt.Sprintf("%s() can't be called: values have no methods here", w.text), method(w.text))
			}
			continue
		}
		switch w.text {
		case "loop", "forloop":
			field := at(i + 2).text
			if next.text != "." || next.kind != '.' {
				continue
			}
			ours, foreign := loopFields[field]
			if w.text == "forloop" && !foreign {
				continue
			}
			hint := `the jinja2 engine is not supported yet`
			if foreign {
				hint = fmt.Sprintf("pongo2 writes forloop.%s", ours)
			}
			return s.errorAt(w.pos, fmt.Sprintf("%s.%s means nothing to pongo2", w.text, field), hint)
		case "True", "False":
			return s.errorAt(w.pos, w.text+" is no value here", "pongo2 writes "+strings.ToLower(w.text))
		case "if", "else":
			if i > 0 && (prints || words[0].text == "set") {
				return s.errorAt(w.pos, fmt.Sprintf("%q inside an expression", w.text),
					"Jinja2 writes a if b else c, pongo2 writes {% if b %}a{% else %}c{% endif %}; the jinja2 engine is not supported yet")
			}
		case "is":
			if i > 0 && prev.kind == 'w' && next.kind == 'w' && words[0].text != "import" {
				return s.errorAt(w.pos, `"is" is no operator here`,
					"Jinja2 writes x is defined, pongo2 writes {% if x %}; the jinja2 engine is not supported yet")
			}
		case "or", "and":
			if prints && (next.kind == 's' || next.kind == 'w' && next.text[0] <= '9') {
				return s.errorAt(w.pos, fmt.Sprintf("%q yields true or false here, not one of its sides", w.text),
					fmt.Sprintf("write |default:%s", next.text))
			}
		}
	}
	return nil
}

func method(name string) string {
	switch name {
	case "items":
		return "pongo2 writes {% for key, value in map %}"
	case "keys":
		return "pongo2 writes {% for key in map %}"
	case "get":
		return `pongo2 writes x.name|default:"y"`
	case "format", "join", "replace", "split", "lower", "upper", "strip":
		return "use a filter"
	}
	return ""
}
