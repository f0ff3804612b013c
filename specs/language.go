package specs

import (
	"slices"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/specs/render"
)

// The language's words. Beside those that work stand those that the design defines and that are yet to be built:
// whoever writes one reads "not supported yet" instead of "unknown key".

var (
	profileKeys = []string{"def", "engine", "deploy", "maintain", "undeploy"}
	profileSoon = []string{"status"}

	ruleKeys   = []string{"name", "watch", "decide", "action", "debounce"}
	decideKeys = []string{"sql", "when"}

	// What a watch says of objects, of a live query and of a timer.
	objectKeys = []string{"category", "apiVersion", "kind", "scope", "namespace", "name", "selector", "fields", "hold"}
	queryKeys  = []string{"category", "sql"}
	timerKeys  = []string{"category", "every", "cron"}
	watchKeys  = slices.Concat(objectKeys, queryKeys[1:], timerKeys[1:])

	selectorKeys   = []string{"matchLabels", "matchExpressions"}
	expressionKeys = []string{"key", "operator", "values"}

	commandKeys = []string{"cmd", "name", "engine", "timeout", "retry", "deadline"}
	commandSoon = []string{"needs", "when", "foreach", "onFailure", "outputs"}

	retryKeys = []string{"initial", "max"}
)

// kindKeys are the own keys of each kind of command: those that work, and those to come.
var kindKeys = map[string]struct{ now, soon []string }{
	plan.KindHelm: {
		now:  []string{"chart", "values", "release", "namespace", "state"},
		soon: []string{"repo", "version", "valuesFrom", "createNamespace", "wait", "atomic", "crds", "drift"},
	},
	plan.KindKubeApply: {
		now:  []string{"file", "manifest", "conflicts"},
		soon: []string{"prune", "drift"},
	},
	plan.KindKubePatch: {
		now:  []string{"file", "patch", "patchType", "missing"},
		soon: []string{"target"},
	},
	plan.KindSQL: {
		now: []string{"statement", "params", "maxRows"},
	},
}

// Values.
var (
	kindsSoon = []string{
		"kube-delete", "kube-wait", "kube-restart", "kube-scale", "kube-exec", "kube-job", "http", "temporal",
		"event", "fail", "sleep",
	}
	engines        = render.Names()
	enginesSoon    = []string{"jinja2"}
	categories     = words(plan.Categories)
	categoriesSoon = []string{"ResourceWillCreate", "ResourceWillUpdate"}
	scopes         = words(plan.Scopes)
	conflicts      = []string{"fail", "force"}
	conflictSoon   = []string{"skip"}
	patchTypes     = []string{"strategic", "merge"}
	patchSoon      = []string{"json", "apply"}
	missings       = []string{"fail", "skip"}
)

func words[T ~string](in []T) []string {
	out := make([]string, len(in))
	for i, w := range in {
		out[i] = string(w)
	}
	return out
}
