package specs_test

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

const rich = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  names: {plural: widgets, kind: Widget}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      additionalPrinterColumns:
        - {name: STATUS, type: string, jsonPath: .status.url}
        - {name: Size, type: integer, jsonPath: .spec.size}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {type: object, properties: {size: {type: integer, maximum: 65535}}}
            status:
              type: object
              description: the author's
              required: [url]
              properties:
                url: {type: string}
                phase: {type: string, enum: [Up]}
    - name: v1beta1
      served: true
      storage: false
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
    - name: v1alpha1
      served: true
      storage: false
      schema: {openAPIV3Schema: {type: object, properties: {status: {type: object, additionalProperties: {type: string}}}}}
`

// installable loads a CRD and returns what would be installed, strictly decoded as the API server would.
func installable(t *testing.T, crd string) apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	op := load(t, folder(t, t.TempDir(), map[string]string{"crd.yaml": crd}))
	before := runtime.DeepCopyJSON(op.CRD)
	b, err := json.Marshal(op.InstallableCRD())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, op.CRD); diff != "" {
		t.Errorf("the author's CRD was changed:\n%s", diff)
	}
	var out apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(b, &out); err != nil {
		t.Fatal(err)
	}
	for _, v := range out.Spec.Versions {
		var internal apiextensions.JSONSchemaProps
		if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.Schema.OpenAPIV3Schema, &internal, nil); err != nil {
			t.Fatal(err)
		}
		structural, err := schema.NewStructural(&internal)
		if err != nil {
			t.Fatalf("version %s: %v", v.Name, err)
		}
		if errs := schema.ValidateStructural(nil, structural); len(errs) > 0 {
			t.Errorf("version %s is no structural schema: %v", v.Name, errs)
		}
	}
	return out
}

func TestInstallableCRD(t *testing.T) {
	crd := installable(t, rich)
	var columns []string
	for _, c := range crd.Spec.Versions[0].AdditionalPrinterColumns {
		columns = append(columns, c.Name+" "+c.JSONPath)
	}
	// The author's STATUS stands for ours.
	if diff := cmp.Diff([]string{
		`Ready .status.conditions[?(@.type=="Ready")].status`, "STATUS .status.url", "Size .spec.size", "Age .metadata.creationTimestamp",
	}, columns); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	for _, v := range crd.Spec.Versions {
		if v.Subresources == nil || v.Subresources.Status == nil {
			t.Errorf("version %s has no status subresource", v.Name)
		}
		if len(v.AdditionalPrinterColumns) < 3 {
			t.Errorf("version %s has the columns %v", v.Name, v.AdditionalPrinterColumns)
		}
		if v.Schema.OpenAPIV3Schema.Properties["status"].Properties["conditions"].Type != "array" {
			t.Errorf("version %s has no schema of the status", v.Name)
		}
	}
	status := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["status"]
	if status.Description != "the author's" || status.Properties["url"].Type != "string" {
		t.Error("the author's own part of the status is lost")
	}
	if len(status.Required) > 0 || len(status.Properties["phase"].Enum) > 0 {
		t.Error("the author's schema would refuse the status that Mainstay writes")
	}
	if p := crd.Spec.Versions[1].Schema.OpenAPIV3Schema.XPreserveUnknownFields; p == nil || !*p {
		t.Error("x-kubernetes-preserve-unknown-fields is lost")
	}
	if got := *crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties["size"].Maximum; got != 65535 {
		t.Errorf("maximum is %v", got)
	}
}

// TestLibraryCRD: what the library ships is a structural schema too.
func TestLibraryCRD(t *testing.T) {
	crd, err := os.ReadFile("library/vvp/crd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	installable(t, string(crd))
}

// TestStatusSchema: the schema has every field that package plan writes into the status, and no other.
func TestStatusSchema(t *testing.T) {
	crd := installable(t, widgets)
	status := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["status"]
	fields := func(of string) []string {
		s := status.Properties[of]
		if s.Items != nil {
			s = *s.Items.Schema
		}
		var out []string
		for name, p := range s.Properties {
			out = append(out, name)
			if p.Description == "" {
				t.Errorf("%s.%s has no description", of, name)
			}
		}
		slices.Sort(out)
		return out
	}
	for of, v := range map[string]any{
		"commands": plan.CommandStatus{}, "rules": plan.RuleStatus{}, "inventory": plan.ObjectRef{}, "releases": plan.Release{},
	} {
		var want []string
		for f := range reflect.TypeOf(v).Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			want = append(want, name)
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, fields(of)); diff != "" {
			t.Errorf("%s (-plan +schema):\n%s", of, diff)
		}
	}
	if diff := cmp.Diff([]string{"id", "runId", "url"}, fields("workflow")); diff != "" {
		t.Errorf("workflow (-want +got):\n%s", diff)
	}
	var all []string
	for name := range status.Properties {
		all = append(all, name)
	}
	slices.Sort(all)
	if diff := cmp.Diff([]string{"commands", "conditions", "inventory", "message", "observedGeneration", "phase", "releases", "revision", "rules", "workflow"}, all); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if k := status.Properties["conditions"].XListMapKeys; len(k) != 1 || k[0] != "type" {
		t.Errorf("conditions are keyed by %v", k)
	}
}
