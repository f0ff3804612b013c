package specs

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is one YAML file on its way from text to plan. What is wrong goes into found.
type document struct {
	file   string // as findings show it
	source string
	root   *yaml.Node
	found  *Findings
}

// parse reads a file's text as exactly one YAML document whose root is a mapping. It returns nil if that can't be,
// with the reason in found.
func parse(file, text string, found *Findings) *document {
	d := &document{file: file, source: text, found: found}
	if len(text) > maxDescription {
		d.at(0, 0, "", "is larger than %d KiB", maxDescription>>10)
		return nil
	}
	root, second, err := decode(text)
	switch {
	case errors.Is(err, io.EOF) || err == nil && root.Kind == 0:
		d.at(0, 0, "", "is empty")
		return nil
	case err != nil:
		d.syntax(text, err)
		return nil
	case second != nil:
		d.errorf(second, "", "a second YAML document: this file holds exactly one")
		return nil
	}
	d.root = root
	if root.Kind == yaml.DocumentNode {
		d.root = root.Content[0]
	}
	before := len(*found)
	d.plain(d.root)
	if d.root.Kind != yaml.MappingNode && len(*found) == before {
		if isNull(d.root) {
			d.at(0, 0, "", "is empty")
		} else {
			d.errorf(d.root, "", "expected a mapping, got %s", kindOf(d.root))
		}
	}
	if len(*found) > before {
		return nil
	}
	return d
}

// decode is yaml.v3 with its panics as errors.
func decode(text string) (root, second *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	dec := yaml.NewDecoder(strings.NewReader(text))
	root = new(yaml.Node)
	if err := dec.Decode(root); err != nil {
		return nil, nil, err
	}
	for {
		next := new(yaml.Node)
		switch err := dec.Decode(next); {
		case errors.Is(err, io.EOF):
			return root, nil, nil
		case err != nil:
			return nil, nil, err
		case next.Kind == yaml.DocumentNode && !isNull(next.Content[0]):
			return root, next.Content[0], nil
		}
	}
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

// syntax reports the YAML parser's error.
func (d *document) syntax(text string, err error) {
	m := yamlLine.FindStringSubmatch(err.Error())
	line, _ := strconv.Atoi(m[1])
	message := err.Error()[len(m[0]):]
	hint, column := "", 0
	switch {
	case strings.Contains(message, "cannot start any token"):
		// The parser names the line before; the tab tells better.
		for i, l := range strings.Split(text, "\n") {
			blank := len(l) - len(strings.TrimLeft(l, " \t"))
			if tab := strings.IndexByte(l[:blank], '\t'); tab >= 0 && i+1 >= line {
				line, column, hint = i+1, tab+1, "YAML is indented with blanks, not with tabs"
				break
			}
		}
	case strings.Contains(message, "mapping values are not allowed"):
		hint = `a ": " inside a text needs quotes around it, and keys of one mapping start in the same column`
	}
	d.at(line, column, hint, "no valid YAML: %s", message)
}

// plain refuses what makes a YAML file mean something else than it shows: anchors (which can also blow up a small
// file to gigabytes), merge keys, keys that are no strings, and keys given twice, of which others read the last.
func (d *document) plain(n *yaml.Node) {
	switch {
	case n.Kind == yaml.AliasNode:
		d.errorf(n, "write it out", "the alias *%s: aliases are not supported", n.Value)
		return
	case n.Anchor != "":
		d.errorf(n, "write it out where it is used", "the anchor &%s: anchors are not supported", n.Anchor)
	}
	if n.Kind == yaml.MappingNode {
		first := map[string]*yaml.Node{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			switch {
			case key.Kind != yaml.ScalarNode || key.Tag == "!!merge":
				hint := ""
				if key.Kind == yaml.MappingNode {
					hint = "a text that begins with {{ needs quotes around it"
				}
				d.errorf(key, hint, "a key must be a string, not %s", kindOf(key))
				continue
			case first[key.Value] != nil:
				d.errorf(key, "", "the key %q is given twice, first in line %d", key.Value, first[key.Value].Line)
			}
			first[key.Value] = key
			d.plain(n.Content[i+1])
		}
		return
	}
	for _, c := range n.Content {
		d.plain(c)
	}
}

func (d *document) at(line, column int, hint, format string, args ...any) {
	*d.found = append(*d.found, Finding{
		File: d.file, Line: line, Column: column, Message: fmt.Sprintf(format, args...), Hint: hint,
	})
}

func (d *document) errorf(n *yaml.Node, hint, format string, args ...any) {
	d.at(n.Line, n.Column, hint, format, args...)
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// kindOf names what a node is, for people.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!bool":
		return "a bool (" + n.Value + ")"
	case "!!int", "!!float":
		return "a number (" + n.Value + ")"
	case "!!timestamp":
		return "a date (" + n.Value + ")"
	case "!!merge":
		return "a merge key"
	case "!!str":
		return fmt.Sprintf("the string %q", n.Value)
	}
	return "a " + n.Tag
}
