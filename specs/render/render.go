// Package render turns a template and a context into text, in the template language that the author chose.
//
// There is one func type for all engines and one file for each, so that a caller never knows which one runs. All
// of them see the same context and print the same values the same way: 8080 as 8080, 1.5 as 1.5, a bool as true.
// None can reach a file outside of the operator's folder, the network or the environment; none may use the clock
// or a random source, because what a template renders to decides whether anything must be written, and a retry has
// to decide as the first attempt did. Time, size and depth are bounded: the author of an operator is trusted with
// the cluster, but an accident in one operator must not take down the process that runs the others.
//
// What belongs here: the engines, the filters they share, and the error type that marks a template's own fault.
// What doesn't: finding files (package specs), building the context (package activities), parsing what comes out.
package render

import (
	"context"
	"fmt"
	"path"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// The engines' names, as the key "engine" of a description has them.
const (
	// Pongo2 is Django-like and the default.
	Pongo2 = "pongo2"
	// Helm is Go's text/template with the functions that Helm's charts know.
	Helm = "helm"
)

// The bounds of one rendering, includes and all.
const (
	maxSource  = 1 << 20 // bytes of one template
	maxOutput  = 8 << 20 // bytes of the result
	maxWritten = 4 * maxOutput
	// maxIncludes is how many files one rendering may read; a file that includes itself ends here.
	maxIncludes = 500
	// maxDepth bounds how deeply blocks, brackets, macros and named templates nest. A Go stack that overflows
	// can't be recovered, so depth is the one bound that keeps the process alive.
	maxDepth = 100
	// maxTime applies where the caller's context has no earlier deadline.
	maxTime = 10 * time.Second
)

// Template is one text to render.
type Template struct {
	// Name appears in errors: a path relative to the operator's folder, or where an inline text stands.
	Name string
	Text string
	// Include reads another file of the operator's folder by its slash path; nil: no includes. It is called from
	// another goroutine than the caller's, and never with a path that is absolute or leaves the folder.
	Include func(name string) (string, error)
}

// Func renders. It is safe for concurrent use and leaves vars as they are; they are read before it returns, not
// after. The values in vars are what JSON has (structs and other types count as their JSON).
//
// Possible errors: *Error where the template is at fault, else the cause of ctx's end.
type Func func(ctx context.Context, t Template, vars map[string]any) (string, error)

// Names are the names of all engines, the default first.
func Names() []string { return []string{Pongo2, Helm} }

// Engine is the engine of that name.
func Engine(name string) (Func, bool) {
	switch name {
	case Pongo2:
		return bounded(renderPongo2), true
	case Helm:
		return bounded(renderHelm), true
	}
	return nil, false
}

// ForFile is the name of the engine that renders the file at path, for a command whose engine is the given one.
// A file's ending picks (.gotmpl: helm), so that one list of values files can mix the two; any other file is
// rendered by the command's engine, or by pongo2 if that is empty.
//
// An engine that the author wrote at the command itself outranks an ending. Plans carry one engine a command, hence
// package specs refuses the one case in which the two would differ, and both readings agree here.
func ForFile(path, engine string) string {
	if e := byEnding(path); e != "" {
		return e
	}
	if engine == "" {
		return Pongo2
	}
	return engine
}

// Ending is the engine that a file's ending asks for, built or not, or "" if the ending says nothing.
func Ending(file string) string {
	switch strings.ToLower(path.Ext(file)) {
	case ".gotmpl":
		return Helm
	case ".j2", ".jinja2":
		return "jinja2"
	}
	return ""
}

func byEnding(file string) string {
	e := Ending(file)
	if _, ok := Engine(e); !ok {
		return ""
	}
	return e
}

// Error is a template's own fault: no retry will mend it, an edit of the template or of the resource will.
type Error struct {
	// Template is the name of the template or of the file that it included.
	Template string
	// Line and Column count from 1; 0 where the engine doesn't tell.
	Line, Column int
	Message      string
	// Hint says what to do, where that is known.
	Hint string
}

// Error is "vvp/values.yaml:3:8: message; hint".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Template)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
		if e.Column > 0 {
			fmt.Fprintf(&b, ":%d", e.Column)
		}
	}
	b.WriteString(": " + e.Message)
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return b.String()
}

// engine renders under a run's bounds. It may panic with an abort.
type engine func(r *run, t Template, vars map[string]any) (string, error)

// run is the state of one rendering.
type run struct {
	stopped  atomic.Pointer[string] // why the result isn't wanted any more
	written  int
	includes int
	depth    int
	include  func(string) (string, error)
}

// abort is what a run panics with to get out of an engine that ignores its writer's errors.
type abort struct{ message, hint string }

// Error makes it survive text/template, which turns the panics of functions into errors.
func (a abort) Error() string { return a.message }

// check ends the run if its result isn't wanted any more. Engines call it wherever they loop.
func (r *run) check() {
	if why := r.stopped.Load(); why != nil {
		panic(abort{message: *why})
	}
}

// enter and leave frame everything that may recurse.
func (r *run) enter(what string) {
	r.check()
	if r.depth++; r.depth > maxDepth {
		panic(abort{
			message: fmt.Sprintf("%s nests more than %d deep", what, maxDepth),
			hint:    "does it call itself without an end?",
		})
	}
}

func (r *run) leave() { r.depth-- }

// wrote counts bytes that go into any buffer, so that what is built up and thrown away is bounded too.
func (r *run) wrote(n int) {
	r.check()
	if r.written += n; r.written > maxWritten {
		panic(abort{message: fmt.Sprintf("renders more than %d MiB", maxOutput>>20)})
	}
}

// read is the text of an included file.
func (r *run) read(name string) (string, error) {
	if r.includes++; r.includes > maxIncludes {
		panic(abort{
			message: fmt.Sprintf("includes more than %d files", maxIncludes),
			hint:    "does a file include itself?",
		})
	}
	clean := path.Clean(name)
	switch {
	case name == "" || path.IsAbs(name) || clean == ".." || strings.HasPrefix(clean, "../") || strings.Contains(name, `\`):
		return "", fmt.Errorf("%q is not a path inside the operator's folder", name)
	case r.include == nil:
		return "", fmt.Errorf("%q can't be included here", name)
	}
	text, err := r.include(clean)
	if err != nil {
		return "", err
	}
	return text, checkSource(clean, text)
}

// bounded runs an engine on a copy of vars, for a limited time, and turns its panics into errors. An engine that
// doesn't come to its end in time is left behind: it stops by itself at its next check.
func bounded(e engine) Func {
	return func(ctx context.Context, t Template, vars map[string]any) (string, error) {
		if err := context.Cause(ctx); err != nil {
			return "", err
		}
		if err := checkSource(t.Name, t.Text); err != nil {
			return "", err
		}
		values, err := plainVars(vars)
		if err != nil {
			return "", err
		}
		type result struct {
			text string
			err  error
		}
		r := &run{include: t.Include}
		done := make(chan result, 1)
		go func() {
			text, err := protect(t.Name, func() (string, error) { return e(r, t, values) })
			done <- result{text, err}
		}()
		timer := time.NewTimer(maxTime)
		defer timer.Stop()
		select {
		case res := <-done:
			if res.err == nil && len(res.text) > maxOutput {
				return "", &Error{Template: t.Name, Message: fmt.Sprintf("renders more than %d MiB", maxOutput>>20)}
			}
			return res.text, res.err
		case <-ctx.Done():
			why := "the caller has gone"
			r.stopped.Store(&why)
			return "", context.Cause(ctx)
		case <-timer.C:
			why := fmt.Sprintf("takes longer than %s to render", maxTime)
			r.stopped.Store(&why)
			return "", &Error{Template: t.Name, Message: why, Hint: "does it loop over more than it should?"}
		}
	}
}

// protect turns panics of an engine into the template's errors: both engines call into reflection, and what they
// trip over is always something that the template does.
func protect(name string, f func() (string, error)) (text string, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case abort:
			text, err = "", &Error{Template: name, Message: p.message, Hint: p.hint}
		case scanError:
			text, err = "", p.error
		case error:
			text, err = "", &Error{Template: name, Message: "can't be rendered: " + p.Error()}
		default:
			text, err = "", &Error{Template: name, Message: fmt.Sprintf("can't be rendered: %v", p)}
		}
	}()
	return f()
}

// checkSource refuses what no engine can read.
func checkSource(name, text string) error {
	if len(text) > maxSource {
		return &Error{Template: name, Message: fmt.Sprintf("is larger than %d KiB", maxSource>>10)}
	}
	line, col := 1, 0
	for i, c := range text {
		col++
		switch {
		case c == '\n':
			line, col = line+1, 0
		// pongo2's lexer takes U+0001 for the end of the text; none of them belongs into YAML.
		case c < ' ' && c != '\t' && c != '\r', c == 0x7f:
			return &Error{Template: name, Line: line, Column: col, Message: fmt.Sprintf("control character %U", c)}
		case c == utf8.RuneError:
			if _, width := utf8.DecodeRuneInString(text[i:]); width == 1 {
				return &Error{Template: name, Line: line, Column: col, Message: "not valid UTF-8"}
			}
		}
	}
	return nil
}
