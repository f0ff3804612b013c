package activities

import (
	"encoding/json"
	"fmt"

	"helm.sh/helm/v3/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/resource"
)

// maxRepairs bounds how many rounds of repairs one update gets.
const maxRepairs = 3

// Update implements kube.Interface: Helm's update, which also gets over drift that its patch can't express.
//
// Helm merges old manifest, new manifest and live object. Lists with merge keys are merged by entry, and an entry that
// somebody else changed counts as theirs: a Service whose port was changed by hand gets the chart's port back *beside*
// the other, and the API server refuses two ports of one name. Every further upgrade then fails until a person
// undoes the change. So an object whose patch was refused as invalid is first brought to its new manifest by a JSON
// merge patch, which replaces lists as a whole and leaves fields that the manifest doesn't state; then Helm's own patch
// finds nothing left to merge. If the manifest itself is at fault, the API server refuses that as well and
// nothing has happened.
func (o *objects) Update(original, target kube.ResourceList, force bool) (*kube.Result, error) {
	repaired := map[string]bool{}
	for round := 0; ; round++ {
		result, err := o.Client.Update(original, target, force)
		if err == nil || round == maxRepairs || !o.repair(target, repaired) {
			return result, err
		}
	}
}

// repair brings the objects whose patches were refused as invalid to their manifests, each once, and tells whether it
// could do so for all of them.
func (o *objects) repair(target kube.ResourceList, repaired map[string]bool) bool {
	repairs := 0
	for _, r := range o.rec.all() {
		if r.request.Verb != "patch" || !apierrors.IsInvalid(r.err) {
			return false // Helm's error has other reasons, too
		}
		info := find(target, r.request)
		if info == nil {
			return false
		}
		key := fmt.Sprintf("%s/%s/%s", info.Mapping.Resource.String(), info.Namespace, info.Name)
		if repaired[key] {
			return false
		}
		if err := replace(info); err != nil {
			return false // Helm's own error says more
		}
		repaired[key] = true
		repairs++
	}
	if repairs > 0 {
		o.rec.reset()
	}
	return repairs > 0
}

func find(list kube.ResourceList, what access) *resource.Info {
	for _, info := range list {
		if info.Name == what.Name && info.Namespace == what.Namespace && info.Mapping.Resource.Resource == what.Resource &&
			info.Mapping.Resource.Group == what.Group {
			return info
		}
	}
	return nil
}

// replace merges an object's manifest into the live object.
func replace(info *resource.Info) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(info.Object)
	if err != nil {
		return err
	}
	unstructured.RemoveNestedField(content, "status")
	unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
	body, err := json.Marshal(content)
	if err != nil {
		return err
	}
	_, err = resource.NewHelper(info.Client, info.Mapping).WithFieldManager(fieldManager).
		WithFieldValidation(metav1.FieldValidationStrict).Patch(info.Namespace, info.Name, types.MergePatchType, body, nil)
	return err
}
