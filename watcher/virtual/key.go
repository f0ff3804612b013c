package virtual

import "strings"

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

// The database is one ordered map. What a key is for stands in its first byte; its parts are parted by sep, which no
// name in Kubernetes contains. Kinds appear as short numbers.
const (
	sep = "\x00"

	spaceObject     = "o" + sep // kind, namespace, name → record
	spaceTombstone  = "t" + sep // kind, namespace, name → record; expires
	spaceUID        = "u" + sep // uid → kind, namespace, name; expires once the object is gone
	spaceLabel      = "l" + sep // kind, label, value, namespace, name; of indexed labels only
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
