package virtual

import (
	"fmt"
	"strings"

	"github.com/tidwall/gjson"
)

// Kind names a kind of objects in one of its versions.
type Kind struct{ Group, Version, Kind string }

// ParseKind makes a Kind of what manifests write as apiVersion and kind.
func ParseKind(apiVersion, kind string) Kind {
	group, version, found := strings.Cut(apiVersion, "/")
	if !found {
		group, version = "", apiVersion
	}
	return Kind{Group: group, Version: version, Kind: kind}
}

// APIVersion is group and version as manifests write them.
func (k Kind) APIVersion() string {
	if k.Group == "" {
		return k.Version
	}
	return k.Group + "/" + k.Version
}

// String names the kind for people: "apps/v1 Deployment".
func (k Kind) String() string { return k.APIVersion() + " " + k.Kind }

// Key names an object. Namespace is empty for a cluster-scoped one.
type Key struct {
	Kind
	Namespace, Name string
}

// String names the object for people: "apps/v1 Deployment default/web".
func (k Key) String() string {
	if k.Namespace == "" {
		return k.Kind.String() + " " + k.Name
	}
	return k.Kind.String() + " " + k.Namespace + "/" + k.Name
}

// Object is a state of an object. The zero Object stands for none. It is a value that never changes; what it says is
// read from the stored form when it is asked for, so that who wants a label doesn't pay for the whole document.
type Object struct {
	Key
	UID, ResourceVersion string
	// Instance that the object belongs to; empty: none that is known.
	Instance string
	// Deleted: the object is no longer there, this is its last known state.
	Deleted bool

	json string
}

// NewObject is an object that is in no store. Possible errors: the JSON is no Kubernetes object.
func NewObject(key Key, json []byte) (Object, error) {
	r, err := newRecord(json, "")
	if err != nil {
		return Object{}, fmt.Errorf("%s: %w", key, err)
	}
	return r.object(key), nil
}

// Exists tells an object from none.
func (o Object) Exists() bool { return o.json != "" && !o.Deleted }

// JSON is the whole object: compact, without managedFields, the reader's own copy.
func (o Object) JSON() []byte { return []byte(o.json) }

// Labels are the object's labels; nil: it has none.
func (o Object) Labels() map[string]string {
	var labels map[string]string
	gjson.Get(o.json, "metadata.labels").ForEach(func(name, value gjson.Result) bool {
		if labels == nil {
			labels = map[string]string{}
		}
		labels[name.Str] = value.Str
		return true
	})
	return labels
}

// Deleting tells whether the object carries a deletionTimestamp.
func (o Object) Deleting() bool { return gjson.Get(o.json, "metadata.deletionTimestamp").Exists() }

// The database is one ordered map. What a key is for stands in its first byte; its parts are parted by sep, which no
// name in Kubernetes contains. Kinds appear as short numbers.
const (
	sep = "\x00"

	spaceObject     = "o" + sep // kind, namespace, name → record
	spaceTombstone  = "t" + sep // kind, namespace, name → record; expires
	spaceUID        = "u" + sep // uid → object key; expires once the object is gone
	spaceInstance   = "i" + sep // instance, kind, namespace, name
	spaceDependent  = "d" + sep // owner's uid, kind, namespace, name
	spaceRelease    = "h" + sep // release's namespace, release, kind, namespace, name
	spaceOwnerBind  = "b" + sep // uid → instance
	spaceReleaseRef = "r" + sep // release's namespace, release → instance
)

// tail is the part of an object's key that follows its space.
func tail(kind, namespace, name string) string { return kind + sep + namespace + sep + name }

// parseTail is tail's inverse. It takes the last three parts of any database key.
func parseTail(s string) (kind, namespace, name string) {
	i := strings.LastIndex(s, sep)
	name, s = s[i+1:], s[:max(i, 0)]
	i = strings.LastIndex(s, sep)
	namespace, s = s[i+1:], s[:max(i, 0)]
	i = strings.LastIndex(s, sep)
	return s[i+1:], namespace, name
}

// lastParts is the tail of an index key.
func lastParts(s string) string {
	kind, namespace, name := parseTail(s)
	return tail(kind, namespace, name)
}
