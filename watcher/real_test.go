package watcher

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/mainstay-dev/mainstay/specs"
	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// realCluster is the API server of MAINSTAY_TEST_KUBECONFIG, with a CRD and a namespace of the test's own.
type realCluster struct {
	*testing.T
	config    *rest.Config
	client    dynamic.Interface
	group     string
	namespace string
}

func onRealCluster(t *testing.T) *realCluster {
	path := os.Getenv("MAINSTAY_TEST_KUBECONFIG")
	if path == "" {
		t.Skip("MAINSTAY_TEST_KUBECONFIG names no cluster")
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	c, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	suffix := fmt.Sprintf("t%x", time.Now().UnixNano())
	r := &realCluster{T: t, config: config, client: c, group: suffix + ".example.com", namespace: suffix}
	r.create("", "v1", "namespaces", map[string]any{"kind": "Namespace", "metadata": map[string]any{"name": r.namespace}})
	return r
}

func (r *realCluster) resource(group, version, plural string) dynamic.ResourceInterface {
	c := r.client.Resource(schema.GroupVersionResource{Group: group, Version: version, Resource: plural})
	if plural == "namespaces" || plural == "customresourcedefinitions" {
		return c
	}
	return c.Namespace(r.namespace)
}

func (r *realCluster) create(group, version, plural string, object map[string]any) *unstructured.Unstructured {
	r.Helper()
	object["apiVersion"] = virtual.Kind{Group: group, Version: version}.APIVersion()
	created, err := r.resource(group, version, plural).Create(r.Context(), &unstructured.Unstructured{Object: object}, metav1.CreateOptions{})
	if err != nil {
		r.Fatal(err)
	}
	return created
}

func (r *realCluster) remove(group, version, plural, name string) {
	r.Helper()
	if err := r.resource(group, version, plural).Delete(r.Context(), name, metav1.DeleteOptions{}); err != nil {
		r.Fatal(err)
	}
}

// operator serves this test's Demos.
func (r *realCluster) operator() *specs.Operator {
	op := demoOperator()
	op.Plan.Resource.Group = r.group
	return op
}

func (r *realCluster) createCRD() {
	r.Helper()
	r.create("apiextensions.k8s.io", "v1", "customresourcedefinitions", map[string]any{
		"kind":     "CustomResourceDefinition",
		"metadata": map[string]any{"name": "demos." + r.group},
		"spec": map[string]any{
			"group": r.group, "scope": "Namespaced",
			"names": map[string]any{"plural": "demos", "singular": "demo", "kind": "Demo", "listKind": "DemoList"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{
				"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
			}}},
		},
	})
	r.Cleanup(func() {
		// The test's own context has ended by now. What can't be removed stays with a test's cluster.
		_ = r.resource("apiextensions.k8s.io", "v1", "customresourcedefinitions").Delete(context.Background(),
			"demos."+r.group, metav1.DeleteOptions{})
	})
}

func (r *realCluster) createDemo(name string) plan.Instance {
	r.Helper()
	var demo *unstructured.Unstructured
	// A CRD takes a moment until it serves.
	for range 100 {
		var err error
		demo, err = r.resource(r.group, "v1", "demos").Create(r.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": r.group + "/v1", "kind": "Demo", "metadata": map[string]any{"name": name},
		}}, metav1.CreateOptions{})
		if err == nil {
			break
		}
		pause(r.Context(), 50*time.Millisecond)
	}
	return plan.Instance{
		Operator: "demo", Resource: r.operator().Plan.Resource, Namespace: r.namespace, Name: name, UID: string(demo.GetUID()),
	}
}

func (r *realCluster) service(name string, metadata map[string]any) *unstructured.Unstructured {
	r.Helper()
	metadata["name"] = name
	return r.create("", "v1", "services", map[string]any{
		"kind": "Service", "metadata": metadata, "spec": map[string]any{"ports": []any{map[string]any{"port": 80}}},
	})
}

func TestOnARealAPIServer(t *testing.T) {
	r := onRealCluster(t)
	p := runOnConfig(t, r.config, r.operator())
	p.until("synced without the CRD", p.watcher.Synced)
	r.createCRD()
	i := r.createDemo("a")
	demo, err := r.resource(r.group, "v1", "demos").Get(t.Context(), "a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	believes := func(want ...string) {
		t.Helper()
		p.believesOf(i, want...)
	}
	believes("config " + r.namespace + "/kube-root-ca.crt")

	labels := map[string]any{plan.InstanceLabel: i.Label()}
	r.service("labelled", map[string]any{"labels": labels})
	r.service("owned", map[string]any{"ownerReferences": []any{map[string]any{
		"apiVersion": demo.GetAPIVersion(), "kind": "Demo", "name": "a", "uid": i.UID,
	}}})
	r.service("released", map[string]any{"annotations": map[string]any{
		"meta.helm.sh/release-name": plan.ReleaseName(i, "app"), "meta.helm.sh/release-namespace": r.namespace,
	}})
	r.service("nobodys", map[string]any{})
	root := "config " + r.namespace + "/kube-root-ca.crt"
	name := func(s string) string { return "services " + r.namespace + "/" + s }
	believes(root, name("labelled"), name("owned"), name("released"))
	r.remove("", "v1", "services", "released")
	believes(root, name("labelled"), name("owned"))

	// How long a change takes from the API server's answer to the signal.
	r.create("", "v1", "configmaps", map[string]any{"kind": "ConfigMap", "metadata": map[string]any{"name": "clock"}})
	believes(root, "config "+r.namespace+"/clock", name("labelled"), name("owned"))
	hash := func() (h string) {
		p.temporal.of(i.WorkflowID(), func(w *workflowState) { h = w.believes["config "+r.namespace+"/clock"] })
		return h
	}
	var took []time.Duration
	for n := range 100 {
		before := hash()
		began := time.Now()
		object := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "clock"}, "data": map[string]any{"n": fmt.Sprint(n)},
		}}
		if _, err := r.resource("", "v1", "configmaps").Update(t.Context(), object, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		p.until("the change arrives", func() bool { return hash() != before })
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("update and signal: p50 %s, p99 %s", took[50], took[99])

	r.remove(r.group, "v1", "demos", "a")
	p.until("gone is told", func() (gone bool) {
		p.temporal.of(i.WorkflowID(), func(w *workflowState) { gone = w.resource.Gone })
		return gone
	})
	if p.log.count("level=ERROR") > 0 || p.log.count("level=WARN") != 1 {
		t.Error("it complains of something other than the missing CRD")
	}
}

// TestALeaseOnARealAPIServer has two processes compete, of which the first ends.
func TestALeaseOnARealAPIServer(t *testing.T) {
	r := onRealCluster(t)
	r.createCRD()
	i := r.createDemo("a")
	type replica struct {
		*Watcher
		stop func()
	}
	temporal := newTemporal()
	start := func(identity string) replica {
		store, err := virtual.Open(virtual.Options{InstanceLabel: plan.InstanceLabel})
		if err != nil {
			t.Fatal(err)
		}
		cluster, err := clusterOf(r.config)
		if err != nil {
			t.Fatal(err)
		}
		w, err := newWatcher(Options{
			Store: store, Operators: []*specs.Operator{r.operator()}, Log: quiet(),
			Lease: &LeaseOptions{
				Namespace: r.namespace, Name: "mainstay", Identity: identity,
				Duration: 4 * time.Second, RenewDeadline: 3 * time.Second, RetryPeriod: 200 * time.Millisecond,
			},
		}, cluster, temporal)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = w.Run(ctx) }()
		return replica{w, func() {
			cancel()
			<-done
			_ = store.Close()
		}}
	}
	until := func(what string, condition func() bool) {
		t.Helper()
		for range 200 {
			if condition() {
				return
			}
			pause(t.Context(), 50*time.Millisecond)
		}
		t.Fatalf("never: %s", what)
	}
	told := func(resyncs int) func() bool {
		return func() (enough bool) {
			temporal.of(i.WorkflowID(), func(w *workflowState) { enough = w != nil && len(w.resyncs) == resyncs })
			return enough
		}
	}
	one := start("one")
	until("one leads and tells", func() bool { return one.Leading() && told(1)() })
	two := start("two")
	defer two.stop()
	until("two has seen everything", two.Synced)
	if two.Leading() {
		t.Error("both lead")
	}
	began := time.Now()
	one.stop()
	until("two leads and tells", func() bool { return two.Leading() && told(2)() })
	t.Logf("another process leads %s after a clean end", time.Since(began))
	if one.Leading() {
		t.Error("both lead")
	}
}

// TestOnRealTemporal finds out what Temporal answers where the sender depends on it.
func TestOnRealTemporal(t *testing.T) {
	address := os.Getenv("MAINSTAY_TEST_TEMPORAL")
	if address == "" {
		t.Skip("MAINSTAY_TEST_TEMPORAL names no server")
	}
	r := onRealCluster(t)
	r.createCRD()
	c, err := client.Dial(client.Options{HostPort: address, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	op := r.operator()
	w := worker.New(c, op.Plan.Resource.TaskQueue(), worker.Options{})
	w.RegisterWorkflowWithOptions(believer, workflow.RegisterOptions{Name: plan.WorkflowMaintain})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	store, err := virtual.Open(virtual.Options{InstanceLabel: plan.InstanceLabel})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	log := &logBuffer{moved: func() {}}
	watch, err := New(Options{REST: r.config, Temporal: c, Store: store, Operators: []*specs.Operator{op}, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = watch.Run(ctx) }()
	defer func() { cancel(); <-done }()

	i := r.createDemo("a")
	r.service("s", map[string]any{"labels": map[string]any{plan.InstanceLabel: i.Label()}})
	state := func() (b beliefs) {
		response, err := c.QueryWorkflow(t.Context(), i.WorkflowID(), "", "beliefs")
		if err == nil {
			err = response.Get(&b)
		}
		if err != nil {
			b.Error = err.Error()
		}
		return b
	}
	until := func(what string, condition func() bool) {
		t.Helper()
		for range 200 {
			if condition() {
				return
			}
			pause(t.Context(), 100*time.Millisecond)
		}
		t.Fatalf("never: %s: %+v\n%s", what, state(), log.b.String())
	}
	until("it is told of the Service", func() bool { return slices.Contains(state().Keys, "services "+r.namespace+"/s") })

	// Terminated by hand, it starts anew with the next change, and learns of everything.
	if err := c.TerminateWorkflow(t.Context(), i.WorkflowID(), "", "test"); err != nil {
		t.Fatal(err)
	}
	r.service("s2", map[string]any{"labels": map[string]any{plan.InstanceLabel: i.Label()}})
	until("it starts anew", func() bool {
		b := state()
		return slices.Contains(b.Keys, "services "+r.namespace+"/s") && slices.Contains(b.Keys, "services "+r.namespace+"/s2")
	})

	// Completed, it stays so; the sender finds that and is content.
	if err := c.SignalWorkflow(t.Context(), i.WorkflowID(), "", "complete", nil); err != nil {
		t.Fatal(err)
	}
	until("it completes", func() bool {
		d, err := c.DescribeWorkflowExecution(t.Context(), i.WorkflowID(), "")
		return err == nil && d.WorkflowExecutionInfo.GetCloseTime() != nil
	})
	r.remove("", "v1", "services", "s")
	until("the sender notices", func() bool { return log.count("has ended while the resource is still there") == 1 })
	r.remove(r.group, "v1", "demos", "a")
	// One whose resource went while nobody watched is found by the list, when the list has it.
	lost := plan.Instance{Resource: op.Plan.Resource, Namespace: r.namespace, Name: "lost", UID: "12345678"}
	if _, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: lost.WorkflowID(), TaskQueue: op.Plan.Resource.TaskQueue()},
		plan.WorkflowMaintain, plan.MaintainInput{Instance: lost}); err != nil {
		t.Fatal(err)
	}
	until("the sweep finds it", func() bool {
		if err := watch.sweepOperator(t.Context(), watch.operators[virtual.Kind{Group: r.group, Version: "v1", Kind: "Demo"}]); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(log.b.String(), "workflow="+lost.WorkflowID())
	})
	until("everything is forgotten", func() (none bool) {
		watch.locked(func() { none = len(watch.byUID) == 0 })
		return none
	})
	if strings.Contains(log.b.String(), "can't be signalled") {
		t.Error(log.b.String())
	}
}

// beliefs are what believer answers to a query.
type beliefs struct {
	Keys  []string
	Error string
}

// believer stands for Maintain: it knows what it was told.
func believer(ctx workflow.Context, in plan.MaintainInput) error {
	known := map[string]bool{}
	if err := workflow.SetQueryHandler(ctx, "beliefs", func() (beliefs, error) {
		var b beliefs
		for k := range known {
			b.Keys = append(b.Keys, k)
		}
		slices.Sort(b.Keys)
		return b, nil
	}); err != nil {
		return err
	}
	take := func(changes []plan.Change) {
		for _, c := range changes {
			known[c.Rule+" "+c.Key()] = c.Hash != ""
		}
	}
	selector := workflow.NewSelector(ctx)
	selector.AddReceive(workflow.GetSignalChannel(ctx, plan.SignalDirty), func(c workflow.ReceiveChannel, _ bool) {
		var d plan.Dirty
		c.Receive(ctx, &d)
		take(d.Changes)
	})
	selector.AddReceive(workflow.GetSignalChannel(ctx, plan.SignalResync), func(c workflow.ReceiveChannel, _ bool) {
		var d plan.Resync
		c.Receive(ctx, &d)
		take(d.Changes)
	})
	selector.AddReceive(workflow.GetSignalChannel(ctx, plan.SignalResource), func(c workflow.ReceiveChannel, _ bool) {
		c.Receive(ctx, nil)
	})
	done := false
	selector.AddReceive(workflow.GetSignalChannel(ctx, "complete"), func(c workflow.ReceiveChannel, _ bool) {
		c.Receive(ctx, nil)
		done = true
	})
	for !done {
		selector.Select(ctx)
	}
	return nil
}
