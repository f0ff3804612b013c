package library_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/yaml"

	"github.com/mainstay-dev/mainstay/specs"
	"github.com/mainstay-dev/mainstay/specs/library"
	"github.com/mainstay-dev/mainstay/specs/render"
)

// TestEmbedded: what is shipped is the folder, hidden files and names with an underscore too.
func TestEmbedded(t *testing.T) {
	if diff := cmp.Diff(walk(t, os.DirFS(".")), walk(t, library.FS)); diff != "" {
		t.Errorf("files (-on disk +embedded):\n%s", diff)
	}
}

func walk(t *testing.T, fsys fs.FS) (files []string) {
	t.Helper()
	err := fs.WalkDir(fsys, "vvp", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestLoads: every operator of the library is free of mistakes.
func TestLoads(t *testing.T) {
	ops, err := specs.LoadAll(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(ops) == 0 {
		t.Fatal("no operator")
	}
}

func vvp(t *testing.T) *specs.Operator {
	t.Helper()
	op, err := specs.Load("vvp")
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func rendered(t *testing.T, op *specs.Operator, file string, vars map[string]any) string {
	t.Helper()
	run, _ := render.Engine(render.ForFile(file, render.Pongo2))
	out, err := run(context.Background(), render.Template{Name: file, Text: op.Files[file]}, vars)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := yaml.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m
}

func resource(t *testing.T, spec string) map[string]any {
	return map[string]any{
		"apiVersion": "ververica.mainstay.dev/v1alpha1", "kind": "VervericaPlatform",
		"metadata": map[string]any{"name": "demo", "namespace": "default"}, "spec": parse(t, spec),
	}
}

func TestValues(t *testing.T) {
	op := vvp(t)
	for name, c := range map[string]struct{ spec, want string }{
		"nothing": {`{}`, `{"image":{"repository":"ververica/vvp-appmanager","tag":"2.14.0"},"service":{"type":"ClusterIP","port":80},
			"ingress":{"enabled":true,"className":"","host":""}}`},
		"all": {`{image: a/b, version: "2.10", port: 8080, serviceType: LoadBalancer, resources: {limits: {cpu: 1.5, memory: 1Gi}},
			config: {a: {b: "x: y", c: [1, true]}}, ingress: {enabled: false, host: a.example.com, className: nginx}}`,
			`{"image":{"repository":"a/b","tag":"2.10"},"service":{"type":"LoadBalancer","port":8080},
			"resources":{"limits":{"cpu":1.5,"memory":"1Gi"}},"config":{"a":{"b":"x: y","c":[1,true]}},
			"ingress":{"enabled":false,"className":"nginx","host":"a.example.com"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			got := parse(t, rendered(t, op, "vvp/values.yaml", map[string]any{"cr": resource(t, c.spec)}))
			if diff := cmp.Diff(parse(t, c.want), got); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
		})
	}
}

// objects renders the chart as a release, by kind.
func objects(t *testing.T, release, spec string) map[string]string {
	t.Helper()
	op := vvp(t)
	chart, err := loader.Load(op.Chart("vvp/vvp"))
	if err != nil {
		t.Fatal(err)
	}
	values := parse(t, rendered(t, op, "vvp/values.yaml", map[string]any{"cr": resource(t, spec)}))
	all, err := chartutil.ToRenderValues(chart, values, chartutil.ReleaseOptions{Name: release, Namespace: "default", Revision: 1, IsInstall: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Engine{Strict: true}.Render(chart, all)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for name, text := range files {
		if strings.HasSuffix(name, ".yaml") && strings.TrimSpace(text) != "" {
			kind, _ := parse(t, text)["kind"].(string)
			out[kind] = text
		}
	}
	return out
}

func strict[T any](t *testing.T, text string) *T {
	t.Helper()
	out := new(T)
	if err := yaml.UnmarshalStrict([]byte(text), out); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return out
}

// TestChart: every object is what Kubernetes knows, field by field.
func TestChart(t *testing.T) {
	o := objects(t, "demo-vvp", `{resources: {requests: {cpu: 100m}}, config: {a: {b: 1}}, port: 8081, ingress: {host: a.example.com}}`)
	if diff := cmp.Diff([]string{"ConfigMap", "Deployment", "Ingress", "Service", "ServiceAccount"}, slices.Sorted(maps.Keys(o))); diff != "" {
		t.Fatalf("kinds (-want +got):\n%s", diff)
	}
	strict[corev1.ServiceAccount](t, o["ServiceAccount"])
	if cm := strict[corev1.ConfigMap](t, o["ConfigMap"]); cm.Data["application.yaml"] != "a:\n  b: 1\n" {
		t.Errorf("configuration %q", cm.Data["application.yaml"])
	}
	d := strict[appsv1.Deployment](t, o["Deployment"])
	if *d.Spec.Replicas != 1 || d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		t.Errorf("replicas %d, strategy %s", *d.Spec.Replicas, d.Spec.Strategy.Type)
	}
	s := strict[corev1.Service](t, o["Service"])
	if s.Spec.Ports[0].Port != 8081 || s.Spec.Ports[0].TargetPort.IntVal != d.Spec.Template.Spec.Containers[0].Ports[0].ContainerPort {
		t.Errorf("ports %+v", s.Spec.Ports)
	}
	for k, v := range s.Spec.Selector {
		if d.Spec.Template.Labels[k] != v || d.Spec.Selector.MatchLabels[k] != v {
			t.Errorf("the Service selects %s=%s, which the pods don't have", k, v)
		}
	}
	i := strict[networkingv1.Ingress](t, o["Ingress"])
	if i.Spec.Rules != nil || i.Spec.DefaultBackend == nil || i.Spec.DefaultBackend.Service.Name != "demo-vvp-pending" {
		t.Errorf("the Ingress is not a valid unfinished one: %+v", i.Spec)
	}
	if _, ok := objects(t, "demo-vvp", `{ingress: {enabled: false}}`)["Ingress"]; ok {
		t.Error("there is an Ingress that nobody wants")
	}
}

// TestNames: two releases share no name, and every name is one that Kubernetes takes for a Service.
func TestNames(t *testing.T) {
	seen := map[string]string{}
	for _, release := range []string{"demo-vvp", "demo2-vvp", "a.b", "a-b", "1a", "vvp-1a", strings.Repeat("x", 53), strings.Repeat("9", 53)} {
		name := strict[corev1.Service](t, objects(t, release, `{}`)["Service"]).Name
		if other, ok := seen[name]; ok {
			t.Errorf("the releases %s and %s are both named %s", release, other, name)
		}
		seen[name] = release
		if len(name) > 63 || strings.Contains(name, ".") || name[0] < 'a' || name[0] > 'z' {
			t.Errorf("release %s: %q is no Service's name", release, name)
		}
	}
}

// service is the chart's Service as a rule sees it, changed by a merge patch.
func service(t *testing.T, release, spec, change string) map[string]any {
	t.Helper()
	s, err := json.Marshal(parse(t, objects(t, release, spec)["Service"]))
	if err != nil {
		t.Fatal(err)
	}
	c, err := json.Marshal(parse(t, change))
	if err != nil {
		t.Fatal(err)
	}
	out, err := strategicpatch.StrategicMergePatch(s, c, corev1.Service{})
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(out))
}

func patch(t *testing.T, spec string, object map[string]any) string {
	return strings.TrimSpace(rendered(t, vvp(t), "ingressUpdate.yaml", map[string]any{
		"cr": resource(t, spec), "object": object,
		"instance": map[string]any{"name": "demo", "namespace": "default", "releases": map[string]any{"vvp": "demo-vvp"}},
	}))
}

func TestIngressFollowsService(t *testing.T) {
	for name, c := range map[string]struct{ spec, change, host, port string }{
		"as installed":    {`{}`, `{}`, "", "80"},
		"another port":    {`{}`, `{spec: {ports: [{$patch: replace}, {port: 9090}]}}`, "", "9090"},
		"LB pending":      {`{serviceType: LoadBalancer}`, `{status: {loadBalancer: {}}}`, "", "80"},
		"LB with a name":  {`{}`, `{status: {loadBalancer: {ingress: [{hostname: lb.example.com}]}}}`, "lb.example.com", "80"},
		"LB with IPv4":    {`{}`, `{status: {loadBalancer: {ingress: [{ip: 10.0.0.7}]}}}`, "demo-vvp.10.0.0.7.nip.io", "80"},
		"LB with IPv6":    {`{}`, `{status: {loadBalancer: {ingress: [{ip: "fd00::7"}]}}}`, "", "80"},
		"a host is given": {`{ingress: {host: a.example.com}}`, `{status: {loadBalancer: {ingress: [{ip: 10.0.0.7}]}}}`, "a.example.com", "80"},
	} {
		t.Run(name, func(t *testing.T) {
			got := strict[networkingv1.Ingress](t, patch(t, c.spec, service(t, "demo-vvp", c.spec, c.change)))
			backend := `{"service":{"name":"demo-vvp","port":{"number":` + c.port + `}}}`
			host := ""
			if c.host != "" {
				host = `"host":"` + c.host + `",`
			}
			want := strict[networkingv1.Ingress](t, `{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"demo-vvp","namespace":"default"},
				"spec":{"rules":[{`+host+`"http":{"paths":[{"path":"/","pathType":"Prefix","backend":`+backend+`}]}}]}}`)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("patch (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOthersDontMatter: a Service that isn't the UI's, or another resource's, is nothing to this resource's Ingress.
func TestOthersDontMatter(t *testing.T) {
	for name, object := range map[string]map[string]any{
		"another resource's": service(t, "other-vvp", `{}`, `{}`),
		"another component":  service(t, "demo-vvp", `{}`, `{metadata: {labels: {app.kubernetes.io/component: db}}}`),
		"another app":        service(t, "demo-vvp", `{}`, `{metadata: {labels: {app.kubernetes.io/name: db}}}`),
		"no labels":          service(t, "demo-vvp", `{}`, `{metadata: {labels: null}}`),
		"no ports":           service(t, "demo-vvp", `{}`, `{spec: {ports: null}}`),
	} {
		if got := patch(t, `{}`, object); got != "" {
			t.Errorf("%s Service renders\n%s", name, got)
		}
	}
	if got := patch(t, `{ingress: {enabled: false}}`, service(t, "demo-vvp", `{}`, `{}`)); got != "" {
		t.Errorf("an Ingress that isn't there is patched:\n%s", got)
	}
}

// TestUpgradeKeepsRules: Helm's three-way merge leaves what the rule wrote.
func TestUpgradeKeepsRules(t *testing.T) {
	toJSON := func(text string) []byte {
		b, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	installed := toJSON(objects(t, "demo-vvp", `{}`)["Ingress"])
	upgraded := toJSON(objects(t, "demo-vvp", `{version: 2.15.0, ingress: {className: nginx}}`)["Ingress"])
	if bytes.Equal(installed, upgraded) {
		t.Fatal("the upgrade changes nothing")
	}
	live, err := strategicpatch.StrategicMergePatch(installed, toJSON(patch(t, `{}`, service(t, "demo-vvp", `{}`, `{}`))), networkingv1.Ingress{})
	if err != nil {
		t.Fatal(err)
	}
	meta, err := strategicpatch.NewPatchMetaFromStruct(networkingv1.Ingress{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := strategicpatch.CreateThreeWayMergePatch(installed, upgraded, live, meta, true)
	if err != nil {
		t.Fatal(err)
	}
	after, err := strategicpatch.StrategicMergePatch(live, p, networkingv1.Ingress{})
	if err != nil {
		t.Fatal(err)
	}
	i := strict[networkingv1.Ingress](t, string(after))
	if len(i.Spec.Rules) != 1 || i.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Name != "demo-vvp" {
		t.Errorf("the upgrade undid the rule's patch: %s", after)
	}
	if i.Spec.IngressClassName == nil || *i.Spec.IngressClassName != "nginx" {
		t.Errorf("the upgrade did not come through: %s", after)
	}
}

// TestExample: the example has only keys that the definition has.
func TestExample(t *testing.T) {
	op := vvp(t)
	example := parse(t, op.Files["example.yaml"])
	if example["apiVersion"] != op.Plan.Resource.APIVersion() || example["kind"] != op.Plan.Resource.Kind {
		t.Errorf("the example is a %v %v", example["apiVersion"], example["kind"])
	}
	if _, err := os.Stat(filepath.Join("vvp", "README.md")); err != nil {
		t.Error(err)
	}
	schema := parse(t, op.Files["crd.yaml"])["spec"].(map[string]any)["versions"].([]any)[0].(map[string]any)["schema"].(map[string]any)
	known := schema["openAPIV3Schema"].(map[string]any)["properties"].(map[string]any)["spec"].(map[string]any)["properties"].(map[string]any)
	for key := range example["spec"].(map[string]any) {
		if known[key] == nil {
			t.Errorf("the definition has no spec.%s", key)
		}
	}
}
