package virtual

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

// immutable refuses a new value for a column that isn't the author's to set.
func (t *table) immutable(o Object, column int, v sqlite3.Value) error {
	var want string
	switch column {
	case columnAPIVersion:
		want = o.APIVersion()
	case columnKind:
		want = o.Key.Kind.Kind
	case columnNamespace:
		want = o.Namespace
	case columnName:
		want = o.Name
	case columnUID:
		want = o.UID
	case columnVersion:
		want = o.ResourceVersion
	case columnCreated:
		want = o.record.created()
	case columnDeleted:
		want = o.record.deleted()
	case columnInstance:
		want = o.Instance
	case columnKey:
		want = o.Namespace + "/" + o.Name
	case columnReady:
		want = t.readyText(o)
	case columnOwners:
		owners := o.Map()["metadata"].(map[string]any)["ownerReferences"]
		value, err := t.json(columnOwners, v)
		if err == nil && sameJSON(owners, value) {
			return nil
		}
		return t.errorf("column owners of %s can't be changed", "set object, with other ownerReferences in its metadata", t.name)
	default:
		// A field's: nobody can set it.
		return nil
	}
	if v.Type() == sqlite3.NULL && want == "" || v.Type() != sqlite3.NULL && v.Text() == want {
		return nil
	}
	return t.errorf("column %s of %s can't be changed", "labels, annotations, spec, status, data and object can", nameOfColumn(column), t.name)
}

// nameOfColumn is a column's name for people; those that are hidden have none.
func nameOfColumn(column int) string {
	if column < len(columnNames) {
		return columnNames[column]
	}
	return "(hidden)"
}

func (t *table) readyText(o Object) string {
	if fn := t.conn.store.options.Ready; fn != nil {
		if ready, known := fn(o); known && ready {
			return "1"
		} else if known {
			return "0"
		}
	}
	return ""
}

// keepIdentity gives a document that is to replace an object what says which object it is, and refuses another identity.
func (t *table) keepIdentity(o Object, was, document map[string]any) error {
	metadata, ok := document["metadata"].(map[string]any)
	if !ok {
		if document["metadata"] != nil {
			return t.errorf("metadata in column object of %s is no object", "", t.name)
		}
		metadata = map[string]any{}
		document["metadata"] = metadata
	}
	delete(metadata, "managedFields")
	old, _ := was["metadata"].(map[string]any)
	for _, part := range [...]struct {
		names     []string
		from, to  map[string]any
		path      string
		unchecked bool
	}{
		{[]string{"apiVersion", "kind"}, was, document, "", false},
		{[]string{"namespace", "name", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"}, old, metadata, "metadata.", false},
		{[]string{"generation"}, old, metadata, "metadata.", true},
	} {
		for _, name := range part.names {
			have, want := part.to[name], part.from[name]
			if have != nil && !part.unchecked && !sameJSON(have, want) {
				return t.errorf("%s%s of %s can't be changed", "it says which object it is", part.path, name, t.name)
			}
			if delete(part.to, name); want != nil {
				part.to[name] = want
			}
		}
	}
	return nil
}

// section reads a value for a section: an object, or NULL for none.
func (t *table) section(column int, v sqlite3.Value) (map[string]any, error) {
	decoded, err := t.json(column, v)
	if err != nil || decoded == nil {
		return nil, err
	}
	object, ok := decoded.(map[string]any)
	if !ok {
		return nil, t.errorf("column %s of %s must be a JSON object", "make one of it with json_set or json_object", columnNames[column], t.name)
	}
	if column == columnLabels || column == columnAnnotations {
		for _, name := range slices.Sorted(maps.Keys(object)) {
			if _, ok := object[name].(string); !ok {
				return nil, t.errorf("%s %q of %s is not a string", "numbers and booleans need quotes there", strings.TrimSuffix(columnNames[column], "s"), name, t.name)
			}
		}
	}
	return object, nil
}

func (t *table) document(v sqlite3.Value) (map[string]any, error) { return t.section(columnObject, v) }

// json decodes a value that is JSON text or JSONB.
func (t *table) json(column int, v sqlite3.Value) (decoded any, err error) {
	switch v.Type() {
	case sqlite3.NULL:
		return nil, nil
	case sqlite3.TEXT:
		decoded, err = parseJSON(v.Text())
	case sqlite3.BLOB:
		decoded, err = decode(view(v.RawBlob()))
	default:
		err = errors.New("a number")
	}
	if err != nil {
		return nil, t.errorf("column %s of %s must be JSON: %v", "make it with json_set, json_patch or json_object", columnNames[column], t.name, err)
	}
	return decoded, nil
}
