package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"sigs.k8s.io/yaml"
)

// unrepeatable are functions that give another result at each rendering.
var unrepeatable = []string{
	"now", "ago", "date", "date_in_zone", "date_modify", "dateInZone", "dateModify", "must_date_modify", "mustDateModify",
	"htmlDate", "htmlDateInZone", "randAlphaNum", "randAlpha", "randAscii", "randNumeric", "randBytes", "randInt",
	"shuffle", "uuidv4", "bcrypt", "htpasswd", "genPrivateKey", "genCA", "genCAWithKey", "genSelfSignedCert",
	"genSelfSignedCertWithKey", "genSignedCert", "genSignedCertWithKey", "encryptAES",
}

// outside are functions that look beyond the template and its context.
var outside = []string{"env", "expandenv", "getHostByName", "lookup"}

// withheld is the hint for a function that doesn't exist here.
func withheld(name string) string {
	switch {
	case slices.Contains(unrepeatable, name):
		return "it gives another result at each rendering, so that every retry would be a change"
	case slices.Contains(outside, name):
		return "a template sees nothing but its context"
	}
	return ""
}

// helmFuncs are the functions of the helm engine, each bounded by r.
func helmFuncs(r *run) template.FuncMap {
	funcs := template.FuncMap(sprig.TxtFuncMap())
	for _, name := range slices.Concat(unrepeatable, outside) {
		delete(funcs, name)
	}
	for name, f := range (template.FuncMap{
		"toYaml":   toYAML,
		"toJson":   toJSON,
		"fromYaml": fromYAML,
		"fromJson": func(s string) (any, error) { return fromYAML(s) }, // JSON is YAML
		"required": required,
		"keys":     sortedKeys,
		"values":   sortedValues,
		// text/template's own, so that they are bounded too.
		"print":   fmt.Sprint,
		"printf":  fmt.Sprintf,
		"println": fmt.Sprintln,
		// These make a large thing of a small number.
		"repeat": func(n int, s string) (string, error) {
			if err := count(n, len(s)); err != nil {
				return "", err
			}
			return strings.Repeat(s, n), nil
		},
		"indent":  func(n int, s string) (string, error) { return padded(n, s, "") },
		"nindent": func(n int, s string) (string, error) { return padded(n, s, "\n") },
		"until": func(n int) ([]int, error) {
			if n < 0 {
				return steps(0, n, -1)
			}
			return steps(0, n, 1)
		},
		"untilStep": steps,
		"seq":       seq,
	}) {
		funcs[name] = f
	}
	for name, f := range shared {
		if _, has := funcs[name]; !has {
			funcs[name] = asHelmFunc(f)
		}
	}
	for name, f := range funcs {
		funcs[name] = counted(r, f)
	}
	funcs["_print"] = func(source string, v any) (string, error) {
		s, ok := text(v)
		if !ok {
			return "", errors.New(source + undefined)
		}
		return s, nil
	}
	funcs["_check"] = func() string { r.check(); return "" }
	funcs["_enter"] = func() string { r.enter("a template"); return "" }
	funcs["_leave"] = func() string { r.leave(); return "" }
	return funcs
}

// counted is f, with what it returns counted.
func counted(r *run, f any) any {
	v := reflect.ValueOf(f)
	return reflect.MakeFunc(v.Type(), func(args []reflect.Value) []reflect.Value {
		r.check()
		call := v.Call
		if v.Type().IsVariadic() {
			call = v.CallSlice
		}
		out := call(args)
		if out[0].Kind() == reflect.String {
			r.wrote(out[0].Len())
		}
		return out
	}).Interface()
}

// asHelmFunc takes the filter's argument first and the piped value last: {{ .x | indent 4 }}.
func asHelmFunc(f filter) any {
	return func(args ...any) (any, error) {
		switch len(args) {
		case 1:
			return f(args[0], nil)
		case 2:
			return f(args[1], args[0])
		}
		return nil, fmt.Errorf("takes a value and at most one argument, not %d", len(args))
	}
}

func fromYAML(s string) (any, error) {
	b, err := yaml.YAMLToJSON([]byte(s))
	if err != nil {
		return nil, fmt.Errorf("read YAML: %w", err)
	}
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("read YAML: %w", err)
	}
	return plain(v)
}

func required(message string, v any) (any, error) {
	if v == nil || v == "" {
		return nil, errors.New(message)
	}
	return v, nil
}

// sortedKeys and sortedValues are sprig's keys and values in a fixed order; sprig's change at each call.
func sortedKeys(maps ...map[string]any) []string {
	var out []string
	for _, m := range maps {
		for k := range m {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

func sortedValues(m map[string]any) []any {
	out := make([]any, 0, len(m))
	for _, k := range sortedKeys(m) {
		out = append(out, m[k])
	}
	return out
}

// maxCount bounds what a template may ask for with one number: elements of a list, characters of a padding.
const maxCount = 1 << 20

// count is an error if n things of that size are too many.
func count(n, size int) error {
	if n < 0 || n > maxCount || n*size > maxOutput {
		return fmt.Errorf("%d is too much: at most %d, and %d MiB of text", n, maxCount, maxOutput>>20)
	}
	return nil
}

func padded(n int, s, before string) (string, error) {
	if err := count(n, 1+strings.Count(s, "\n")); err != nil {
		return "", err
	}
	pad := strings.Repeat(" ", n)
	return before + pad + strings.ReplaceAll(s, "\n", "\n"+pad), nil
}

// steps are the numbers from one to the other, that one excluded; none if the step leads away from it.
func steps(from, to, step int) ([]int, error) {
	out := []int{}
	for i := from; step > 0 && i < to || step < 0 && i > to; i += step {
		if out = append(out, i); len(out) > maxCount {
			return nil, fmt.Errorf("a list of more than %d numbers", maxCount)
		}
	}
	return out, nil
}

// seq is the shell's seq: the numbers from one to the other, both included, with blanks between them.
func seq(args ...int) (string, error) {
	from, to, step := 1, 0, 1
	switch len(args) {
	case 0:
		return "", nil
	case 1:
		to = args[0]
	case 2:
		from, to = args[0], args[1]
	default:
		from, step, to = args[0], args[1], args[2]
	}
	if to < from && len(args) < 3 {
		step = -1
	}
	end := to + 1
	if step < 0 {
		end = to - 1
	}
	nums, err := steps(from, end, step)
	if err != nil {
		return "", err
	}
	return strings.Trim(fmt.Sprint(nums), "[]"), nil
}
