//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/mainstay-dev/mainstay/tests/stack"
)

// TestExample: the authors' example as the library has it, two instances in one namespace. The Ingress follows the
// Service: its port, the load balancer's address, a host of one's own; and only its own Service.
func TestExample(t *testing.T) {
	t.Parallel()
	sc := newScenario(t, shared, "example", "shop.txtar") // for its namespace; the operators are the library's
	sc.operators = filepath.Join(stack.Root(), "specs", "library")
	crd, err := os.ReadFile(filepath.Join(sc.operators, "vvp", "crd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	sc.useCRD(crd)
	seed, err := os.ReadFile(filepath.Join(sc.operators, "vvp", "operator.yaml"))
	if err != nil || !bytes.Contains(seed, []byte("It runs unchanged")) {
		t.Fatalf("the example is not the authors' own: %v", err)
	}
	sc.start()
	sc.create("one", map[string]any{"serviceType": "LoadBalancer"})
	sc.create("two", map[string]any{"port": int64(8443), "serviceType": "LoadBalancer"})
	sc.ready(time.Minute, "one")
	sc.ready(time.Minute, "two")
	sc.leads(10*time.Second, "one-vvp", "", 80)
	sc.leads(10*time.Second, "two-vvp", "", 8443)

	sc.patch(services, "one-vvp", `{"spec":{"ports":[{"name":"http","port":8081,"targetPort":8080}]}}`)
	sc.leads(10*time.Second, "one-vvp", "", 8081)
	sc.patch(services, "one-vvp", `{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.7"}]}}}`, "status")
	sc.leads(10*time.Second, "one-vvp", "one-vvp.192.0.2.7.nip.io", 8081)
	sc.patch(services, "one-vvp", `{"status":{"loadBalancer":{"ingress":[{"hostname":"lb.example.com"}]}}}`, "status")
	sc.leads(10*time.Second, "one-vvp", "lb.example.com", 8081)
	sc.leads(time.Second, "two-vvp", "", 8443)

	// An upgrade takes the Service's port back to the chart's, and the Ingress follows; its rules outlive the upgrade.
	sc.patch(sc.resource, "one", `{"spec":{"version":"2.15.0"}}`)
	sc.ready(time.Minute, "one")
	sc.leads(10*time.Second, "one-vvp", "lb.example.com", 80)
	sc.leads(time.Second, "two-vvp", "", 8443)

	// The reaction was the rule's: one for each state.
	st, err := sc.status("two")
	if err != nil || len(st.Rules) != 1 || st.Rules[0].Name != "service-ingress-update" {
		t.Errorf("rules of two = %+v, %v", st.Rules, err)
	}
	for _, name := range []string{"one", "two"} {
		sc.delete(sc.resource, name)
		sc.gone(time.Minute, sc.resource, name)
		sc.gone(10*time.Second, ingresses, name+"-vvp")
	}
	if r := sc.releases(); len(r) != 0 {
		t.Errorf("releases are left: %v", r)
	}
	sc.stop()
}

// leads waits until an Ingress leads to a port of the Service of its name, under a host.
func (sc *scenario) leads(within time.Duration, name, host string, port int32) {
	sc.Helper()
	sc.eventually(within, fmt.Sprintf("Ingress %s leads from %q to port %d", name, host, port), func() error {
		obj, err := sc.get(ingresses, name)
		if err != nil {
			return err
		}
		var ing networkingv1.Ingress
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &ing); err != nil {
			return err
		}
		for _, r := range ing.Spec.Rules {
			if r.HTTP == nil || len(r.HTTP.Paths) == 0 || r.HTTP.Paths[0].Backend.Service == nil {
				continue
			}
			if b := r.HTTP.Paths[0].Backend.Service; r.Host == host && b.Name == name && b.Port.Number == port {
				return nil
			}
		}
		return fmt.Errorf("its rules are %v", ing.Spec.Rules)
	})
}
