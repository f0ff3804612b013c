package activities

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/mainstay-dev/mainstay/specs"
	"github.com/mainstay-dev/mainstay/specs/plan"
)

// kubeconfigVariable names the kubeconfig of a cluster that tests may fill and break.
const kubeconfigVariable = "MAINSTAY_TEST_KUBECONFIG"

// bench is a namespace of a real cluster with one custom resource in it, and an operator whose files a test writes.
type bench struct {
	*testing.T
	*Activities
	op       *specs.Operator
	instance plan.Instance
	ns       string
	// wire sees what Mainstay writes; other writes unseen.
	wire  *wire
	other *cluster
}

var widgets = plan.Resource{Group: "test.mainstay.dev", Version: "v1", Kind: "Widget", Plural: "widgets", Namespaced: true}

const widgetCRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.test.mainstay.dev}
spec:
  group: test.mainstay.dev
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {type: object, x-kubernetes-preserve-unknown-fields: true}
            status: {type: object, x-kubernetes-preserve-unknown-fields: true}
`

// newBench skips the test where there is no cluster.
func newBench(t *testing.T) *bench {
	t.Helper()
	path := os.Getenv(kubeconfigVariable)
	if path == "" {
		t.Skipf("%s names no kubeconfig: this test needs a real API server", kubeconfigVariable)
	}
	rest, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	other, err := newCluster(rest)
	if err != nil {
		t.Fatal(err)
	}
	wire := &wire{}
	rest.Wrap(wire.wrap)
	a, err := New(Options{REST: rest, Log: log, UI: "http://ui.example"})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, Activities: a, wire: wire, other: other}
	b.ns = b.namespace("")
	b.applyRaw(widgetCRD)
	b.op = &specs.Operator{
		Dir:   t.TempDir(),
		Files: map[string]string{},
		Plan: &plan.Operator{Name: "widgets", Digest: "d1", Resource: widgets, Profiles: map[string]*plan.Profile{
			plan.DefaultProfile: {Name: plan.DefaultProfile},
		}},
	}
	cr := b.applyRaw(fmt.Sprintf("apiVersion: test.mainstay.dev/v1\nkind: Widget\nmetadata: {name: demo, namespace: %s}\nspec: {size: one}\n", b.ns))
	b.instance = plan.Instance{Operator: "widgets", Resource: widgets, Namespace: b.ns, Name: "demo", UID: string(cr.GetUID())}
	return b
}

// namespace makes a namespace that goes with the test.
func (b *bench) namespace(name string) string {
	b.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, GenerateName: "act-"}}
	ns, err := b.cluster.typed.CoreV1().Namespaces().Create(context.Background(), ns, metav1.CreateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := b.cluster.typed.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			b.Error(err)
		}
	})
	return ns.Name
}

// applyRaw makes an object with another field manager, waiting until its kind is served.
func (b *bench) applyRaw(manifest string) *unstructured.Unstructured {
	b.Helper()
	objects, err := parseObjects("test", manifest)
	if err != nil {
		b.Fatal(err)
	}
	var out *unstructured.Unstructured
	b.eventually(func() error {
		api, err := b.cluster.client(refOf(objects[0]))
		if err != nil {
			return err
		}
		out, err = api.Apply(context.Background(), objects[0].GetName(), objects[0], metav1.ApplyOptions{FieldManager: "test", Force: true})
		return err
	})
	return out
}

// eventually tries until it works, for what the API server does a moment later.
func (b *bench) eventually(try func() error) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.Fatalf("still after 20 s: %v", err)
		}
	}
}

// attempt is one try of a command, outside of Temporal.
func (b *bench) attempt(c plan.Command, event *plan.Event) *attempt {
	c.Engine = "helm"
	t := &attempt{
		Activities: b.Activities, op: b.op, number: 1, rec: &record{}, log: b.log, stop: make(chan struct{}),
		in: plan.CommandInput{Instance: b.instance, Command: c, Event: event, Releases: map[string]string{"app": "demo-app"}},
	}
	t.phase("testing", "")
	return t
}

// run runs a command to its end, or for at most within.
func (b *bench) run(run command, c plan.Command, within time.Duration) (plan.CommandResult, error) {
	b.Helper()
	t := b.attempt(c, nil)
	ctx, cancel := context.WithTimeout(withRecord(context.Background(), t.rec), within)
	defer cancel()
	res, err := run(t, ctx)
	if err != nil {
		f := classify(err)
		if f.Type == TypeForbidden {
			b.cluster.denied(ctx, f, t.rec.all())
		}
		return res, f
	}
	return res, nil
}

// must runs a command that has to succeed.
func (b *bench) must(run command, c plan.Command) plan.CommandResult {
	b.Helper()
	res, err := b.run(run, c, time.Minute)
	if err != nil {
		b.Fatalf("%s: %v", c.Name, err)
	}
	return res
}

// fails runs a command that has to fail with a type, and returns the fault.
func (b *bench) fails(run command, c plan.Command, kind string, terminal bool) *fault {
	b.Helper()
	_, err := b.run(run, c, time.Minute)
	if err == nil {
		b.Fatalf("%s: no error, want %s", c.Name, kind)
	}
	f := err.(*fault)
	if f.Type != kind || f.Terminal != terminal {
		b.Fatalf("%s: got %s (terminal %v), want %s (terminal %v): %v", c.Name, f.Type, f.Terminal, kind, terminal, err)
	}
	return f
}

// object reads an object; nil if it isn't there.
func (b *bench) object(apiVersion, kind, name string) *unstructured.Unstructured {
	b.Helper()
	u, err := b.cluster.get(context.Background(), plan.ObjectRef{APIVersion: apiVersion, Kind: kind, Namespace: b.ns, Name: name})
	if err != nil {
		b.Fatal(err)
	}
	return u
}

// remove deletes an object behind Mainstay's back.
func (b *bench) remove(apiVersion, kind, name string) {
	b.Helper()
	u := b.object(apiVersion, kind, name)
	if u == nil {
		b.Fatalf("%s %s is not there to be removed", kind, name)
	}
	if err := b.cluster.delete(context.Background(), u); err != nil {
		b.Fatal(err)
	}
	b.eventually(func() error {
		if b.object(apiVersion, kind, name) != nil {
			return fmt.Errorf("%s %s is still there", kind, name)
		}
		return nil
	})
}

// setSpec changes the custom resource.
func (b *bench) setSpec(spec string) {
	b.Helper()
	b.applyRaw(fmt.Sprintf("apiVersion: test.mainstay.dev/v1\nkind: Widget\nmetadata: {name: demo, namespace: %s}\nspec: %s\n", b.ns, spec))
}

// chart writes a chart into the operator's folder, as name → content of templates.
func (b *bench) chart(templates map[string]string) {
	b.Helper()
	dir := filepath.Join(b.op.Dir, "chart")
	if err := os.RemoveAll(dir); err != nil {
		b.Fatal(err)
	}
	write := func(name, text string) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	write("Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.0.0\n")
	write("values.yaml", "size: none\n")
	for name, text := range templates {
		if !strings.Contains(name, "/") {
			name = "templates/" + name
		}
		write(name, text)
	}
	b.op.Plan.Digest += "+" // another folder is another revision
}
