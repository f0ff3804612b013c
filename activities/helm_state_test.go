package activities

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/release"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// record is a release's record with a status and a digest; those in the tests belong to "me" unless they say otherwise.
func rec(status release.Status, digest string) *release.Release {
	return &release.Release{Info: &release.Info{Status: status}, Labels: map[string]string{plan.InstanceLabel: "me", plan.DigestLabel: digest}}
}

func TestObserveAndChoose(t *testing.T) {
	other := rec(release.StatusDeployed, "want")
	other.Labels[plan.InstanceLabel] = "you"
	tests := map[string]struct {
		history []*release.Release
		state   releaseState
		step    releaseStep
	}{
		"none":                    {nil, stateAbsent, stepInstall},
		"deployed":                {[]*release.Release{rec(release.StatusDeployed, "want")}, stateCurrent, stepNone},
		"deployed, old":           {[]*release.Release{rec(release.StatusDeployed, "old")}, stateOutdated, stepUpgrade},
		"superseded":              {[]*release.Release{rec(release.StatusSuperseded, "want")}, stateOutdated, stepUpgrade},
		"failed":                  {[]*release.Release{rec(release.StatusFailed, "want")}, stateFailed, stepRedo},
		"failed upgrade":          {[]*release.Release{rec(release.StatusDeployed, "old"), rec(release.StatusFailed, "want")}, stateFailed, stepRedo},
		"failed, other":           {[]*release.Release{rec(release.StatusDeployed, "want"), rec(release.StatusFailed, "old")}, stateFailedOther, stepUpgrade},
		"never deployed":          {[]*release.Release{rec(release.StatusFailed, "old"), rec(release.StatusFailed, "older")}, stateNeverUp, stepReinstall},
		"unknown status":          {[]*release.Release{rec(release.StatusUnknown, "want")}, stateFailed, stepRedo},
		"pending install":         {[]*release.Release{rec(release.StatusPendingInstall, "want")}, statePending, stepRedo},
		"pending upgrade":         {[]*release.Release{rec(release.StatusSuperseded, "old"), rec(release.StatusPendingUpgrade, "want")}, statePending, stepRedo},
		"pending upgrade, other":  {[]*release.Release{rec(release.StatusDeployed, "old"), rec(release.StatusPendingUpgrade, "older")}, statePendingOther, stepGiveUp},
		"pending rollback, other": {[]*release.Release{rec(release.StatusPendingRollback, "old")}, statePendingOther, stepGiveUp},
		"uninstalling":            {[]*release.Release{rec(release.StatusUninstalling, "want")}, stateUninstalling, stepUninstall},
		"uninstalled":             {[]*release.Release{rec(release.StatusUninstalled, "want")}, stateUninstalled, stepReinstall},
		"someone else's":          {[]*release.Release{other}, stateForeign, stepRefuse},
		"nobody's":                {[]*release.Release{{Info: &release.Info{Status: release.StatusDeployed}}}, stateForeign, stepRefuse},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			state := observe(tt.history, "want", "me")
			if step := choose(state); state != tt.state || step != tt.step {
				t.Errorf("got %s → %s, want %s → %s", state, step, tt.state, tt.step)
			}
		})
	}
}

func TestUnfinished(t *testing.T) {
	h := []*release.Release{
		rec(release.StatusFailed, "0"), rec(release.StatusSuperseded, "1"), rec(release.StatusFailed, "2"),
		rec(release.StatusPendingUpgrade, "3"), rec(release.StatusDeployed, "4"),
	}
	if got := unfinished(h); len(got) != 2 || got[0] != h[2] {
		t.Errorf("got %d records", len(got))
	}
	if got := unfinished(nil); len(got) != 0 {
		t.Errorf("of none: %d", len(got))
	}
}

func TestReleaseDigest(t *testing.T) {
	values := func(v any) map[string]any { return map[string]any{"b": map[string]any{"x": 1, "y": v}, "a": "s"} }
	digest := func(chart, name, ns, label string, v any) string {
		t.Helper()
		d, err := releaseDigest(chart, name, ns, label, values(v))
		if err != nil || len(d) > 63 {
			t.Fatal(d, err)
		}
		return d
	}
	base := digest("c", "r", "n", "l", 1)
	if digest("c", "r", "n", "l", 1) != base {
		t.Error("not stable")
	}
	for i, other := range []string{
		digest("c2", "r", "n", "l", 1), digest("c", "r2", "n", "l", 1), digest("c", "r", "n2", "l", 1),
		digest("c", "r", "n", "l2", 1), digest("c", "r", "n", "l", 2), digest("c", "rn", "", "l", 1),
	} {
		if other == base {
			t.Errorf("input %d doesn't count", i)
		}
	}
}

func TestPostRender(t *testing.T) {
	in := `---
# Source: app/templates/a.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: a # a comment
  labels: {x: "yes"}
data:
  text: |
    one
      two
    --- three
  big: 123456789012345678
---
# Source: app/templates/empty.yaml
# nothing here
---

---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, labels: null}
spec: {template: {metadata: {labels: {app: d}}}}
---
apiVersion: v1
kind: ConfigMapList
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}
---
apiVersion: v1
kind: WishList
metadata: {name: w}
spec: {items: [1]}
`
	want := `---
# Source: app/templates/a.yaml
apiVersion: v1
data:
  big: 123456789012345678
  text: |
    one
      two
    --- three
kind: ConfigMap
metadata:
  labels:
    mainstay.dev/instance: me
    x: "yes"
  name: a
---
apiVersion: apps/v1
kind: Deployment
metadata:
  labels:
    mainstay.dev/instance: me
  name: d
spec:
  template:
    metadata:
      labels:
        app: d
---
apiVersion: v1
items:
- apiVersion: v1
  kind: ConfigMap
  metadata:
    labels:
      mainstay.dev/instance: me
    name: b
kind: ConfigMapList
---
apiVersion: v1
kind: WishList
metadata:
  labels:
    mainstay.dev/instance: me
  name: w
spec:
  items:
  - 1
`
	l := &labeller{value: "me"}
	out, err := l.Run(bytes.NewBufferString(in))
	if err != nil || !l.ran {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
	if again, err := l.Run(bytes.NewBufferString(want)); err != nil || again.String() != want {
		t.Errorf("again: %v\n%s", err, cmp.Diff(want, again.String()))
	}
	for _, bad := range []string{"- a\n", "apiVersion: v1\nkind: X\nmetadata: text\n", "kind: X\n", "a: [\n"} {
		if _, err := (&labeller{}).Run(bytes.NewBufferString("# Source: t.yaml\n" + bad)); err == nil {
			t.Errorf("no error of %q", bad)
		}
	}
}

func TestValues(t *testing.T) {
	tests := map[string]struct {
		text string
		want map[string]any
		fail bool
	}{
		"empty":         {"", map[string]any{}, false},
		"comments only": {"# none\n---\n# none\n", map[string]any{}, false},
		"null":          {"null\n", map[string]any{}, false},
		"mapping":       {"a: x\n", map[string]any{"a": "x"}, false},
		"list":          {"- a\n", nil, true},
		"text":          {"just words\n", nil, true},
		"two documents": {"a: 1\n---\nb: 2\n", nil, true},
		"a key twice":   {"a: 1\na: 2\n", nil, true},
	}
	for name, tt := range tests {
		got, err := parseValues("values.yaml", tt.text)
		if (err != nil) != tt.fail || !cmp.Equal(tt.want, got) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	base := map[string]any{"a": map[string]any{"x": "1", "y": "1"}, "b": []any{"1"}, "c": "1"}
	over := map[string]any{"a": map[string]any{"y": "2"}, "b": []any{}, "c": nil}
	want := map[string]any{"a": map[string]any{"x": "1", "y": "2"}, "b": []any{}, "c": nil}
	if d := cmp.Diff(want, mergeValues(base, over)); d != "" {
		t.Error(d)
	}
	if base["c"] != "1" {
		t.Error("the base has changed")
	}
}

func TestCovers(t *testing.T) {
	m := func(kv ...any) map[string]any {
		out := map[string]any{}
		for i := 0; i < len(kv); i += 2 {
			out[kv[i].(string)] = kv[i+1]
		}
		return out
	}
	tests := []struct {
		live, want any
		covers     bool
	}{
		{m("a", int64(1), "b", "x"), m("a", int64(1)), true},
		{m("a", int64(1)), m("a", float64(1)), true},
		{m("a", int64(1)), m("a", int64(2)), false},
		{m("a", int64(1)), m("b", int64(1)), false},
		{m("a", []any{m("x", "1", "added", "y")}), m("a", []any{m("x", "1")}), true},
		{m("a", []any{"1", "2"}), m("a", []any{"1"}), false},
		{m(), m("a", nil), true},
		{m("a", "x"), m("a", nil), false},
		{m("a", "1"), m("a", int64(1)), false},
		{m(), m("a", m()), false},
		{m("a", true), m("a", true), true},
	}
	for i, tt := range tests {
		if got := covers(tt.live, tt.want); got != tt.covers {
			t.Errorf("%d: got %v", i, got)
		}
	}
}
