package virtual

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

// writing is what a statement wants to write.
type writing struct {
	most int
	rows map[string]*RowChange // by table and key
}

// sectionMembers are the members of an object that columns set, and whether these are metadata's.
var sectionMembers = map[int]struct {
	name     string
	metadata bool
}{
	columnLabels: {"labels", true}, columnAnnotations: {"annotations", true},
	columnSpec: {"spec", false}, columnStatus: {"status", false}, columnData: {"data", false},
}

// Update notes the change of a row. It writes nothing.
func (t *table) Update(args ...sqlite3.Value) (_ int64, err error) {
	defer outOfMemory(&err)
	c := t.conn
	if c.write == nil {
		return 0, sqlite3.READONLY
	}
	switch {
	case len(args) == 1:
		err = t.delete(args[0].Text())
	case args[0].Type() == sqlite3.NULL:
		err = t.insert(args[2:])
	default:
		err = t.update(args[0].Text(), args[2:])
	}
	if err == nil && len(c.write.rows) > c.write.most {
		err = &LimitError{"changes", c.write.most}
	}
	if err != nil {
		return 0, c.fail(err)
	}
	return 0, nil
}

// row is the object of a key column.
func (t *table) row(key string) (Object, error) {
	namespace, name, _ := strings.Cut(key, "/")
	at := spaceObject + tail(t.rows().id, namespace, name)
	r, ok := t.conn.view.record(at)
	if !ok {
		return Object{}, fmt.Errorf("%s %q isn't in the snapshot that the statement reads", t.name, key)
	}
	return r.object(Key{Kind: t.resource.Kind, Namespace: namespace, Name: name}), nil
}

// change is the row's change so far.
func (t *table) change(op string, o Object) *RowChange {
	at := t.resource.Table() + sep + o.Namespace + sep + o.Name
	c := t.conn.write.rows[at]
	if c == nil {
		c = &RowChange{
			Op: op, Resource: t.resource, Key: o.Key, UID: o.UID, ResourceVersion: o.ResourceVersion, Before: o.JSON(),
		}
		t.conn.write.rows[at] = c
	}
	return c
}

func (t *table) delete(key string) error {
	o, err := t.row(key)
	if err != nil {
		return err
	}
	c := t.change(OpDelete, o)
	c.Op, c.After, c.Status = OpDelete, nil, false
	return nil
}

func (t *table) update(key string, columns []sqlite3.Value) error {
	o, err := t.row(key)
	if err != nil {
		return err
	}
	was := o.Map()
	now := shallow(was)
	at := t.resource.Table() + sep + o.Namespace + sep + o.Name
	before := t.conn.write.rows[at]
	if before != nil {
		if before.Op == OpDelete {
			return nil
		}
		// The row was set before in this statement: both stand.
		if v, err := parseJSON(string(before.After)); err == nil {
			now, _ = v.(map[string]any)
		}
	}
	whole, sections, err := t.set(o, was, now, columns)
	if err != nil || !whole && !sections {
		return err
	}
	after, err := Encode(now)
	if err != nil {
		return err
	}
	c := t.change(OpUpdate, o)
	c.After = after
	c.Status = !sameJSON(was["status"], now["status"])
	return nil
}

// shallow copies what a row may set: the members of an object and of its metadata.
func shallow(object map[string]any) map[string]any {
	object = maps.Clone(object)
	if metadata, ok := object["metadata"].(map[string]any); ok {
		object["metadata"] = maps.Clone(metadata)
	}
	return object
}

// set puts the columns of a row into its object, and says what has changed by the column object and by sections.
func (t *table) set(o Object, was, now map[string]any, columns []sqlite3.Value) (whole, sections bool, err error) {
	metadata, _ := now["metadata"].(map[string]any)
	for i, v := range columns {
		if v.NoChange() {
			continue
		}
		member, isSection := sectionMembers[i]
		switch {
		case i == columnObject:
			document, err := t.document(v)
			if err != nil {
				return false, false, err
			}
			if document == nil {
				return false, false, t.errorf("column object of %s can't be NULL", "use DELETE to delete", t.name)
			}
			if err := t.keepIdentity(o, was, document); err != nil {
				return false, false, err
			}
			if sameJSON(was, document) {
				continue
			}
			if sections {
				return false, false, t.errorf("both object and a section of it are set", "set one of them")
			}
			whole = true
			maps.DeleteFunc(now, func(name string, _ any) bool { return true })
			maps.Copy(now, document)
			metadata, _ = now["metadata"].(map[string]any)
		case isSection:
			value, err := t.section(i, v)
			if err != nil {
				return false, false, err
			}
			from, to := was, now
			if member.metadata {
				from, _ = was["metadata"].(map[string]any)
				to = metadata
			}
			if same(from, member.name, value) {
				continue
			}
			if whole {
				if same(to, member.name, value) {
					continue
				}
				return false, false, t.errorf("both object and a section of it are set", "set one of them")
			}
			sections = true
			if value == nil {
				delete(to, member.name)
			} else {
				to[member.name] = value
			}
		default:
			if err := t.immutable(o, i, v); err != nil {
				return false, false, err
			}
		}
	}
	return whole, sections, nil
}

func same(object map[string]any, name string, value map[string]any) bool {
	was, ok := object[name]
	if value == nil {
		return !ok
	}
	return ok && sameJSON(was, value)
}

func (t *table) errorf(format, hint string, args ...any) error {
	return &SQLError{Message: fmt.Sprintf(format, args...), Hint: hint, Offset: -1}
}

// changes are what was noted, in the order of tables and keys, without what leaves an object as it is.
func (w *writing) changes() ([]RowChange, error) {
	var out []RowChange
	for _, key := range slices.Sorted(maps.Keys(w.rows)) {
		c := w.rows[key]
		if c.Op == OpUpdate {
			before, err := parseJSON(string(c.Before))
			if err != nil {
				return nil, err
			}
			after, err := parseJSON(string(c.After))
			if err != nil {
				return nil, err
			}
			if sameJSON(before, after) {
				continue
			}
		}
		out = append(out, *c)
	}
	return out, nil
}
