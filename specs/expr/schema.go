package expr

import (
	"maps"
	"slices"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
)

// schemas are the types that the checker knows: CEL's own, and a struct for each object of an OpenAPI schema that has
// properties. A struct is made when an expression first reaches it, because few of a large schema's are.
type schemas struct {
	types.Provider

	mu      sync.Mutex
	objects map[string]map[string]any // by type name, their schemas
}

func newSchemas(base types.Provider) *schemas {
	return &schemas{Provider: base, objects: map[string]map[string]any{}}
}

// variables declares what the scope has.
func (s *schemas) variables(scope Scope) (names []string, options []cel.EnvOption) {
	declare := func(name string, t *types.Type) {
		names, options = append(names, name), append(options, cel.Variable(name, t))
	}
	cr := types.NewMapType(types.StringType, types.DynType)
	if scope.Schema != nil {
		cr = s.typeOf("cr", resourceSchema(scope.Schema))
	}
	declare("cr", cr)
	declare("event", s.typeOf("event", object(
		"rule", "category", "apiVersion", "kind", "namespace", "name", "uid", "key", "health", "trouble")))
	instance := object("name", "namespace", "label")
	properties(instance)["releases"] = map[string]any{"type": "object", "additionalProperties": text}
	declare("instance", s.typeOf("instance", instance))
	if scope.Object {
		declare("object", types.NewMapType(types.StringType, types.DynType))
	}
	if scope.Rows {
		declare("rows", types.NewListType(types.NewMapType(types.StringType, types.DynType)))
	}
	return names, options
}

// typeOf is the type of what a schema describes, under a path. What a schema leaves open is dyn, and so are numbers:
// JSON writes the same one as 1 and as 1.0.
func (s *schemas) typeOf(path string, schema map[string]any) *types.Type {
	is := func(key string) bool { b, _ := schema[key].(bool); return b }
	if is("x-kubernetes-int-or-string") || is("x-kubernetes-preserve-unknown-fields") || is("x-kubernetes-embedded-resource") {
		return types.DynType
	}
	var t *types.Type
	switch schema["type"] {
	case "object":
		if len(properties(schema)) > 0 {
			return s.object(path, schema) // may be compared with null whether nullable or not
		}
		items, ok := schema["additionalProperties"].(map[string]any)
		if !ok {
			return types.DynType
		}
		t = types.NewMapType(types.StringType, s.typeOf(path+"{}", items))
	case "array":
		items, ok := schema["items"].(map[string]any)
		if !ok {
			return types.DynType
		}
		t = types.NewListType(s.typeOf(path+"[]", items))
	case "string":
		t = types.StringType
	case "integer":
		t = types.IntType
	case "boolean":
		t = types.BoolType
	default:
		return types.DynType
	}
	if is("nullable") {
		return types.DynType
	}
	return t
}

// object makes a struct. Its name is no identifier, because the checker would take cr.spec for the name of a type.
func (s *schemas) object(path string, schema map[string]any) *types.Type {
	name := "<" + path + ">"
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[name] = schema
	return types.NewObjectType(name)
}

func (s *schemas) schema(name string) (map[string]any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	schema, ok := s.objects[name]
	return schema, ok
}

// FindStructType implements types.Provider.
func (s *schemas) FindStructType(name string) (*types.Type, bool) {
	if _, ok := s.schema(name); ok {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return s.Provider.FindStructType(name)
}

// FindStructFieldNames implements types.Provider.
func (s *schemas) FindStructFieldNames(name string) ([]string, bool) {
	if schema, ok := s.schema(name); ok {
		return slices.Sorted(maps.Keys(properties(schema))), true
	}
	return s.Provider.FindStructFieldNames(name)
}

// FindStructFieldType implements types.Provider. The field gets no accessors: its value is in a map.
func (s *schemas) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	schema, ok := s.schema(name)
	if !ok {
		return s.Provider.FindStructFieldType(name, field)
	}
	property, ok := properties(schema)[field].(map[string]any)
	if !ok {
		return nil, false
	}
	return &types.FieldType{Type: s.typeOf(name[1:len(name)-1]+"."+field, property)}, true
}

// fields are the names of all fields of the structs that the expression has reached.
func (s *schemas) fields() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, schema := range s.objects {
		out = slices.AppendSeq(out, maps.Keys(properties(schema)))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func properties(schema map[string]any) map[string]any {
	p, _ := schema["properties"].(map[string]any)
	return p
}

var text = map[string]any{"type": "string"}

func object(texts ...string) map[string]any {
	p := map[string]any{}
	for _, name := range texts {
		p[name] = text
	}
	return map[string]any{"type": "object", "properties": p}
}

// resourceSchema is a resource's schema with the fields that every object has and no author's schema describes.
func resourceSchema(authors map[string]any) map[string]any {
	meta := object("name", "generateName", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "selfLink")
	texts := map[string]any{"type": "object", "additionalProperties": text}
	p := properties(meta)
	p["labels"], p["annotations"] = texts, texts
	p["generation"], p["deletionGracePeriodSeconds"] = map[string]any{"type": "integer"}, map[string]any{"type": "integer"}
	p["finalizers"] = map[string]any{"type": "array", "items": text}
	owner := object("apiVersion", "kind", "name", "uid")
	properties(owner)["controller"], properties(owner)["blockOwnerDeletion"] = map[string]any{"type": "boolean"}, map[string]any{"type": "boolean"}
	p["ownerReferences"] = map[string]any{"type": "array", "items": owner}
	all := maps.Clone(properties(authors))
	if all == nil {
		all = map[string]any{}
	}
	all["apiVersion"], all["kind"], all["metadata"] = text, text, meta
	// A schema that says nothing of spec leaves it open.
	for _, section := range []string{"spec", "status"} {
		if all[section] == nil && len(properties(authors)) == 0 {
			all[section] = map[string]any{}
		}
	}
	return map[string]any{
		"type": "object", "properties": all,
		"x-kubernetes-preserve-unknown-fields": authors["x-kubernetes-preserve-unknown-fields"],
	}
}
