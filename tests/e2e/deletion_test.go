//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestDeletionInEveryPhase: at once, while the install fails, while superseded, with the finalizer removed by hand.
func TestDeletionInEveryPhase(t *testing.T) {
	t.Parallel()
	sc := newScenario(t, shared, "phases", "shop.txtar")
	sc.start()

	sc.create("atonce", map[string]any{})
	sc.delete(sc.resource, "atonce")
	sc.gone(time.Minute, sc.resource, "atonce")

	sc.create("failing", map[string]any{"elsewhere": "nowhere-to-be-found"})
	var st status
	sc.eventually(30*time.Second, "a failed attempt", func() (err error) {
		st, err = sc.status("failing")
		if err == nil && (len(st.Commands) == 0 || st.Commands[0].Attempts < 1) {
			err = fmt.Errorf("commands = %+v", st.Commands)
		}
		return err
	})
	sc.delete(sc.resource, "failing")
	sc.gone(time.Minute, sc.resource, "failing")
	sc.closed(20*time.Second, sc.instance("failing", st.UID).WorkflowID(), enums.WORKFLOW_EXECUTION_STATUS_COMPLETED)

	sc.create("hasty", map[string]any{})
	for i := range 5 {
		sc.patch(sc.resource, "hasty", fmt.Sprintf(`{"spec":{"message":"m%d"}}`, i))
	}
	sc.ready(time.Minute, "hasty")
	cm, err := sc.get(configMaps, "hasty-web")
	if err != nil || fmt.Sprint(cm.Object["data"].(map[string]any)["message"]) != "m4" {
		t.Errorf("the last of several changes was not deployed: %v, %v", cm, err)
	}
	sc.delete(sc.resource, "hasty")
	sc.gone(time.Minute, sc.resource, "hasty")

	sc.create("letgo", map[string]any{})
	st = sc.ready(time.Minute, "letgo")
	sc.process.Kill() // nobody undeploys; a person removes the finalizer
	sc.delete(sc.resource, "letgo")
	sc.patch(sc.resource, "letgo", `{"metadata":{"finalizers":null}}`)
	sc.gone(10*time.Second, sc.resource, "letgo")
	if _, err := sc.get(deployments, "letgo-web"); err != nil {
		t.Errorf("what was let go is gone: %v", err)
	}
	// Made anew under its name, it takes up what its predecessor left.
	sc.start()
	sc.create("letgo", map[string]any{})
	sc.ready(time.Minute, "letgo")
	if r := sc.releases()["letgo-web"]; len(r) != 1 {
		t.Errorf("releases = %v, want the predecessor's", r)
	}
	sc.delete(sc.resource, "letgo")
	sc.gone(time.Minute, sc.resource, "letgo")
	if r := sc.releases(); len(r) != 0 {
		t.Errorf("releases are left: %v", r)
	}
}

// TestNamespaceIsDeleted: everything goes at once, and the finalizer holds up nothing.
func TestNamespaceIsDeleted(t *testing.T) {
	t.Parallel()
	sc := newScenario(t, shared, "vanishing", "shop.txtar")
	sc.start()
	sc.create("demo", map[string]any{})
	st := sc.ready(time.Minute, "demo")
	if err := sc.Kube.CoreV1().Namespaces().Delete(sc.ctx, sc.namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	sc.eventually(time.Minute, "the namespace is gone", func() error {
		_, err := sc.Kube.CoreV1().Namespaces().Get(sc.ctx, sc.namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("still there: %w", err)
	})
	sc.closed(20*time.Second, sc.instance("demo", st.UID).WorkflowID(), enums.WORKFLOW_EXECUTION_STATUS_COMPLETED)
}
