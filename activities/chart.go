package activities

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sort"
	"sync"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// charts keeps the charts of the loaded operators as files. Helm changes a chart while it works with it, so that each
// use parses the files anew; most uses need the digest only.
type charts struct {
	mu     sync.Mutex
	loaded map[string]*loadedChart
}

// loadedChart is a chart's files and what they hash to.
type loadedChart struct {
	files  []*loader.BufferedFile
	digest string
}

// load reads a chart once for each revision of its operator. Error: ChartError, terminal.
func (c *charts) load(revision, path string) (*loadedChart, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := revision + "\x00" + path
	if l := c.loaded[key]; l != nil {
		return l, nil
	}
	ch, err := loader.Load(path)
	if err != nil {
		return nil, terminal(TypeChart, fmt.Errorf("load the chart: %w", err), "run helm lint on the chart")
	}
	l := &loadedChart{}
	h := sha256.New()
	raw := append([]*chart.File(nil), ch.Raw...)
	sort.Slice(raw, func(i, j int) bool { return raw[i].Name < raw[j].Name })
	for _, f := range raw {
		fmt.Fprintf(h, "%d %s %d ", len(f.Name), f.Name, len(f.Data))
		h.Write(f.Data)
	}
	for _, f := range ch.Raw {
		l.files = append(l.files, &loader.BufferedFile{Name: f.Name, Data: f.Data})
	}
	l.digest = hex.EncodeToString(h.Sum(nil))
	if c.loaded == nil {
		c.loaded = map[string]*loadedChart{}
	}
	c.loaded[key] = l
	return l, nil
}

// parse is a fresh copy of the chart.
func (l *loadedChart) parse() (*chart.Chart, error) {
	ch, err := loader.LoadFiles(l.files)
	if err != nil {
		return nil, terminal(TypeChart, fmt.Errorf("load the chart: %w", err), "run helm lint on the chart")
	}
	return ch, nil
}

// digestVersion changes when Mainstay itself makes something else of the same inputs.
const digestVersion = "1"

// releaseDigest names everything that a release is made from. It hashes the inputs and not the rendered manifest: a chart
// that rolls dice or looks things up renders differently each time, and would be upgraded for ever.
func releaseDigest(chart, release, namespace, label string, values map[string]any) (string, error) {
	v, err := json.Marshal(values) // encoding/json sorts keys
	if err != nil {
		return "", fmt.Errorf("encode the values: %w", err)
	}
	h := sha256.New()
	for _, part := range []string{digestVersion, chart, release, namespace, label, string(v)} {
		fmt.Fprintf(h, "%d %s ", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))[:40], nil
}

// values renders the values files and merges them; later ones win. Error: a file that renders to no mapping is its
// author's fault, and is named.
func (t *attempt) values(ctx context.Context, vars map[string]any) (map[string]any, error) {
	out := map[string]any{}
	for _, file := range t.in.Command.Helm.Values {
		text, err := t.renderFile(ctx, file, vars)
		if err != nil {
			return nil, err
		}
		v, err := parseValues(file, text)
		if err != nil {
			return nil, err
		}
		out = mergeValues(out, v)
	}
	return out, nil
}

func parseValues(file, text string) (map[string]any, error) {
	docs, err := splitDocuments(text)
	if err != nil {
		return nil, invalid(fmt.Errorf("%s: %w", file, err), "")
	}
	switch len(docs) {
	case 0:
		return map[string]any{}, nil
	case 1:
	default:
		return nil, invalid(fmt.Errorf("%s: %d documents", file, len(docs)), "values are one mapping")
	}
	v, err := parseDocument(docs[0], true)
	if err != nil {
		return nil, invalid(fmt.Errorf("%s: %w", file, err), "render the file to see what it makes")
	}
	if v == nil {
		return map[string]any{}, nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, invalid(fmt.Errorf("%s: values are %s, not a mapping", file, shape(v)), "")
	}
	return m, nil
}

// mergeValues lays over's values on base's, as helm does with its -f flags: mappings merge, all else replaces.
func mergeValues(base, over map[string]any) map[string]any {
	out := make(map[string]any, len(base)+len(over))
	for k, v := range base {
		out[k] = v
	}
	for k, v := range over {
		if b, ok := out[k].(map[string]any); ok {
			if o, ok := v.(map[string]any); ok {
				out[k] = mergeValues(b, o)
				continue
			}
		}
		out[k] = v
	}
	return out
}

// freshValues is a copy of the values for Helm to change, decoded as Helm decodes a values file: numbers are float64.
func freshValues(values map[string]any) (map[string]any, error) {
	b, err := json.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("encode the values: %w", err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("decode the values: %w", err)
	}
	return out, nil
}

// releaseName is where the command's release lives. Errors are terminal.
func (t *attempt) releaseName(ctx context.Context, vars map[string]any) (name, namespace string, err error) {
	spec, i := t.in.Command.Helm, t.in.Instance
	name, namespace = plan.ReleaseName(i, t.in.Command.Release()), i.Namespace
	if spec.Release != "" {
		if name, err = t.renderText(ctx, "release", spec.Release, t.in.Command.Engine, vars); err != nil {
			return "", "", err
		}
	}
	if spec.Namespace != "" {
		if namespace, err = t.renderText(ctx, "namespace", spec.Namespace, t.in.Command.Engine, vars); err != nil {
			return "", "", err
		}
	}
	return name, namespace, nil
}
