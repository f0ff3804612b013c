//go:build e2e

// Package e2e holds whole-system scenarios: the mainstay program against a real Temporal and a real API server. Each
// scenario has an operator of its own with its own API group, its own namespace and its own mainstay process, so that
// they can run side by side and be killed.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	corev1 "k8s.io/api/core/v1"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/tests/stack"
)

// shared is the devstack that all scenarios use which don't break it.
var shared *stack.Stack

func TestMain(m *testing.M) {
	os.Exit(stack.Main(m, func(s *stack.Stack) { shared = s }))
}

var (
	services    = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	secrets     = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	ingresses   = schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"}
)

// scenario is one test's world.
type scenario struct {
	*testing.T
	*stack.Stack
	ctx       context.Context
	namespace string
	// operators is the folder that mainstay runs.
	operators string
	// resource is the custom resource's kind.
	resource schema.GroupVersionResource
	kind     string
	process  *stack.Process
	log      *logBuffer
}

// newScenario makes a namespace and an operator from a txtar archive of testdata, in which GROUP stands for an API
// group of its own. The name is the namespace and the first label of the group.
func newScenario(t *testing.T, s *stack.Stack, name, archive string) *scenario {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	sc := &scenario{T: t, Stack: s, ctx: ctx, namespace: name, operators: t.TempDir(), log: &logBuffer{}}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := s.Kube.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	sc.unpack(archive)
	t.Cleanup(func() {
		if sc.process != nil {
			sc.process.Kill()
		}
		if t.Failed() {
			t.Logf("mainstay's log:\n%s", sc.log.tail(8000))
		}
	})
	return sc
}

// unpack writes the archive's files below the folder of operators and takes the resource's kind from its CRD.
func (sc *scenario) unpack(archive string) {
	sc.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", archive))
	if err != nil {
		sc.Fatal(err)
	}
	group := sc.namespace + ".e2e.mainstay.dev"
	for _, f := range a.Files {
		data := bytes.ReplaceAll(f.Data, []byte("GROUP"), []byte(group))
		path := filepath.Join(sc.operators, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			sc.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			sc.Fatal(err)
		}
		if filepath.Base(f.Name) == "crd.yaml" {
			sc.useCRD(data)
		}
	}
}

func (sc *scenario) useCRD(crd []byte) {
	sc.Helper()
	var c struct {
		Spec struct {
			Group    string
			Names    struct{ Kind, Plural string }
			Versions []struct{ Name string }
		}
	}
	if err := yaml.Unmarshal(crd, &c); err != nil {
		sc.Fatal(err)
	}
	sc.resource = schema.GroupVersionResource{Group: c.Spec.Group, Version: c.Spec.Versions[0].Name, Resource: c.Spec.Names.Plural}
	sc.kind = c.Spec.Names.Kind
}

// start starts mainstay on the scenario's operators.
func (sc *scenario) start() {
	sc.Helper()
	p, err := sc.Mainstay(sc.operators, sc.log)
	if err != nil {
		sc.Fatal(err)
	}
	sc.process = p
}

// kill ends mainstay with SIGKILL.
func (sc *scenario) kill() { sc.process.Kill() }

// stop ends mainstay as a rollout would, and fails the test if it doesn't end cleanly.
func (sc *scenario) stop() {
	sc.Helper()
	if err := sc.process.Stop(45 * time.Second); err != nil {
		sc.Errorf("stop: %v", err)
	}
}

// eventually calls check until it returns nil, and fails the test with the last error when that takes too long.
func (sc *scenario) eventually(within time.Duration, what string, check func() error) {
	sc.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var err error
	for {
		if err = check(); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			sc.Fatalf("%s: not within %s: %v", what, within, err)
		}
	}
}

// create creates an object of the scenario's kind, once its CRD is served.
func (sc *scenario) create(name string, spec map[string]any) {
	sc.Helper()
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": sc.resource.GroupVersion().String(), "kind": sc.kind,
		"metadata": map[string]any{"name": name, "namespace": sc.namespace}, "spec": spec,
	}}
	sc.eventually(30*time.Second, "create "+name, func() error {
		_, err := sc.Dynamic.Resource(sc.resource).Namespace(sc.namespace).Create(sc.ctx, obj, metav1.CreateOptions{})
		return err
	})
}

// get reads an object of the scenario's namespace.
func (sc *scenario) get(r schema.GroupVersionResource, name string) (*unstructured.Unstructured, error) {
	return sc.Dynamic.Resource(r).Namespace(sc.namespace).Get(sc.ctx, name, metav1.GetOptions{})
}

// patch merges into an object of the scenario's namespace.
func (sc *scenario) patch(r schema.GroupVersionResource, name, patch string, sub ...string) {
	sc.Helper()
	_, err := sc.Dynamic.Resource(r).Namespace(sc.namespace).Patch(sc.ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}, sub...)
	if err != nil {
		sc.Fatalf("patch %s %s: %v", r.Resource, name, err)
	}
}

// delete deletes an object of the scenario's namespace.
func (sc *scenario) delete(r schema.GroupVersionResource, name string) {
	sc.Helper()
	if err := sc.Dynamic.Resource(r).Namespace(sc.namespace).Delete(sc.ctx, name, metav1.DeleteOptions{}); err != nil {
		sc.Fatalf("delete %s %s: %v", r.Resource, name, err)
	}
}

// status is what tests look at in a custom resource.
type status struct {
	Generation int64 `json:"-"`
	UID        string
	Deleting   bool

	ObservedGeneration int64
	Phase              plan.Phase
	Conditions         []metav1.Condition
	Commands           []plan.CommandStatus
	Rules              []plan.RuleStatus
	Inventory          []plan.ObjectRef
	Releases           []plan.Release
	Workflow           struct{ ID, RunID, URL string }
}

func (s status) condition(kind string) metav1.Condition {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return metav1.Condition{}
}

// status reads the custom resource's status.
func (sc *scenario) status(name string) (status, error) {
	obj, err := sc.get(sc.resource, name)
	if err != nil {
		return status{}, err
	}
	var st status
	raw, err := json.Marshal(obj.Object["status"])
	if err == nil {
		err = json.Unmarshal(raw, &st)
	}
	st.Generation, st.UID, st.Deleting = obj.GetGeneration(), string(obj.GetUID()), obj.GetDeletionTimestamp() != nil
	return st, err
}

// ready waits until the resource's newest generation is Ready.
func (sc *scenario) ready(within time.Duration, name string) status {
	sc.Helper()
	var st status
	sc.eventually(within, name+" Ready", func() (err error) {
		st, err = sc.status(name)
		if err != nil {
			return err
		}
		if c := st.condition("Ready"); c.Status != "True" || st.ObservedGeneration != st.Generation {
			return fmt.Errorf("phase %s, observed generation %d of %d, Ready %s: %s", st.Phase, st.ObservedGeneration, st.Generation, c.Status, c.Message)
		}
		return nil
	})
	return st
}

// gone waits until the resource is no longer there.
func (sc *scenario) gone(within time.Duration, r schema.GroupVersionResource, name string) {
	sc.Helper()
	sc.eventually(within, name+" gone", func() error {
		_, err := sc.get(r, name)
		if err == nil {
			return fmt.Errorf("%s %s is still there", r.Resource, name)
		}
		return notFound(err)
	})
}

// instance identifies a custom resource of the scenario.
func (sc *scenario) instance(name, uid string) plan.Instance {
	return plan.Instance{Namespace: sc.namespace, Name: name, UID: uid, Resource: plan.Resource{
		Group: sc.resource.Group, Version: sc.resource.Version, Kind: sc.kind, Plural: sc.resource.Resource, Namespaced: true}}
}

// releases lists the Helm release records of the namespace as name → revision → status.
func (sc *scenario) releases() map[string]map[string]string {
	sc.Helper()
	list, err := sc.Dynamic.Resource(secrets).Namespace(sc.namespace).List(sc.ctx, metav1.ListOptions{LabelSelector: "owner=helm"})
	if err != nil {
		sc.Fatal(err)
	}
	out := map[string]map[string]string{}
	for _, s := range list.Items {
		l := s.GetLabels()
		if out[l["name"]] == nil {
			out[l["name"]] = map[string]string{}
		}
		out[l["name"]][l["version"]] = l["status"]
	}
	return out
}

// logBuffer takes the log of a process.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *logBuffer) tail(n int) string {
	s := b.String()
	if len(s) > n {
		s = "…" + s[len(s)-n:]
	}
	return s
}

// write writes a file below the folder of operators.
func (sc *scenario) write(name, text string) {
	sc.Helper()
	path := filepath.Join(sc.operators, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		sc.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		sc.Fatal(err)
	}
}
