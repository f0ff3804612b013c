//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/api/workflowservice/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// notFound is nil for a NotFound error.
func notFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// ledger waits until the release's ConfigMap says what is wanted of a Service.
func (sc *scenario) ledger(within time.Duration, release, service, want string) {
	sc.Helper()
	sc.eventually(within, fmt.Sprintf("ledger of %s says %q", service, want), func() error {
		cm, err := sc.get(configMaps, release)
		if err != nil {
			return err
		}
		if got, _, _ := unstructured.NestedString(cm.Object, "data", service); got != want {
			return fmt.Errorf("it says %q", got)
		}
		return nil
	})
}

// service creates a Service that the custom resource owns.
func (sc *scenario) service(name, owner, uid string, port int64) {
	sc.Helper()
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Service",
		"metadata": map[string]any{"name": name, "namespace": sc.namespace, "ownerReferences": []any{map[string]any{
			"apiVersion": sc.resource.GroupVersion().String(), "kind": sc.kind, "name": owner, "uid": uid}}},
		"spec": map[string]any{"ports": []any{map[string]any{"port": port}}},
	}}
	if _, err := sc.Dynamic.Resource(services).Namespace(sc.namespace).Create(sc.ctx, obj, metav1.CreateOptions{}); err != nil {
		sc.Fatal(err)
	}
}

func port(n int) string {
	return fmt.Sprintf(`{"spec":{"ports":[{"name":"http","port":%d,"targetPort":8080}]}}`, n)
}

// closed waits until a workflow has ended and checks how.
func (sc *scenario) closed(within time.Duration, id string, want enums.WorkflowExecutionStatus) {
	sc.Helper()
	sc.eventually(within, "workflow "+id+" "+want.String(), func() error {
		d, err := sc.Temporal.DescribeWorkflowExecution(sc.ctx, id, "")
		if err != nil {
			return err
		}
		if s := d.WorkflowExecutionInfo.Status; s != want {
			return fmt.Errorf("it is %s", s)
		}
		return nil
	})
}

// TestLifeOfAResource: deployed, a Service changes, upgraded, deleted.
func TestLifeOfAResource(t *testing.T) {
	t.Parallel()
	sc := newScenario(t, shared, "life", "shop.txtar")
	sc.start()
	sc.create("demo", map[string]any{})
	st := sc.ready(time.Minute, "demo")
	id := sc.instance("demo", st.UID).WorkflowID()
	if st.Workflow.ID != id || st.Workflow.URL == "" || st.Commands[0].State != plan.StateSucceeded || st.Releases[0].Revision != 1 {
		t.Errorf("status = %+v", st)
	}
	sc.ledger(10*time.Second, "demo-web", "demo-web", "80")
	sc.patch(services, "demo-web", port(8081))
	sc.ledger(10*time.Second, "demo-web", "demo-web", "8081")

	sc.patch(sc.resource, "demo", `{"spec":{"replicas":2}}`)
	st = sc.ready(time.Minute, "demo")
	if st.Releases[0].Revision != 2 {
		t.Errorf("releases = %+v", st.Releases)
	}
	sc.delete(sc.resource, "demo")
	sc.gone(time.Minute, sc.resource, "demo")
	sc.gone(10*time.Second, deployments, "demo-web")
	if r := sc.releases(); len(r) != 0 {
		t.Errorf("releases are left: %v", r)
	}
	for _, w := range []string{id, id + "/deploy/g1", id + "/deploy/g2", id + "/undeploy"} {
		sc.closed(20*time.Second, w, enums.WORKFLOW_EXECUTION_STATUS_COMPLETED)
	}
	sc.record("maintain-finished", id)
	sc.record("deploy-finished", id+"/deploy/g2")
	sc.record("undeploy-finished", id+"/undeploy")
	sc.stop()
}

// TestWhatTemporalShows: readable ids, summaries, search attributes, current details.
func TestWhatTemporalShows(t *testing.T) {
	t.Parallel()
	sc := newScenario(t, shared, "shows", "shop.txtar")
	sc.start()
	sc.create("demo", map[string]any{})
	st := sc.ready(time.Minute, "demo")
	sc.ledger(10*time.Second, "demo-web", "demo-web", "80")
	in := sc.instance("demo", st.UID)
	activities := func(id string) map[string]string {
		out := map[string]string{}
		history := sc.Temporal.GetWorkflowHistory(sc.ctx, id, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for history.HasNext() {
			e, err := history.Next()
			if err != nil {
				t.Fatal(err)
			}
			if a := e.GetActivityTaskScheduledEventAttributes(); a != nil {
				out[a.ActivityId] = string(e.GetUserMetadata().GetSummary().GetData())
			}
		}
		return out
	}
	if s := activities(in.DeployID(1))["01-helm-web"]; !strings.Contains(s, "chart web") {
		t.Errorf("summary of 01-helm-web = %q", s)
	}
	if s := activities(in.WorkflowID())["ledger/demo-web/01-kube-patch-ledger"]; !strings.Contains(s, "Service shows/demo-web appeared") {
		t.Errorf("activities of Maintain: %v", activities(in.WorkflowID()))
	}
	sc.eventually(20*time.Second, "search attributes", func() error {
		list, err := sc.Temporal.ListWorkflow(sc.ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Query: `MainstayKind = "Shop" AND MainstayNamespace = "shows" AND MainstayName = "demo" AND MainstayPhase = "Ready"`})
		if err == nil && len(list.Executions) != 1 {
			err = fmt.Errorf("%d workflows found", len(list.Executions))
		}
		return err
	})
	v, err := sc.Temporal.QueryWorkflow(sc.ctx, in.WorkflowID(), "", "__temporal_workflow_metadata")
	if err != nil {
		t.Fatal(err)
	}
	var details sdkpb.WorkflowMetadata
	if err := v.Get(&details); err != nil || !strings.Contains(details.CurrentDetails, "| 1 | helm web | Succeeded |") {
		t.Errorf("current details = %q, %v", details.CurrentDetails, err)
	}
}

// TestKilledAtAnyPointOfADeploy kills the operator again and again while it deploys and upgrades.
func TestKilledAtAnyPointOfADeploy(t *testing.T) {
	t.Parallel()
	sc := newScenario(t, shared, "killed", "shop.txtar")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	sc.start()
	sc.create("warm", map[string]any{"replicas": int64(0)})
	sc.ready(time.Minute, "warm")
	const rounds = 6
	for i := range rounds {
		name := fmt.Sprintf("shop%d", i)
		sc.create(name, map[string]any{})
		kill := time.Duration(random.IntN(1200)) * time.Millisecond
		<-time.After(kill)
		sc.kill()
		t.Logf("%s: killed after %s; releases: %v", name, kill, sc.releases()[name+"-web"])
		sc.start()
		sc.ready(90*time.Second, name)
		if r := sc.releases()[name+"-web"]; len(r) != 1 || r["1"] != "deployed" {
			t.Errorf("%s: killed after %s: releases = %v, want revision 1 alone", name, kill, r)
		}
		sc.patch(sc.resource, name, `{"spec":{"message":"again"}}`)
		<-time.After(kill)
		sc.kill()
		sc.start()
		sc.ready(90*time.Second, name)
		if r := sc.releases()[name+"-web"]; len(r) != 2 || r["1"] != "superseded" || r["2"] != "deployed" {
			t.Errorf("%s: killed %s into the upgrade: releases = %v, want revisions 1 and 2", name, kill, r)
		}
	}
}

// TestChangesWhileDown: Services are changed, created and deleted while no operator runs.
func TestChangesWhileDown(t *testing.T) {
	t.Parallel()
	sc := newScenario(t, shared, "down", "shop.txtar")
	sc.start()
	sc.create("demo", map[string]any{})
	st := sc.ready(time.Minute, "demo")
	sc.service("extra", "demo", st.UID, 1000)
	sc.ledger(10*time.Second, "demo-web", "extra", "1000")
	sc.ledger(10*time.Second, "demo-web", "demo-web", "80")
	sc.eventually(10*time.Second, "status is written", func() error {
		st, err := sc.status("demo")
		if err == nil && (len(st.Rules) == 0 || st.Rules[0].Reactions != 2) {
			err = fmt.Errorf("rules = %+v", st.Rules)
		}
		return err
	})
	sc.kill()
	sc.patch(services, "demo-web", port(8082))
	sc.service("new", "demo", st.UID, 2000)
	sc.delete(services, "extra")
	sc.start()
	sc.ledger(30*time.Second, "demo-web", "demo-web", "8082")
	sc.ledger(10*time.Second, "demo-web", "new", "2000")
	sc.ledger(10*time.Second, "demo-web", "extra", "departed")
	reactions := func() (int64, int64) {
		st, err := sc.status("demo")
		if err != nil {
			t.Fatal(err)
		}
		return st.Rules[0].Reactions, st.Rules[1].Reactions
	}
	sc.eventually(10*time.Second, "each once", func() error {
		if a, b := reactions(); a != 4 || b != 1 {
			return fmt.Errorf("%d and %d reactions, want 4 and 1", a, b)
		}
		return nil
	})
	sc.record("maintain-running", sc.instance("demo", st.UID).WorkflowID())
	// A restart in which nothing has changed leads to nothing.
	sc.kill()
	sc.start()
	sc.patch(services, "new", `{"spec":{"ports":[{"port":2001}]}}`)
	sc.ledger(30*time.Second, "demo-web", "new", "2001")
	sc.eventually(10*time.Second, "only the change", func() error {
		if a, b := reactions(); a != 5 || b != 1 {
			return fmt.Errorf("%d and %d reactions, want 5 and 1", a, b)
		}
		return nil
	})
}

// TestFailingInstall: a chart that needs a namespace which isn't there. When it comes, all goes on without help.
func TestFailingInstall(t *testing.T) {
	t.Parallel()
	sc := newScenario(t, shared, "failing", "shop.txtar")
	sc.start()
	sc.create("demo", map[string]any{"elsewhere": "failing-elsewhere"})
	var st status
	sc.eventually(time.Minute, "attempts in the status", func() (err error) {
		st, err = sc.status("demo")
		if err != nil {
			return err
		}
		if len(st.Commands) == 0 || st.Commands[0].Attempts < 2 || !strings.Contains(st.Commands[0].Message, "failing-elsewhere") {
			return fmt.Errorf("commands = %+v", st.Commands)
		}
		return nil
	})
	if st.condition("Ready").Status == "True" || !strings.Contains(st.condition("Reconciling").Message, "failing-elsewhere") {
		t.Errorf("conditions = %+v", st.Conditions)
	}
	sc.eventually(20*time.Second, "attempts in Temporal", func() error {
		d, err := sc.Temporal.DescribeWorkflowExecution(sc.ctx, sc.instance("demo", st.UID).DeployID(1), "")
		if err != nil {
			return err
		}
		for _, a := range d.PendingActivities {
			if a.ActivityId == "01-helm-web" && a.Attempt > 2 && strings.Contains(a.LastFailure.GetMessage(), "failing-elsewhere") {
				return nil
			}
		}
		return fmt.Errorf("pending activities: %v", d.PendingActivities)
	})
	sc.record("deploy-retrying", sc.instance("demo", st.UID).DeployID(1))
	sc.record("maintain-deploying", sc.instance("demo", st.UID).WorkflowID())
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "failing-elsewhere"}}
	if _, err := sc.Kube.CoreV1().Namespaces().Create(sc.ctx, ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	sc.ready(time.Minute, "demo")
	if r := sc.releases()["demo-web"]; len(r) != 1 || r["1"] != "deployed" {
		t.Errorf("releases = %v, want revision 1 alone", r)
	}
}

// TestTwentyAtOnce: all become Ready and no workflow fails.
func TestTwentyAtOnce(t *testing.T) {
	sc := newScenario(t, shared, "twenty", "shop.txtar")
	sc.start()
	for i := range 20 {
		sc.create(fmt.Sprintf("shop%d", i), map[string]any{"port": int64(1000 + i)})
	}
	for i := range 20 {
		name := fmt.Sprintf("shop%d", i)
		sc.ready(2*time.Minute, name)
		sc.ledger(20*time.Second, name+"-web", name+"-web", fmt.Sprint(1000+i))
	}
	sc.eventually(20*time.Second, "no workflow failed", func() error {
		for _, state := range []string{"Failed", "Terminated", "TimedOut", "Canceled"} {
			n, err := sc.Temporal.CountWorkflow(sc.ctx, &workflowservice.CountWorkflowExecutionsRequest{
				Query: fmt.Sprintf(`MainstayNamespace = "twenty" AND ExecutionStatus = %q`, state)})
			if err != nil {
				return err
			}
			if n.Count != 0 {
				t.Fatalf("%d workflows %s", n.Count, state)
			}
		}
		return nil
	})
}

// TestMistakeInOneFolder: the others run, and the mistake is told with its place.
func TestMistakeInOneFolder(t *testing.T) {
	t.Parallel()
	sc := newScenario(t, shared, "mistake", "shop.txtar")
	sc.write("broken/operator.yaml", "default:\n  def: crd.yaml\n  deploy:\n    - cmd: helm\n      chrat: web\n")
	sc.write("broken/crd.yaml", "kind: Nothing\n")
	sc.start()
	sc.create("demo", map[string]any{})
	sc.ready(time.Minute, "demo")
	if log := sc.log.String(); !strings.Contains(log, "broken/operator.yaml:5:7") || !strings.Contains(log, "did you mean") {
		t.Errorf("the log does not name the mistake:\n%s", log)
	}
}

// TestNewRevisionIsDeployed: a changed folder is a new revision and leads to a new Deploy.
func TestNewRevisionIsDeployed(t *testing.T) {
	t.Parallel()
	sc := newScenario(t, shared, "revision", "shop.txtar")
	sc.start()
	sc.create("demo", map[string]any{})
	sc.ready(time.Minute, "demo")
	sc.stop()
	sc.write("shop/values.yaml", "port: 90\nreplicas: 0\nmessage: revised\n")
	sc.start()
	sc.eventually(time.Minute, "the new values are deployed", func() error {
		cm, err := sc.get(configMaps, "demo-web")
		if err == nil && fmt.Sprint(cm.Object["data"].(map[string]any)["message"]) != "revised" {
			err = errors.New("the old message")
		}
		return err
	})
	sc.ready(time.Minute, "demo")
	if r := sc.releases()["demo-web"]; len(r) != 2 {
		t.Errorf("releases = %v, want two revisions", r)
	}
}

// TestTerminatedMaintainIsReplaced: a person terminates the workflow in the UI; the next event brings a new one that
// finds everything done.
func TestTerminatedMaintainIsReplaced(t *testing.T) {
	t.Parallel()
	sc := newScenario(t, shared, "reset", "shop.txtar")
	sc.start()
	sc.create("demo", map[string]any{})
	st := sc.ready(time.Minute, "demo")
	sc.ledger(10*time.Second, "demo-web", "demo-web", "80")
	if err := sc.Temporal.TerminateWorkflow(context.Background(), sc.instance("demo", st.UID).WorkflowID(), "", "by a person"); err != nil {
		t.Fatal(err)
	}
	sc.patch(services, "demo-web", port(8083))
	sc.ledger(30*time.Second, "demo-web", "demo-web", "8083")
	if r := sc.releases()["demo-web"]; len(r) != 1 {
		t.Errorf("releases = %v, want one revision", r)
	}
	sc.delete(sc.resource, "demo")
	sc.gone(time.Minute, sc.resource, "demo")
}
