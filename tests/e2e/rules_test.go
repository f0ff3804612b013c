//go:build e2e

package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// entry is a value of the ConfigMap "log"; "" if there is none.
func (sc *scenario) entry(key string) string {
	cm, err := sc.get(configMaps, "log")
	if err != nil {
		return ""
	}
	s, _, _ := unstructured.NestedString(cm.Object, "data", key)
	return s
}

func (sc *scenario) logged(key, want string) {
	sc.Helper()
	sc.field(configMaps, "log", want, "data", key)
}

// TestRules: the categories, what narrows them, decisions, holds, health, timers.
func TestRules(t *testing.T) {
	t.Parallel()
	sc := newScenario(t, shared, "rules", "rules.txtar")
	sc.start()
	sc.create("demo", map[string]any{})
	sc.ready(time.Minute, "demo")

	// Fields and selector: what doesn't count leads to nothing, a deletion counts once.
	sc.manifest(configMaps, `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, labels: {watched: "yes"}}, data: {color: red}}`)
	sc.manifest(configMaps, `{apiVersion: v1, kind: ConfigMap, metadata: {name: b}, data: {color: red}}`)
	sc.logged("color.a", "ResourceDidCreate")
	sc.patch(configMaps, "a", `{"data":{"size":"large"}}`)
	sc.patch(configMaps, "a", `{"data":{"color":"ignored"}}`)
	sc.eventually(20*time.Second, "the decision is in the status", func() error {
		st, err := sc.status("demo")
		for _, r := range st.Rules {
			if r.Name == "color" && r.State == plan.StateSkipped && strings.Contains(r.Message, "ignored") {
				return nil
			}
		}
		return fmt.Errorf("rules = %+v, %v", st.Rules, err)
	})
	sc.patch(configMaps, "a", `{"data":{"color":"green"}}`)
	sc.logged("color.a", "ResourceDidCreate,ResourceDidUpdate")
	sc.delete(configMaps, "a")
	sc.logged("color.a", "ResourceDidCreate,ResourceDidUpdate,ResourceDidDelete")
	sc.patch(configMaps, "b", `{"metadata":{"labels":{"watched":"yes"}}}`)
	sc.logged("color.b", "ResourceDidCreate")
	sc.patch(configMaps, "b", `{"metadata":{"labels":{"watched":null}}}`)
	sc.logged("color.b", "ResourceDidCreate,ResourceDidDelete")

	// Held until the action is done; the finalizer goes with it.
	sc.manifest(configMaps, `{apiVersion: v1, kind: ConfigMap, metadata: {name: dear, labels: {held: "yes"}}}`)
	sc.eventually(20*time.Second, "dear is held", func() error {
		cm, err := sc.get(configMaps, "dear")
		if err != nil || len(cm.GetFinalizers()) != 1 {
			return fmt.Errorf("finalizers: %v, %v", cm, err)
		}
		return nil
	})
	sc.delete(configMaps, "dear")
	sc.gone(20*time.Second, configMaps, "dear")
	if got := sc.entry("farewell"); got != "dear" {
		t.Errorf("dear went before the action: %q", got)
	}

	// Health turns.
	sc.manifest(deployments, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {selector: {matchLabels: {app: web}},
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: example.com/c}]}}}}`)
	sc.logged("health", "ResourceDidBecomeReady")
	sc.patch(deployments, "web", `{"spec":{"template":{"spec":{"nodeSelector":{"no":"such"}}}}}`)
	sc.logged("health", "ResourceDidBecomeUnready")

	// The clock, also through a kill.
	before, _ := strconv.Atoi(sc.entry("ticks"))
	sc.kill()
	sc.start()
	sc.eventually(30*time.Second, "three more ticks", func() error {
		if now, _ := strconv.Atoi(sc.entry("ticks")); now < before+3 {
			return fmt.Errorf("%d ticks, %d before", now, before)
		}
		return nil
	})

	// It writes what it watches, and does not repeat.
	sc.manifest(configMaps, `{apiVersion: v1, kind: ConfigMap, metadata: {name: self}, data: {n: "0"}}`)
	sc.field(configMaps, "self", "1", "data", "n")
	sc.patch(configMaps, "self", `{"data":{"x":"y"}}`)
	sc.field(configMaps, "self", "2", "data", "n")
	sc.delete(sc.resource, "demo")
	sc.gone(time.Minute, sc.resource, "demo")
	self, err := sc.get(configMaps, "self")
	if n, _, _ := unstructured.NestedString(self.Object, "data", "n"); err != nil || n != "2" {
		t.Errorf("the rule wrote %s times for two changes (%v)", n, err)
	}
	sc.stop()
}

// TestRulesThatFight: two rules that write against each other are stopped, named in status and Event, and go on when
// somebody else changes the object.
func TestRulesThatFight(t *testing.T) {
	t.Parallel()
	sc := newScenario(t, shared, "fight", "rules.txtar")
	sc.start()
	sc.resourceOf("demo", "fight")
	sc.ready(time.Minute, "demo")
	sc.manifest(configMaps, `{apiVersion: v1, kind: ConfigMap, metadata: {name: fought}, data: {n: "0"}}`)
	sc.eventually(time.Minute, "Stalled by RulesLoop", func() error {
		st, err := sc.status("demo")
		if c := st.condition("Stalled"); err != nil || c.Status != "True" || c.Reason != "RulesLoop" ||
			!strings.Contains(c.Message, "ping") || !strings.Contains(c.Message, "pong") {
			return fmt.Errorf("conditions = %+v, %v", st.Conditions, err)
		}
		return nil
	})
	rounds := func() int {
		cm, err := sc.get(configMaps, "fought")
		if err != nil {
			t.Fatal(err)
		}
		s, _, _ := unstructured.NestedString(cm.Object, "data", "n")
		n, _ := strconv.Atoi(s)
		return n
	}
	n := rounds()
	if n == 0 || n > 20 {
		t.Errorf("stopped after %d rounds", n)
	}
	sc.eventually(20*time.Second, "an Event", func() error {
		list, err := sc.Kube.CoreV1().Events(sc.namespace).List(sc.ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=demo"})
		if err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.Reason == "RulesLoop" && e.Type == corev1.EventTypeWarning && strings.Contains(e.Message, "pong") {
				return nil
			}
		}
		return fmt.Errorf("%d Events, none of RulesLoop", len(list.Items))
	})
	// A restart, and with it a resync, does not set them going again.
	sc.kill()
	sc.start()
	<-time.After(5 * time.Second) // for what must not happen there is no condition to wait for
	if again := rounds(); again != n {
		t.Errorf("%d rounds before a restart, %d after", n, again)
	}
	sc.stop()
}

// TestFiftyIngresses: one UPDATE over fifty objects is fifty minimal patches, and none when it runs again.
func TestFiftyIngresses(t *testing.T) {
	t.Parallel()
	sc := newScenario(t, shared, "fifty", "rules.txtar")
	for i := range 50 {
		sc.manifest(ingresses, fmt.Sprintf(`{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: web-%02d}, spec: {rules: [{host: old.example.com,
  http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web-%02d, port: {number: 80}}}}]}}]}}`, i, i))
	}
	sc.start()
	sc.resourceOf("demo", "many")
	st := sc.ready(time.Minute, "demo")
	if !strings.Contains(st.Commands[0].Message, "50") {
		t.Errorf("the command says %q", st.Commands[0].Message)
	}
	versions := func() map[string]string {
		list, err := sc.Dynamic.Resource(ingresses).Namespace(sc.namespace).List(sc.ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, ing := range list.Items {
			out[ing.GetName()] = ing.GetResourceVersion()
			rules, _, _ := unstructured.NestedSlice(ing.Object, "spec", "rules")
			if host := rules[0].(map[string]any)["host"]; host != "new."+ing.GetName()+".example.com" {
				t.Errorf("%s has host %v", ing.GetName(), host)
			}
		}
		return out
	}
	before := versions()
	sc.patch(sc.resource, "demo", `{"spec":{"again":true}}`)
	sc.eventually(30*time.Second, "deployed again", func() error {
		if now, err := sc.status("demo"); err != nil || now.ObservedGeneration != now.Generation || now.Phase != plan.PhaseReady {
			return fmt.Errorf("status = %+v, %v", now, err)
		}
		return nil
	})
	for name, version := range versions() {
		if before[name] != version {
			t.Errorf("%s was written again", name)
		}
	}
	sc.stop()
}
