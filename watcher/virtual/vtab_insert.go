package virtual

import (
	"fmt"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

// insert notes an object that is to be created.
func (t *table) insert(columns []sqlite3.Value) error {
	// This is asked first: other calls of SQLite's would make it forget.
	mode := t.conn.db.VTabOnConflict()
	if mode == sqlite3.VTAB_REPLACE {
		return t.errorf("INSERT OR REPLACE isn't available", "use UPDATE, or INSERT OR IGNORE")
	}
	object, err := t.newObject(columns)
	if err != nil {
		return err
	}
	metadata := object["metadata"].(map[string]any)
	namespace, _ := metadata["namespace"].(string)
	name, _ := metadata["name"].(string)
	key := Key{Kind: t.resource.Kind, Namespace: namespace, Name: name}
	at := t.resource.Table() + sep + namespace + sep + name
	if t.conn.write.rows[at] != nil {
		if mode == sqlite3.VTAB_IGNORE {
			return nil
		}
		return t.errorf("%s is inserted twice", "use SELECT DISTINCT, or GROUP BY", key)
	}
	if there, ok := t.conn.view.record(spaceObject + tail(t.rows().id, namespace, name)); ok {
		// A statement that is run again, after a crash, finds what it has made.
		if mode == sqlite3.VTAB_IGNORE || hasJSON(there.object(key).Map(), object) {
			return nil
		}
		return &ExistsError{Table: t.resource.Table(), Key: key}
	}
	after, err := Encode(object)
	if err != nil {
		return err
	}
	t.conn.write.rows[at] = &RowChange{
		Op: OpInsert, Resource: t.resource, Key: key, After: after, Status: object["status"] != nil,
	}
	return nil
}

// newObject puts an object together of a new row's columns.
func (t *table) newObject(columns []sqlite3.Value) (map[string]any, error) {
	object := map[string]any{}
	if v := columns[columnObject]; v.Type() != sqlite3.NULL {
		document, err := t.document(v)
		if err != nil {
			return nil, err
		}
		object = document
	}
	metadata, ok := object["metadata"].(map[string]any)
	if !ok {
		if object["metadata"] != nil {
			return nil, t.errorf("metadata in column object of %s is no object", "", t.name)
		}
		metadata = map[string]any{}
		object["metadata"] = metadata
	}
	// A copy of another object is a new one.
	for _, name := range [...]string{"managedFields", "uid", "resourceVersion", "creationTimestamp", "generation", "selfLink"} {
		delete(metadata, name)
	}
	for i, v := range columns {
		if v.Type() == sqlite3.NULL || i == columnObject {
			continue
		}
		member, isSection := sectionMembers[i]
		if isSection {
			value, err := t.section(i, v)
			if err != nil {
				return nil, err
			}
			to := object
			if member.metadata {
				to = metadata
			}
			to[member.name] = value
			continue
		}
		var to map[string]any
		var name string
		switch i {
		case columnAPIVersion:
			to, name = object, "apiVersion"
		case columnKind:
			to, name = object, "kind"
		case columnNamespace:
			to, name = metadata, "namespace"
		case columnName:
			to, name = metadata, "name"
		default:
			return nil, t.errorf("column %s of %s can't be set by INSERT", "namespace, name, labels, annotations, spec, status, data and object can", nameOfColumn(i), t.name)
		}
		if have, ok := to[name].(string); ok && have != v.Text() {
			return nil, t.errorf("column %s is %q, but in the column object it is %q", "leave one of them out", columnNames[i], v.Text(), have)
		}
		to[name] = v.Text()
	}
	return object, t.complete(object, metadata)
}

// complete gives a new object what the table implies, and says what is missing.
func (t *table) complete(object, metadata map[string]any) error {
	for name, want := range map[string]string{"apiVersion": t.resource.APIVersion(), "kind": t.resource.Kind.Kind} {
		if have := object[name]; have != nil && have != want {
			return t.errorf("%s of what is inserted into %s is %v, not %s", "insert it into the table of its kind", name, t.name, have, want)
		}
		object[name] = want
	}
	if name, _ := metadata["name"].(string); name == "" {
		return t.errorf("what is inserted into %s has no name", "set the column name", t.name)
	}
	namespace, _ := metadata["namespace"].(string)
	switch {
	case t.resource.Namespaced && namespace == "":
		return t.errorf("what is inserted into %s has no namespace", "set the column namespace", t.name)
	case !t.resource.Namespaced && namespace != "":
		return t.errorf("%s belong to no namespace", "leave the column namespace out", t.name)
	}
	for _, name := range [...]string{"namespace", "name"} {
		if s := fmt.Sprint(metadata[name]); strings.ContainsAny(s, "/\x00") {
			return t.errorf("%s %q holds a character that no name may", "", name, s)
		}
	}
	return nil
}
