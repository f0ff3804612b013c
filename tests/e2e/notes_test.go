//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// page waits until an entry of a note's ConfigMap is as wanted.
func (sc *scenario) page(within time.Duration, name, key, want string) {
	sc.Helper()
	sc.eventually(within, fmt.Sprintf("%s says %s=%s", name, key, want), func() error {
		cm, err := sc.get(configMaps, name)
		if err != nil {
			return err
		}
		if got, _, _ := unstructured.NestedString(cm.Object, "data", key); got != want {
			return fmt.Errorf("it says %q", got)
		}
		return nil
	})
}

// TestNotes: kube-apply, kube-patch in a deploy, the engine helm, the scope namespace, profiles, and the undoing that
// the loader derives.
func TestNotes(t *testing.T) {
	t.Parallel()
	sc := newScenario(t, shared, "notes", "notes.txtar")
	sc.start()
	sc.create("a", map[string]any{"text": "one"})
	sc.create("b", map[string]any{"text": "two"})
	st := sc.ready(time.Minute, "a")
	sc.ready(time.Minute, "b")
	if len(st.Inventory) != 3 || len(st.Commands) != 3 {
		t.Errorf("status = %+v", st)
	}
	sc.page(time.Second, "a-page", "text", "one")
	sc.page(time.Second, "a-page", "title", "A")
	accounts := schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	if _, err := sc.get(accounts, "a-writer"); err != nil {
		t.Error(err)
	}

	// Every note of the namespace hears of a Service that is nobody's.
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "guest"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 1}}}}
	if _, err := sc.Kube.CoreV1().Services(sc.namespace).Create(sc.ctx, svc, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	sc.page(10*time.Second, "a-page", "guest", "ResourceDidCreate")
	sc.page(10*time.Second, "b-page", "guest", "ResourceDidCreate")
	sc.delete(services, "guest")
	sc.page(10*time.Second, "a-page", "guest", "ResourceDidDelete")

	// Another profile, and one that does not exist.
	sc.patch(sc.resource, "b", `{"metadata":{"annotations":{"mainstay.dev/profile":"quiet"}}}`)
	sc.page(20*time.Second, "b-page", "text", "quiet")
	sc.patch(sc.resource, "b", `{"metadata":{"annotations":{"mainstay.dev/profile":"loud"}}}`)
	sc.eventually(20*time.Second, "b Stalled", func() error {
		st, err := sc.status("b")
		if err == nil && (st.condition("Stalled").Status != "True" || !strings.Contains(st.condition("Stalled").Message, `no profile "loud"`)) {
			err = fmt.Errorf("conditions %+v", st.Conditions)
		}
		return err
	})

	sc.patch(sc.resource, "b", `{"metadata":{"annotations":{"mainstay.dev/profile":null}}}`)
	sc.page(20*time.Second, "b-page", "text", "two")
	sc.ready(20*time.Second, "b")

	for _, name := range []string{"a", "b"} {
		sc.delete(sc.resource, name)
		sc.gone(time.Minute, sc.resource, name)
		sc.gone(10*time.Second, configMaps, name+"-page")
	}
	sc.gone(10*time.Second, accounts, "a-writer")
	sc.stop()
}
