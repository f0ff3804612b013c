package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mainstay-dev/mainstay/tests/stack"
)

const (
	namespace = "demo"
	name      = "demo"
	release   = "demo-vvp"
)

// vvps is the kind of resource that the library's operator vvp serves.
var vvps = schema.GroupVersionResource{Group: "ververica.mainstay.dev", Version: "v1alpha1", Resource: "vvps"}

// teller tells the story and checks it.
type teller struct {
	*stack.Stack
	ctx      context.Context
	began    time.Time
	operator *stack.Process
	log      *os.File
}

func (t *teller) say(format string, args ...any) {
	fmt.Printf("%6.1fs  %s\n", time.Since(t.began).Seconds(), fmt.Sprintf(format, args...))
}

// see waits until check is nil and then says what was seen.
func (t *teller) see(within time.Duration, what string, check func() error) error {
	ctx, cancel := context.WithTimeout(t.ctx, within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			t.say("  ✓ %s", what)
			return nil
		}
		select {
		case <-tick.C:
		case <-t.operator.Done():
			return fmt.Errorf("waiting for %q: mainstay ended by itself; see %s", what, t.log.Name())
		case <-ctx.Done():
			return fmt.Errorf("%s: not seen within %s: %w (mainstay's log: %s)", what, within, err, t.log.Name())
		}
	}
}

// demo tells the main story and fails at the first step that isn't seen.
func demo(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "mainstay-demo-")
	if err != nil {
		return err
	}
	defer func() {
		if err == nil { // else the logs are needed
			err = os.RemoveAll(dir)
		}
	}()
	t := &teller{ctx: ctx, began: time.Now()}
	fmt.Println()
	t.say("Starting Temporal and a Kubernetes control plane (no containers: the nodes are simulated)")
	if t.Stack, err = stack.Up(ctx, dir); err != nil {
		return err
	}
	defer t.Down()
	t.say("  ✓ both answer; Temporal's UI: %s", t.UI)
	if t.log, err = os.Create(filepath.Join(dir, "mainstay.log")); err != nil {
		return err
	}
	defer t.log.Close()
	if err := t.start("Starting mainstay with the operators of specs/library"); err != nil {
		return err
	}
	defer func() { t.operator.Kill() }()
	for _, chapter := range []func() error{t.deploy, t.follow, t.crash, t.remove} {
		if err := chapter(); err != nil {
			return err
		}
	}
	if err := t.operator.Stop(40 * time.Second); err != nil {
		return fmt.Errorf("stop mainstay: %w", err)
	}
	t.say("The end: every step was read back from the API server and from Temporal.")
	return nil
}

func (t *teller) start(why string) (err error) {
	t.say("%s", why)
	t.operator, err = t.Mainstay(filepath.Join(stack.Root(), "specs", "library"), t.log)
	return err
}

// deploy: the resource is created, and becomes Ready.
func (t *teller) deploy() error {
	t.say("A user creates a resource: kubectl apply -f, kind VervericaPlatform, name %s", name)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := t.Kube.CoreV1().Namespaces().Create(t.ctx, ns, metav1.CreateOptions{}); err != nil {
		return err
	}
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": vvps.GroupVersion().String(), "kind": "VervericaPlatform",
		"metadata": map[string]any{"name": name, "namespace": namespace}, "spec": map[string]any{"serviceType": "LoadBalancer"},
	}}
	err := t.see(30*time.Second, "mainstay has installed the CustomResourceDefinition, the resource is accepted", func() error {
		_, err := t.Dynamic.Resource(vvps).Namespace(namespace).Create(t.ctx, obj, metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return err
	}
	if err := t.see(time.Minute, "the resource is Ready: the chart is installed, its Deployment is available", func() error {
		return t.ready(1)
	}); err != nil {
		return err
	}
	return t.see(10*time.Second, "the Ingress, of which the chart knew no port, leads to the Service's port 80", func() error { return t.ingress(80) })
}

// follow: the Service changes, the Ingress follows.
func (t *teller) follow() error {
	t.say("Somebody changes the Service's port to 8081")
	patch := `[{"op":"replace","path":"/spec/ports/0/port","value":8081}]`
	if _, err := t.Kube.CoreV1().Services(namespace).Patch(t.ctx, release, types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		return err
	}
	if err := t.see(10*time.Second, "the Ingress follows: port 8081", func() error { return t.ingress(8081) }); err != nil {
		return err
	}
	t.say("The load balancer's address arrives, minutes late as they do")
	status := `{"status":{"loadBalancer":{"ingress":[{"hostname":"lb.example.com"}]}}}`
	if _, err := t.Kube.CoreV1().Services(namespace).Patch(t.ctx, release, types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status"); err != nil {
		return err
	}
	return t.see(10*time.Second, "the Ingress follows: host lb.example.com", func() error {
		ing, err := t.Kube.NetworkingV1().Ingresses(namespace).Get(t.ctx, release, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(ing.Spec.Rules) == 0 || ing.Spec.Rules[0].Host != "lb.example.com" {
			return fmt.Errorf("rules %v", ing.Spec.Rules)
		}
		return nil
	})
}

// crash: the operator is killed in the middle of an upgrade. On a fast machine an upgrade may be over before the kill;
// then the next one gets it.
func (t *teller) crash() error {
	for try := range 5 {
		version, revision := fmt.Sprintf("2.15.%d", try), 2+try
		t.say("The user asks for version %s", version)
		hit, err := t.interrupt(version, revision)
		if err != nil {
			return err
		}
		if hit {
			return t.recover(version, revision)
		}
		t.say("  the upgrade was over before the kill; once more")
	}
	return fmt.Errorf("five upgrades were over before mainstay could be killed")
}

// interrupt asks for a version and kills mainstay as soon as Helm has begun the revision. It tells whether that was in
// the middle of the upgrade. Revision and generation go in step: each change of the resource is one of both.
func (t *teller) interrupt(version string, revision int) (bool, error) {
	patch := fmt.Sprintf(`{"spec":{"version":%q}}`, version)
	if _, err := t.Dynamic.Resource(vvps).Namespace(namespace).Patch(t.ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		return false, err
	}
	if err := t.see(30*time.Second, fmt.Sprintf("the upgrade is under way: Helm has begun revision %d", revision), func() error {
		_, err := t.record(revision)
		return err
	}); err != nil {
		return false, err
	}
	t.operator.Kill()
	t.say("kill -9 of mainstay, in the middle of it")
	state, err := t.record(revision)
	if err != nil {
		return false, err
	}
	if t.ready(int64(revision)) == nil {
		return false, t.start("Starting mainstay again")
	}
	t.say("  ✓ mainstay is dead; Helm's record of revision %d says %q, the resource is not Ready at generation %d", revision, state, revision)
	return true, nil
}

// recover starts mainstay again and sees that it takes the upgrade up.
func (t *teller) recover(version string, revision int) error {
	if err := t.start("Starting mainstay again"); err != nil {
		return err
	}
	if err := t.see(90*time.Second, "the upgrade is finished: the resource is Ready at its new generation", func() error {
		return t.ready(int64(revision))
	}); err != nil {
		return err
	}
	if err := t.see(10*time.Second, fmt.Sprintf("the Deployment runs the new version; the release is at revision %d, nothing was done twice", revision), func() error {
		d, err := t.Kube.AppsV1().Deployments(namespace).Get(t.ctx, release, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if image := d.Spec.Template.Spec.Containers[0].Image; !strings.HasSuffix(image, ":"+version) {
			return fmt.Errorf("image %s", image)
		}
		list, err := t.Kube.CoreV1().Secrets(namespace).List(t.ctx, metav1.ListOptions{LabelSelector: "owner=helm"})
		if err == nil && len(list.Items) != revision {
			err = fmt.Errorf("%d release records", len(list.Items))
		}
		return err
	}); err != nil {
		return err
	}
	return t.see(20*time.Second, "the Ingress still follows the Service", func() error {
		svc, err := t.Kube.CoreV1().Services(namespace).Get(t.ctx, release, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return t.ingress(svc.Spec.Ports[0].Port)
	})
}

// remove: the resource is deleted, and nothing is left.
func (t *teller) remove() error {
	obj, err := t.Dynamic.Resource(vvps).Namespace(namespace).Get(t.ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	workflow := fmt.Sprintf("vvps/%s/%s/%s", namespace, name, string(obj.GetUID())[:8])
	t.say("The user deletes the resource")
	if err := t.Dynamic.Resource(vvps).Namespace(namespace).Delete(t.ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	if err := t.see(time.Minute, "the resource is gone, its finalizer with it", func() error {
		_, err := t.Dynamic.Resource(vvps).Namespace(namespace).Get(t.ctx, name, metav1.GetOptions{})
		if err == nil {
			return fmt.Errorf("it is still there")
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	}); err != nil {
		return err
	}
	if err := t.see(time.Minute, "everything that was deployed is gone: Deployment, Service, Ingress, ConfigMap, ServiceAccount, release records", t.nothing); err != nil {
		return err
	}
	return t.see(20*time.Second, "the workflows Maintain, Deploy and Undeploy are completed", func() error {
		for _, id := range []string{workflow, workflow + "/deploy/g1", workflow + "/deploy/g2", workflow + "/undeploy"} {
			d, err := t.Temporal.DescribeWorkflowExecution(t.ctx, id, "")
			if err != nil {
				return err
			}
			if s := d.WorkflowExecutionInfo.Status; s != enums.WORKFLOW_EXECUTION_STATUS_COMPLETED {
				return fmt.Errorf("%s is %s", id, s)
			}
		}
		return nil
	})
}

// ready tells whether the resource is Ready at a generation.
func (t *teller) ready(generation int64) error {
	obj, err := t.Dynamic.Resource(vvps).Namespace(namespace).Get(t.ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	var s struct {
		Status struct {
			ObservedGeneration int64
			Phase              string
			Conditions         []metav1.Condition
		}
	}
	raw, err := obj.MarshalJSON()
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	if err != nil {
		return err
	}
	for _, c := range s.Status.Conditions {
		if c.Type == "Ready" && c.Status == metav1.ConditionTrue && s.Status.ObservedGeneration == generation {
			return nil
		}
	}
	return fmt.Errorf("phase %q, observed generation %d", s.Status.Phase, s.Status.ObservedGeneration)
}

// ingress tells whether the Ingress leads to a port of the Service.
func (t *teller) ingress(port int32) error {
	ing, err := t.Kube.NetworkingV1().Ingresses(namespace).Get(t.ctx, release, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, r := range ing.Spec.Rules {
		if r.HTTP == nil {
			continue
		}
		for _, p := range r.HTTP.Paths {
			if s := p.Backend.Service; s != nil && s.Name == release && s.Port.Number == port {
				return nil
			}
		}
	}
	return fmt.Errorf("the Ingress does not lead to port %d", port)
}

// record is what Helm's record of a revision says.
func (t *teller) record(revision int) (string, error) {
	s, err := t.Kube.CoreV1().Secrets(namespace).Get(t.ctx, fmt.Sprintf("sh.helm.release.v1.%s.v%d", release, revision), metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return s.Labels["status"], nil
}

// nothing tells whether nothing is left of the release.
func (t *teller) nothing() error {
	for _, r := range []schema.GroupVersionResource{
		{Group: "apps", Version: "v1", Resource: "deployments"}, {Version: "v1", Resource: "services"},
		{Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"}, {Version: "v1", Resource: "configmaps"},
		{Version: "v1", Resource: "serviceaccounts"}, {Version: "v1", Resource: "secrets"},
	} {
		list, err := t.Dynamic.Resource(r).Namespace(namespace).List(t.ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, o := range list.Items {
			if strings.HasPrefix(o.GetName(), release) || strings.HasPrefix(o.GetName(), "sh.helm.release") {
				return fmt.Errorf("%s %s is still there", r.Resource, o.GetName())
			}
		}
	}
	return nil
}
