//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/tests/stack"
)

var serviceAccounts = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}

// manifest creates an object of the scenario's namespace from YAML.
func (sc *scenario) manifest(r schema.GroupVersionResource, text string) *unstructured.Unstructured {
	sc.Helper()
	obj := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &obj.Object); err != nil {
		sc.Fatal(err)
	}
	got, err := sc.Dynamic.Resource(r).Namespace(sc.namespace).Create(sc.ctx, obj, metav1.CreateOptions{})
	if err != nil {
		sc.Fatal(err)
	}
	return got
}

// resourceOf creates a custom resource with a profile.
func (sc *scenario) resourceOf(name, profile string) {
	sc.Helper()
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": sc.resource.GroupVersion().String(), "kind": sc.kind, "spec": map[string]any{},
		"metadata": map[string]any{"name": name, "namespace": sc.namespace, "annotations": map[string]any{plan.ProfileAnnotation: profile}},
	}}
	sc.eventually(30*time.Second, "create "+name, func() error {
		_, err := sc.Dynamic.Resource(sc.resource).Namespace(sc.namespace).Create(sc.ctx, obj, metav1.CreateOptions{})
		return err
	})
}

// field waits until a field of an object has a value, printed as %v.
func (sc *scenario) field(r schema.GroupVersionResource, name, want string, path ...string) {
	sc.Helper()
	sc.eventually(20*time.Second, fmt.Sprintf("%s %s: %s is %q", r.Resource, name, strings.Join(path, "."), want), func() error {
		obj, err := sc.get(r, name)
		if err != nil {
			return err
		}
		got, _, err := unstructured.NestedFieldNoCopy(obj.Object, path...)
		if err != nil {
			return err
		}
		if s := fmt.Sprint(got); s != want {
			return fmt.Errorf("it is %q", s)
		}
		return nil
	})
}

// TestCookbook runs each recipe of the library.
func TestCookbook(t *testing.T) {
	t.Parallel()
	sc := newScenario(t, shared, "cookbook", "shop.txtar") // for its namespace; the operator is the library's
	sc.operators = filepath.Join(stack.Root(), "specs", "library", "cookbook")
	crd, err := os.ReadFile(filepath.Join(sc.operators, "crd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	sc.useCRD(crd)
	sc.start()
	for _, recipe := range []string{"brokers", "restarts", "gateway", "pull-secrets"} {
		sc.resourceOf(recipe, recipe)
	}
	for _, recipe := range []string{"brokers", "restarts", "gateway", "pull-secrets"} {
		sc.ready(time.Minute, recipe)
	}

	t.Run("brokers", func(t *testing.T) {
		for i := range 2 {
			sc.manifest(configMaps, fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: broker-%d, labels: {broker: "%d"}}, data: {broker.id: "%d"}}`, i, i, i))
			sc.manifest(services, fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: kafka-%d, labels: {broker: "%d"}}, spec: {type: LoadBalancer, ports: [{port: 909%d}]}}`, i, i, i))
		}
		sc.patch(services, "kafka-1", `{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.11"}]}}}`, "status")
		sc.field(configMaps, "broker-1", "PLAINTEXT://192.0.2.11:9091", "data", "advertised.listeners")
		svc, err := sc.get(services, "kafka-0")
		if err != nil {
			t.Fatal(err)
		}
		ip, _, _ := unstructured.NestedString(svc.Object, "spec", "clusterIP")
		sc.field(configMaps, "broker-0", "PLAINTEXT://"+ip+":9090", "data", "advertised.listeners")
		sc.field(configMaps, "broker-0", "0", "data", "broker.id")
	})

	t.Run("restarts", func(t *testing.T) {
		sc.manifest(secrets, `{apiVersion: v1, kind: Secret, metadata: {name: tls}, stringData: {password: hunter2}}`)
		sc.manifest(secrets, `{apiVersion: v1, kind: Secret, metadata: {name: other}, stringData: {password: other}}`)
		deployment := func(name, secret string) {
			sc.manifest(deployments, fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: %s}, spec: {selector: {matchLabels: {app: %s}},
  template: {metadata: {labels: {app: %s}}, spec: {containers: [{name: c, image: example.com/c}], volumes: [{name: v, secret: {secretName: %s}}]}}}}`, name, name, name, secret))
		}
		deployment("uses", "tls")
		deployment("uses-not", "unknown")
		path := []string{"spec", "template", "metadata", "annotations", "cookbook.mainstay.dev/tls"}
		sc.patch(secrets, "tls", `{"stringData":{"password":"hunter3"}}`)
		before := ""
		sc.eventually(20*time.Second, "a restart", func() error {
			d, err := sc.get(deployments, "uses")
			if err != nil {
				return err
			}
			if before, _, _ = unstructured.NestedString(d.Object, path...); before == "" {
				return fmt.Errorf("annotations are %v", d.Object["spec"].(map[string]any)["template"].(map[string]any)["metadata"])
			}
			return nil
		})
		if strings.Contains(before, "hunter") || strings.Contains(before, "aHVudGVy") {
			t.Errorf("the annotation tells the secret: %s", before)
		}
		sc.patch(secrets, "tls", `{"stringData":{"password":"hunter4"}}`)
		sc.eventually(20*time.Second, "another restart", func() error {
			d, err := sc.get(deployments, "uses")
			if err != nil {
				return err
			}
			if now, _, _ := unstructured.NestedString(d.Object, path...); now == before {
				return fmt.Errorf("the annotation is still %s", now)
			}
			return nil
		})
		d, err := sc.get(deployments, "uses-not")
		if err != nil {
			t.Fatal(err)
		}
		if a, found, _ := unstructured.NestedMap(d.Object, "spec", "template", "metadata", "annotations"); found {
			t.Errorf("a Deployment that uses no such Secret got %v", a)
		}
	})

	t.Run("gateway", func(t *testing.T) {
		service := func(name string, port int) {
			sc.manifest(services, fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: %s, labels: {expose: "true"}}, spec: {ports: [{port: %d}]}}`, name, port))
		}
		paths := func(want string) {
			t.Helper()
			sc.eventually(20*time.Second, "the Ingress leads to "+want, func() error {
				ing, err := sc.get(ingresses, "gateway")
				if err != nil {
					return err
				}
				rules, _, _ := unstructured.NestedSlice(ing.Object, "spec", "rules")
				all, _, _ := unstructured.NestedSlice(rules[0].(map[string]any), "http", "paths")
				var got []string
				for _, p := range all {
					port, _, _ := unstructured.NestedInt64(p.(map[string]any), "backend", "service", "port", "number")
					got = append(got, fmt.Sprintf("%v:%d", p.(map[string]any)["path"], port))
				}
				if s := strings.Join(got, " "); s != want {
					return fmt.Errorf("it leads to %s", s)
				}
				return nil
			})
		}
		service("cart", 80)
		paths("/cart:80")
		service("billing", 81)
		service("users", 82)
		paths("/billing:81 /cart:80 /users:82")
		sc.patch(services, "cart", `{"metadata":{"labels":{"expose":null}}}`)
		sc.delete(services, "users")
		paths("/billing:81")
		sc.delete(services, "billing")
		sc.gone(20*time.Second, ingresses, "gateway")
	})

	t.Run("pull-secrets", func(t *testing.T) {
		sc.field(serviceAccounts, "default", "[map[name:registry]]", "imagePullSecrets")
		sc.manifest(serviceAccounts, `{apiVersion: v1, kind: ServiceAccount, metadata: {name: builder}, imagePullSecrets: [{name: own}]}`)
		sc.eventually(20*time.Second, "builder may pull", func() error {
			sa, err := sc.get(serviceAccounts, "builder")
			if err != nil {
				return err
			}
			names, _, _ := unstructured.NestedSlice(sa.Object, "imagePullSecrets")
			if len(names) != 2 {
				return fmt.Errorf("imagePullSecrets are %v", names)
			}
			return nil
		})
	})
	sc.stop()
}
