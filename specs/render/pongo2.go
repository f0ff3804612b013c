package render

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/flosch/pongo2/v6"
)

// renderPongo2 renders a pongo2 template in a set of its own, so that nothing is shared between two renderings.
func renderPongo2(r *run, t Template, vars map[string]any) (string, error) {
	if err := register(); err != nil {
		return "", err
	}
	l := &loader{run: r, sources: map[string]*source{}}
	src, err := scan(t.Name, t.Text)
	if err != nil {
		return "", err
	}
	l.root, l.sources[t.Name] = src, src

	set := pongo2.NewSet("mainstay", l)
	for _, tag := range bannedTags {
		if err := set.BanTag(tag); err != nil {
			return "", fmt.Errorf("set up pongo2: %w", err)
		}
	}
	for _, filter := range bannedFilters {
		if err := set.BanFilter(filter); err != nil {
			return "", fmt.Errorf("set up pongo2: %w", err)
		}
	}
	// A global, because {% include … only %} hides everything else.
	set.Globals[runKey] = r

	tpl, err := set.FromFile(t.Name)
	if err != nil {
		return "", l.explain(t.Name, err)
	}
	var out strings.Builder
	if err := tpl.ExecuteWriterUnbuffered(vars, &meter{run: r, w: &out}); err != nil {
		return "", l.explain(t.Name, err)
	}
	return out.String(), nil
}

// runKey is where tags find their run; templates can't name it.
const runKey = "__mainstay_run"

func runOf(ctx *pongo2.ExecutionContext) *run { return ctx.Public[runKey].(*run) }

// bannedTags read files without the loader, differ at each rendering, or escape for HTML.
var bannedTags = []string{"ssi", "now", "lorem", "autoescape"}

// bannedFilters differ at each rendering or make arbitrarily large texts of small ones.
var bannedFilters = []string{"random", "center", "ljust", "rjust"}

// loader gives pongo2 the root template and whatever that includes.
type loader struct {
	run     *run
	root    *source // until it was asked for
	sources map[string]*source
	failed  error // why the last Get failed, which pongo2 doesn't pass on
}

// Abs implements pongo2.TemplateLoader: names are relative to the operator's folder, whoever includes them.
func (l *loader) Abs(_, name string) string { return name }

// Get implements pongo2.TemplateLoader.
func (l *loader) Get(name string) (io.Reader, error) {
	if src := l.root; src != nil {
		l.root = nil
		return strings.NewReader(src.text), nil
	}
	text, err := l.run.read(name)
	if err != nil {
		l.failed = err
		return nil, err
	}
	src, err := scan(name, text)
	if err != nil {
		// A file with a mistake is not a missing one: "if_exists" must not hide it.
		panic(scanError{err})
	}
	l.sources[name] = src
	return strings.NewReader(src.text), nil
}

// scanError carries an included file's mistake past pongo2; protect reports it as it is.
type scanError struct{ error }

func (e scanError) Unwrap() error { return e.error }

// nested matches what pongo2 puts before the message of an error that it has turned into text.
var nested = regexp.MustCompile(`^\[Error(?: \(where: [^)]*\))?(?: in ([^|\]]*?))?(?: \| Line (\d+) Col (\d+)(?: near '[^']*')?)?\] `)

// explain turns pongo2's error into ours.
func (l *loader) explain(name string, err error) error {
	var pe *pongo2.Error
	if !errors.As(err, &pe) {
		return &Error{Template: name, Message: err.Error()}
	}
	e := &Error{Template: pe.Filename, Line: pe.Line, Column: pe.Column}
	if pe.Token != nil {
		e.Template = pe.Token.Filename
	}
	if pe.OrigError != nil {
		e.Message = pe.OrigError.Error()
	}
	if pe.Sender == "fromfile" && l.failed != nil {
		e.Message = fmt.Sprintf("include %q: %v", pe.Filename, l.failed)
		if pe.Token == nil {
			e.Template = name
		}
	}
	for m := nested.FindStringSubmatch(e.Message); m != nil; m = nested.FindStringSubmatch(e.Message) {
		e.Message = e.Message[len(m[0]):]
	}
	if e.Template == "" {
		e.Template = name
	}
	if src := l.sources[e.Template]; src != nil {
		e.Line, e.Column = src.place(e.Line, e.Column)
	}
	e.Message, e.Hint = reword(e.Message)
	return e
}

// rewordings say in our words what pongo2 says in its own, where people meet it often.
var rewordings = []struct {
	re   *regexp.Regexp
	with string
	hint func(name string) string
}{
	{regexp.MustCompile(`^Filter '(.*)' does not exist\.$`), `unknown filter "$1"`, func(n string) string {
		if f, ok := foreignFilters[n]; ok {
			return fmt.Sprintf("pongo2 writes %s", f)
		}
		return ""
	}},
	{regexp.MustCompile(`^Tag '(.*)' not found \(or beginning tag not provided\)$`), `unknown tag "$1"`, func(n string) string {
		if t, ok := foreignTags[n]; ok {
			return "pongo2 writes " + t
		}
		return ""
	}},
	{regexp.MustCompile(`^Usage of (?:tag|filter) '(.*)' is not allowed.*$`), `"$1" is not available`, func(string) string {
		return "a template may read no file, clock or random source"
	}},
	{regexp.MustCompile(`^(.*)` + undefined + `$`), `$1` + undefined, func(string) string {
		return `where it may be, write |default:"…" or put {% if %} around it`
	}},
	{regexp.MustCompile(`^Unexpected EOF, expected tag (.*)\.$`), `a block is not closed: expected {% $1 %}`, nil},
	{regexp.MustCompile(`^Unexpected EOF, expected a number, string, keyword or identifier\.$`), `a value is missing`, nil},
}

func reword(message string) (string, string) {
	for _, w := range rewordings {
		if m := w.re.FindStringSubmatch(message); m != nil {
			hint := ""
			if w.hint != nil && len(m) > 1 {
				hint = w.hint(m[1])
			}
			return w.re.ReplaceAllString(message, w.with), hint
		}
	}
	return strings.TrimSuffix(message, "."), ""
}
