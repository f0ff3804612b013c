package specs

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
)

// InstallableCRD is a copy of the author's CRD with what Mainstay adds to every version: the status subresource, the
// schema of the status that it writes, and the columns Ready, Status and Age. What the author says about the status
// stays, except for the fields that Mainstay itself writes: with another schema for those the API server would
// refuse the status.
func (o *Operator) InstallableCRD() map[string]any {
	crd := runtime.DeepCopyJSON(o.CRD)
	delete(crd, "status") // of a CRD that was read from a cluster
	versions, _ := child(crd, "spec")["versions"].([]any)
	for _, v := range versions {
		v, ok := v.(map[string]any)
		if !ok {
			continue
		}
		child(child(v, "subresources"), "status")
		addStatus(child(child(v, "schema"), "openAPIV3Schema"))
		v["additionalPrinterColumns"] = columns(v["additionalPrinterColumns"])
	}
	return crd
}

// child is the map under a key, made if there is none.
func child(m map[string]any, key string) map[string]any {
	c, ok := m[key].(map[string]any)
	if !ok {
		c = map[string]any{}
		m[key] = c
	}
	return c
}

func addStatus(schema map[string]any) {
	if schema["type"] == nil {
		schema["type"] = "object"
	}
	status := child(child(schema, "properties"), "status")
	ours := statusSchema()
	properties := child(status, "properties")
	maps.Copy(properties, ours["properties"].(map[string]any))
	status["type"] = "object"
	if status["description"] == nil {
		status["description"] = ours["description"]
	}
	// The author's own fields can't be required: Mainstay writes the status before anyone can set them.
	delete(status, "required")
	// A schema has properties or additionalProperties, not both.
	if status["additionalProperties"] != nil {
		delete(status, "additionalProperties")
		status["x-kubernetes-preserve-unknown-fields"] = true
	}
}

// columns are the author's printer columns between Mainstay's, as in "NAME READY STATUS … AGE".
func columns(authors any) []any {
	theirs, _ := authors.([]any)
	has := func(name string) bool {
		return slices.ContainsFunc(theirs, func(c any) bool {
			m, _ := c.(map[string]any)
			n, _ := m["name"].(string)
			return strings.EqualFold(n, name)
		})
	}
	var out []any
	add := func(name, kind, path, description string) {
		if !has(name) {
			out = append(out, map[string]any{"name": name, "type": kind, "jsonPath": path, "description": description})
		}
	}
	add("Ready", "string", `.status.conditions[?(@.type=="Ready")].status`, "Whether all that was asked for is deployed and maintained")
	add("Status", "string", ".status.phase", "What Mainstay is doing with the resource")
	out = append(out, theirs...)
	add("Age", "date", ".metadata.creationTimestamp", "Time since the resource was created")
	return out
}

// statusSchema is the schema of what Mainstay writes into .status. Its names are the JSON names in package plan.
func statusSchema() map[string]any {
	command := object("A command of the deploy or undeploy list", map[string]any{
		"name":       text("Name of the command"),
		"cmd":        text("Kind of the command, e.g. helm"),
		"state":      text("Pending, Running, Retrying, Succeeded, Failed or Canceled"),
		"attempts":   integer("int32", "Attempts that were made"),
		"message":    text("What was done, or the last error"),
		"startedAt":  moment("When the first attempt began"),
		"finishedAt": moment("When the command was done or given up"),
	}, "name")
	rule := object("A rule and its last reaction", map[string]any{
		"name":       text("Name of the rule"),
		"state":      text("State of the last reaction: Pending, Running, Retrying, Succeeded, Failed, Canceled, Skipped or Looping"),
		"object":     text("Object that the rule reacted to"),
		"message":    text("What was done, or the last error"),
		"attempts":   integer("int32", "Attempts that the last reaction took"),
		"reactions":  integer("int64", "Reactions so far"),
		"finishedAt": moment("When the last reaction was done or given up"),
	}, "name")
	entry := object("An object that was applied for this resource", map[string]any{
		"apiVersion": text("API version of the object"),
		"kind":       text("Kind of the object"),
		"namespace":  text("Namespace of the object; absent for a cluster-scoped one"),
		"name":       text("Name of the object"),
	}, "apiVersion", "kind", "name")
	release := object("A Helm release of this resource", map[string]any{
		"name":      text("Name of the release"),
		"namespace": text("Namespace of the release"),
		"revision":  integer("int64", "Revision of the release"),
	}, "name", "namespace")
	condition := object("One aspect of the resource's state, by Kubernetes' conventions", map[string]any{
		"type":               text("Ready, Reconciling, Stalled or another aspect"),
		"status":             text("True, False or Unknown"),
		"reason":             text("The state in one CamelCase word, for machines"),
		"message":            text("The state in a sentence, for people"),
		"observedGeneration": integer("int64", "Generation of the resource that this is about"),
		"lastTransitionTime": moment("When status last changed"),
	}, "type", "status")
	return object("State of the resource, written by Mainstay", map[string]any{
		"observedGeneration": integer("int64", "Generation of the resource that the status is about"),
		"conditions":         keyed("Ready, Reconciling and Stalled", "type", condition),
		"phase":              text("Deploying, Ready, Stalled, Paused or Deleting"),
		"message":            text("What there is to say about the phase"),
		"commands":           keyed("Commands of the last deployment, in their order", "name", command),
		"rules":              keyed("Rules that maintain the resource", "name", rule),
		"inventory":          list("Objects that were applied, Helm's aside", entry),
		"releases":           list("Helm releases that were installed", release),
		"workflow": object("Temporal workflow that maintains the resource", map[string]any{
			"id":    text("Workflow id"),
			"runId": text("Run id"),
			"url":   text("Page of the workflow in Temporal's UI"),
		}),
		"revision": text("Revision of the operator that acts for the resource"),
	})
}

func text(description string) map[string]any {
	return map[string]any{"type": "string", "description": description}
}

func moment(description string) map[string]any {
	return map[string]any{"type": "string", "format": "date-time", "description": description}
}

func integer(format, description string) map[string]any {
	return map[string]any{"type": "integer", "format": format, "description": description}
}

func object(description string, properties map[string]any, required ...string) map[string]any {
	o := map[string]any{"type": "object", "description": description, "properties": properties}
	if len(required) > 0 {
		o["required"] = anys(required)
	}
	return o
}

// list is written as a whole.
func list(description string, item map[string]any) map[string]any {
	return map[string]any{"type": "array", "description": description, "items": item, "x-kubernetes-list-type": "atomic"}
}

// keyed is a list that is merged by the value of a key.
func keyed(description, key string, item map[string]any) map[string]any {
	return map[string]any{
		"type": "array", "description": description, "items": item,
		"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": []any{key},
	}
}

func anys(in []string) []any {
	out := make([]any, len(in))
	for i, s := range in {
		out[i] = s
	}
	return out
}
