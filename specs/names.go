package specs

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/mainstay-dev/mainstay/specs/render"
)

var (
	nameForm   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
	kindName   = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`)
	apiVersion = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?v[0-9][a-z0-9]*$`)
)

// nameRule says what nameForm allows.
const nameRule = "up to 63 letters, digits, -, _ and ., a letter or digit at both ends"

func validName(s string) bool { return nameForm.MatchString(s) }

// apiVersionOf are the kinds that rules mostly watch, for hints.
var apiVersionOf = map[string]string{
	"Service": "v1", "Pod": "v1", "ConfigMap": "v1", "Secret": "v1", "Node": "v1", "PersistentVolumeClaim": "v1",
	"ServiceAccount": "v1", "Namespace": "v1", "Endpoints": "v1", "EndpointSlice": "discovery.k8s.io/v1",
	"Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1", "ReplicaSet": "apps/v1",
	"Job": "batch/v1", "CronJob": "batch/v1", "Ingress": "networking.k8s.io/v1", "NetworkPolicy": "networking.k8s.io/v1",
	"HorizontalPodAutoscaler": "autoscaling/v2",
}

// naming is how an item of a list gets its name: what the author gave, else what it is called by.
type naming struct {
	given *yaml.Node
	by    string
}

// names are the names of a list's items. Those that authors gave come first and must be unique; the others are
// numbered until they are. Names that differ in case only count as equal: the release names made of them would be.
func (c *compiler) names(d *document, list string, items []naming) []string {
	out := make([]string, len(items))
	taken := map[string]*yaml.Node{}
	for i, item := range items {
		if item.given == nil {
			continue
		}
		out[i] = item.given.Value
		key := strings.ToLower(out[i])
		switch first := taken[key]; {
		case !validName(out[i]):
			d.errorf(item.given, nameRule, "%q is no name", out[i])
		case first != nil && first.Value != out[i]:
			d.errorf(item.given, "", "the name %q differs from %q in line %d in upper and lower case only", out[i], first.Value, first.Line)
		case first != nil:
			d.errorf(item.given, "", "the name %q is given twice in %q, first in line %d", out[i], list, first.Line)
		}
		taken[key] = item.given
	}
	used := map[string]bool{}
	for key := range taken {
		used[key] = true
	}
	for i, item := range items {
		if item.given != nil {
			continue
		}
		out[i] = item.by
		for n := 2; used[strings.ToLower(out[i])]; n++ {
			out[i] = fmt.Sprintf("%s-%d", item.by, n)
		}
		used[strings.ToLower(out[i])] = true
	}
	return out
}

var (
	notInName    = regexp.MustCompile(`[^A-Za-z0-9._-]+`)
	chartVersion = regexp.MustCompile(`-v?\d+(\.\d+.*)?$`)
)

// nameOf makes a name of a file's or a chart's path: vvp/vvp-1.2.0.tgz is vvp, ingressUpdate.yaml.gotmpl is
// ingressUpdate.
func nameOf(file, otherwise string) string {
	name := path.Base(file)
	if archive, ok := strings.CutSuffix(name, ".tgz"); ok {
		name = chartVersion.ReplaceAllString(archive, "")
	}
	for {
		ext := path.Ext(name)
		if ext == "" || ext == name || render.Ending(name) == "" && ext != ".yaml" && ext != ".yml" && ext != ".json" && ext != ".tpl" {
			break
		}
		name = strings.TrimSuffix(name, ext)
	}
	name = strings.Trim(notInName.ReplaceAllString(name, "-"), "-._")
	// Room for a number behind it.
	if name = strings.TrimRight(name[:min(len(name), 56)], "-._"); name == "" {
		return otherwise
	}
	return name
}

// kebab is a CamelCase word in kebab case: ServiceAccount-ingressUpdate is service-account-ingress-update.
func kebab(s string) string {
	var b strings.Builder
	runes := []rune(s)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && runes[i-1] != '-' &&
			(!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	out := strings.Trim(notInName.ReplaceAllString(b.String(), "-"), "-._")
	return strings.TrimRight(out[:min(len(out), 58)], "-._")
}
