package render

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"unicode/utf8"
)

// renderHelm renders a Go template with the functions that Helm's charts know. The context's variables stand as
// .cr, .object, …, and .Values is the resource's spec, so that a line taken from a chart works.
//
// What differs from Helm: a key that is missing is an error, also where Helm prints nothing; lists and maps print
// as JSON; functions that read the environment, the clock or a random source don't exist; and "include" takes a
// file of the operator's folder where no template of that name is defined.
func renderHelm(r *run, t Template, vars map[string]any) (string, error) {
	if _, taken := vars["Values"]; !taken {
		if cr, ok := vars["cr"].(map[string]any); ok {
			spec, _ := cr["spec"].(map[string]any)
			if spec == nil {
				spec = map[string]any{}
			}
			vars["Values"] = spec
		}
	}
	h := &helmRun{run: r, texts: map[string]string{t.Name: t.Text}}
	root := template.New(t.Name).Option("missingkey=error").Funcs(helmFuncs(r))
	h.bind(root)
	if _, err := root.Parse(t.Text); err != nil {
		return "", h.explain(t.Name, err)
	}
	guard(root)
	var out strings.Builder
	if err := root.Execute(&meter{run: r, w: &out}, vars); err != nil {
		return "", h.explain(t.Name, err)
	}
	return out.String(), nil
}

// helmRun is one rendering by the helm engine.
type helmRun struct {
	*run
	texts map[string]string // by template name, for the columns of errors
}

// bind gives t the functions that render other templates.
func (h *helmRun) bind(t *template.Template) {
	t.Funcs(template.FuncMap{
		"include": func(name string, data any) (string, error) { return h.includeTemplate(t, name, data) },
		"tpl":     func(text string, data any) (string, error) { return h.tpl(t, text, data) },
	})
}

func (h *helmRun) includeTemplate(t *template.Template, name string, data any) (string, error) {
	h.enter("include")
	defer h.leave()
	if t.Lookup(name) == nil {
		text, err := h.read(name)
		if err != nil {
			return "", fmt.Errorf("neither a template nor a file: %w", err)
		}
		h.texts[name] = text
		// A set of its own: a template set that has begun to execute takes no more definitions safely.
		if t, err = t.Clone(); err != nil {
			return "", fmt.Errorf("include %q: %w", name, err)
		}
		t.Option("missingkey=error")
		h.bind(t)
		if _, err := t.New(name).Parse(text); err != nil {
			return "", err
		}
		guard(t)
	}
	var out strings.Builder
	err := t.ExecuteTemplate(&meter{run: h.run, w: &out}, name, data)
	return out.String(), err
}

func (h *helmRun) tpl(t *template.Template, text string, data any) (string, error) {
	h.enter("tpl")
	defer h.leave()
	if err := checkSource("tpl", text); err != nil {
		return "", err
	}
	t, err := t.Clone()
	if err != nil {
		return "", fmt.Errorf("tpl: %w", err)
	}
	t.Option("missingkey=error") // Clone forgets it
	h.bind(t)
	if t, err = t.New("tpl").Parse(text); err != nil {
		return "", err
	}
	guard(t)
	var out strings.Builder
	err = t.Execute(&meter{run: h.run, w: &out}, data)
	return out.String(), err
}

// located matches text/template's errors: "template: name:3:5: executing …". Parse errors have no column.
var (
	located   = regexp.MustCompile(`(?s)^template: (.*?):(\d+)(?::(\d+))?: (.*)$`)
	executing = regexp.MustCompile(`(?s)^executing ".*?" at <.*?>: (.*)$`)
	calling   = regexp.MustCompile(`(?s)^error calling (\w+): (.*)$`)
	noKey     = regexp.MustCompile(`map has no entry for key "(.*)"`)
	noFunc    = regexp.MustCompile(`function "(.*)" not defined`)
)

// explain turns text/template's error into ours, with the innermost place that it names.
func (h *helmRun) explain(name string, err error) error {
	e := &Error{Template: name}
	message := err.Error()
	for {
		if m := located.FindStringSubmatch(message); m != nil {
			e.Template = m[1]
			e.Line, _ = strconv.Atoi(m[2])
			e.Column = 0
			if m[3] != "" {
				col, _ := strconv.Atoi(m[3]) // bytes, from 0
				e.Column = h.column(e.Template, e.Line, col)
			}
			message = m[4]
			continue
		}
		if m := executing.FindStringSubmatch(message); m != nil {
			message = m[1]
			continue
		}
		if m := calling.FindStringSubmatch(message); m != nil && (strings.HasPrefix(m[1], "_") || m[1] == "include" || m[1] == "tpl" || m[1] == "fail" || m[1] == "required") {
			message = m[2]
			continue
		}
		break
	}
	e.Message = message
	var inner *Error
	var a abort
	switch {
	case errors.As(err, &a):
		e.Message, e.Hint = a.message, a.hint
	case errors.As(err, &inner):
		return inner
	case strings.HasSuffix(message, undefined):
		e.Hint = `where it may be, write | default "…" or put {{ if }} around it`
	}
	if m := noKey.FindStringSubmatch(message); m != nil {
		e.Message = m[1] + undefined
		e.Hint = fmt.Sprintf(`where it may be missing, write {{ dig %q "…" .the.map }} or {{ if hasKey .the.map %q }}`, m[1], m[1])
	}
	if m := noFunc.FindStringSubmatch(message); m != nil {
		e.Message, e.Hint = fmt.Sprintf("unknown function %q", m[1]), withheld(m[1])
	}
	return e
}

func (h *helmRun) column(name string, line, col int) int {
	lines := strings.Split(h.texts[name], "\n")
	if line > len(lines) || col > len(lines[line-1]) {
		return col + 1
	}
	return utf8.RuneCountInString(lines[line-1][:col]) + 1
}
