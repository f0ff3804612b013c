package virtual

import (
	"fmt"
	"strings"
	"sync"
)

// Object is a state of an object. The zero Object stands for none. It is a value that never changes; what it says is
// read from the stored form when it is asked for, so that who wants a label doesn't pay for the whole document.
type Object struct {
	Key
	UID, ResourceVersion string
	// Instance that the object belongs to; empty: none that is known.
	Instance string
	// Deleted: the object is no longer there, this is its last known state.
	Deleted bool

	record record
}

// NewObject is an object that is in no store. Possible errors: the JSON is no Kubernetes object.
func NewObject(key Key, json []byte) (Object, error) {
	r, err := textRecord(key, view(json))
	if err != nil {
		return Object{}, fmt.Errorf("%s: %w", key, err)
	}
	return r.object(key), nil
}

// DecodedObject is NewObject for an object that is decoded already; it leaves the map as it is. Possible errors: it is
// no Kubernetes object.
func DecodedObject(key Key, object map[string]any) (Object, error) {
	r, err := valueRecord(key, object)
	if err != nil {
		return Object{}, fmt.Errorf("%s: %w", key, err)
	}
	return r.object(key), nil
}

// Exists tells an object from none.
func (o Object) Exists() bool { return o.record != "" && !o.Deleted }

// JSON is the whole object: compact, without managedFields, the reader's own copy; nil of the zero Object.
func (o Object) JSON() (json []byte) {
	o.document(func(b string) { json, _ = appendJSON(make([]byte, 0, len(b)+len(b)/4), b) })
	return json
}

// Map is the whole object, decoded as the Kubernetes clients do, the reader's own; nil of the zero Object. It costs less
// than decoding its JSON.
func (o Object) Map() (object map[string]any) {
	o.document(func(b string) {
		v, _ := decode(b)
		object, _ = v.(map[string]any)
	})
	return object
}

// Labels are the object's labels; nil: it has none.
func (o Object) Labels() map[string]string {
	var labels map[string]string
	eachMember(o.record.section(secLabels), func(kind byte, name, value string) bool {
		if s, ok := text(value); ok {
			if labels == nil {
				labels = map[string]string{}
			}
			labels[strings.Clone(unescaped(kind, name))] = strings.Clone(s)
		}
		return true
	})
	return labels
}

// Deleting tells whether the object carries a deletionTimestamp.
func (o Object) Deleting() bool { return o.record.deleted() != "" }

// buffers lend the memory in which a document is put together.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// document calls fn with the whole object as one element, which fn must not keep.
func (o Object) document(fn func(b string)) {
	if o.record == "" {
		return
	}
	buffer := buffers.Get().(*[]byte)
	*buffer = o.record.appendDocument((*buffer)[:0], o.Key)
	fn(view(*buffer))
	keep(buffer)
}

func keep(buffer *[]byte) {
	if cap(*buffer) <= maxDraft {
		buffers.Put(buffer)
	}
}
