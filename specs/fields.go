package specs

import (
	"maps"
	"slices"
	"strings"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// tops are the fields at the top of built-in kinds beside apiVersion, kind and metadata; "" are those of most.
var tops = map[string]string{
	"":                   "spec status",
	"ConfigMap":          "data binaryData immutable",
	"Secret":             "data immutable type",
	"Endpoints":          "subsets",
	"Role":               "rules",
	"PodTemplate":        "template",
	"ServiceAccount":     "secrets imagePullSecrets automountServiceAccountToken",
	"EndpointSlice":      "addressType endpoints ports",
	"ClusterRole":        "rules aggregationRule",
	"RoleBinding":        "roleRef subjects",
	"ClusterRoleBinding": "roleRef subjects",
	"ControllerRevision": "data revision",
}

// mostly are the built-in kinds whose fields are those of most.
const mostly = " Pod Service Node Namespace PersistentVolume PersistentVolumeClaim ReplicationController ResourceQuota Deployment " +
	"StatefulSet DaemonSet ReplicaSet Job CronJob HorizontalPodAutoscaler Ingress NetworkPolicy PodDisruptionBudget Lease " +
	"LimitRange IngressClass CustomResourceDefinition APIService "

// topLevel are the fields at the top of a kind's objects; nil: they aren't known.
func topLevel(kind virtual.Kind) []string {
	if !slices.ContainsFunc(virtual.BuiltIn(), func(r virtual.Resource) bool { return r.Group == kind.Group && r.Kind.Kind == kind.Kind }) {
		return nil
	}
	own, ok := tops[kind.Kind]
	if !ok {
		if !strings.Contains(mostly, " "+kind.Kind+" ") {
			return nil
		}
		own = tops[""]
	}
	return append([]string{"metadata"}, strings.Fields(own)...)
}

// schemaOf is the schema of a version of a CRD.
func schemaOf(crd map[string]any, version string) map[string]any {
	spec, _ := crd["spec"].(map[string]any)
	versions, _ := spec["versions"].([]any)
	for _, v := range versions {
		if v, ok := v.(map[string]any); ok && v["name"] == version {
			schema, _ := v["schema"].(map[string]any)
			schema, _ = schema["openAPIV3Schema"].(map[string]any)
			return schema
		}
	}
	return nil
}

// topOf are the fields at the top of what a schema describes; nil: any.
func topOf(schema map[string]any) []string {
	if open(schema) {
		return nil
	}
	properties, _ := schema["properties"].(map[string]any)
	top := slices.Sorted(maps.Keys(properties))
	top = slices.DeleteFunc(top, func(s string) bool { return s == "apiVersion" || s == "kind" || s == "metadata" })
	return append([]string{"metadata"}, top...)
}

// open tells whether a schema leaves the fields to whoever writes them.
func open(schema map[string]any) bool {
	return schema["x-kubernetes-preserve-unknown-fields"] == true || schema["x-kubernetes-embedded-resource"] == true ||
		schema["x-kubernetes-int-or-string"] == true
}

// unknownField follows a path through a schema until a name isn't there: above is the path before it, known are the
// names in its place. It is "" if the path leads somewhere.
func unknownField(schema map[string]any, p virtual.Path) (above, name string, known []string) {
	for i, name := range p {
		if open(schema) {
			return "", "", nil
		}
		properties, _ := schema["properties"].(map[string]any)
		next, ok := properties[name].(map[string]any)
		if !ok {
			// A schema has properties or additionalProperties, not both. A list has neither: it is named as a whole.
			if next, ok = schema["additionalProperties"].(map[string]any); !ok {
				if schema["additionalProperties"] == true || len(properties) == 0 && schema["type"] == "object" {
					return "", "", nil
				}
				return strings.Join(p[:i], "."), name, slices.Sorted(maps.Keys(properties))
			}
		}
		schema = next
	}
	return "", "", nil
}
