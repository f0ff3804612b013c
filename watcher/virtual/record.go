package virtual

import "strings"

// A record is what the database holds for an object: a table of where its parts end, a few texts that are often asked
// for, the object's sections as JSONB, and the instance that it belongs to. Nothing is in it twice, and reading a part
// copies nothing. The instance stands last, because only the store knows it, and late.
type record string

// sectionID names a part of a record. An empty part is one that the object doesn't have.
type sectionID int

// The texts are as the API server writes them; the sections are whole JSONB elements.
const (
	textUID sectionID = iota
	textVersion
	textCreated
	textDeleted
	secLabels
	secAnnotations
	secOwners // metadata.ownerReferences
	secMeta   // the rest of metadata, an object
	secSpec
	secStatus
	secData
	secRest // all other members, an object
	sections
)

// The first byte of a record. What an object says of itself as its key does is not stored.
const (
	wide byte = 1 << iota // the table has 4 bytes for a part, not 2
	hasAPIVersion
	hasKind
	hasNamespace
	hasName
)

// section is a part of the record, without copying.
func (r record) section(s sectionID) string {
	if r == "" {
		return ""
	}
	from := r.body()
	if s > 0 {
		from = r.end(s - 1)
	}
	return string(r[from:r.end(s)])
}

func (r record) body() int {
	if r[0]&wide != 0 {
		return 1 + 4*int(sections)
	}
	return 1 + 2*int(sections)
}

func (r record) end(s sectionID) int {
	if r[0]&wide != 0 {
		i := 1 + 4*int(s)
		return int(uint32(r[i]) | uint32(r[i+1])<<8 | uint32(r[i+2])<<16 | uint32(r[i+3])<<24)
	}
	i := 1 + 2*int(s)
	return int(uint16(r[i]) | uint16(r[i+1])<<8)
}

func (r record) uid() string             { return r.section(textUID) }
func (r record) resourceVersion() string { return r.section(textVersion) }
func (r record) created() string         { return r.section(textCreated) }
func (r record) deleted() string         { return r.section(textDeleted) }

// document is all but the instance.
func (r record) document() string {
	if r == "" {
		return ""
	}
	return string(r[:r.end(sections-1)])
}

func (r record) instance() string { return string(r[len(r.document()):]) }

// in is the same object in another instance.
func (r record) in(instance string) record {
	if r.instance() == instance {
		return r
	}
	return record(r.document() + instance)
}

// label is the value of a label that fit to be in a key.
func (r record) label(name string) string {
	if name == "" {
		return ""
	}
	return word(lookup(r.section(secLabels), name))
}

// Helm's annotations on the objects of a release.
const (
	annotationReleaseName      = "meta.helm.sh/release-name"
	annotationReleaseNamespace = "meta.helm.sh/release-namespace"
)

// release is "namespace\x00name" of the Helm release that made the object; empty: none did.
func (r record) release() string {
	annotations := r.section(secAnnotations)
	name := word(lookup(annotations, annotationReleaseName))
	if name == "" {
		return ""
	}
	namespace := word(lookup(annotations, annotationReleaseNamespace))
	if namespace == "" {
		return ""
	}
	return namespace + sep + name
}

// eachOwner calls fn with the uid of each owner until it returns false.
func (r record) eachOwner(fn func(uid string) bool) {
	owners := r.section(secOwners)
	if owners == "" {
		return
	}
	eachItem(owners, func(owner string) bool {
		uid := word(lookup(owner, "uid"))
		return uid == "" || fn(uid)
	})
}

// word is an element that is a string, or nothing if it holds what would break a key; no valid object has such a value
// there.
func word(b string) string {
	s, _ := text(b)
	if strings.ContainsAny(s, "\n"+sep) {
		return ""
	}
	return s
}

// object is r as readers get it.
func (r record) object(key Key) Object {
	if r == "" {
		return Object{}
	}
	// Copies: who keeps a version must not keep the whole record with it.
	texts := r.uid() + r.resourceVersion() + r.instance()
	u := len(r.uid())
	v := u + len(r.resourceVersion())
	return Object{Key: key, UID: texts[:u], ResourceVersion: texts[u:v], Instance: texts[v:], record: r}
}

// appendDocument appends the whole object as one JSONB element.
func (r record) appendDocument(b []byte, key Key) []byte {
	at := len(b)
	b = append(b, 0)
	if r[0]&hasAPIVersion != 0 {
		b = appendText(appendText(b, "apiVersion"), key.APIVersion())
	}
	if r[0]&hasKind != 0 {
		b = appendText(appendText(b, "kind"), key.Kind.Kind)
	}
	b = r.appendMetadata(appendText(b, "metadata"), key)
	b = appendMembersOf(b, r.section(secRest))
	for _, m := range [...]struct {
		name string
		id   sectionID
	}{{"spec", secSpec}, {"data", secData}, {"status", secStatus}} {
		if value := r.section(m.id); value != "" {
			b = append(appendText(b, m.name), value...)
		}
	}
	return closeHead(b, at, jsonObject)
}

func (r record) appendMetadata(b []byte, key Key) []byte {
	at := len(b)
	b = append(b, 0)
	if r[0]&hasName != 0 {
		b = appendText(appendText(b, "name"), key.Name)
	}
	if r[0]&hasNamespace != 0 {
		b = appendText(appendText(b, "namespace"), key.Namespace)
	}
	for i, name := range metadataTexts {
		if value := r.section(sectionID(i)); value != "" {
			b = appendText(appendText(b, name), value)
		}
	}
	b = appendMembersOf(b, r.section(secMeta))
	for i, name := range metadataSections {
		if value := r.section(secLabels + sectionID(i)); value != "" {
			b = append(appendText(b, name), value...)
		}
	}
	return closeHead(b, at, jsonObject)
}

// The members of metadata that are parts of their own, in the order of the parts.
var (
	metadataTexts    = [...]string{"uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"}
	metadataSections = [...]string{"labels", "annotations", "ownerReferences"}
)

// appendMembersOf appends what is in an object, without its head.
func appendMembersOf(b []byte, object string) []byte {
	_, payload, _, err := element(object)
	if err != nil {
		return b
	}
	return append(b, payload...)
}
