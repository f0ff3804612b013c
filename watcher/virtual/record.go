package virtual

import (
	"fmt"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// Helm's annotations on the objects of a release.
const (
	annotationReleaseName      = "meta.helm.sh/release-name"
	annotationReleaseNamespace = "meta.helm.sh/release-namespace"
)

// A record is what the database holds for an object: a few lines of what membership and versions need, and then the
// object's JSON. So neither a walk up the owners nor a comparison of versions has to parse the JSON.
type record struct {
	uid, version string
	// label is the instance that the object's label names.
	label string
	// release is "namespace\x00name" of the Helm release that made the object.
	release string
	// owners are the uids of its owners, joined by commas.
	owners string
	// instance is the outcome of label, release and owners.
	instance string
	json     string
}

// encode renders r as one string.
func (r record) encode() string {
	return strings.Join([]string{r.uid, r.version, r.label, r.release, r.owners, r.instance, r.json}, "\n")
}

// parseRecord is encode's inverse. It copies nothing.
func parseRecord(s string) record {
	var r record
	for _, field := range []*string{&r.uid, &r.version, &r.label, &r.release, &r.owners, &r.instance} {
		*field, s, _ = strings.Cut(s, "\n")
	}
	r.json = s
	return r
}

// eachOwner calls fn with the uid of each owner until it returns false.
func (r record) eachOwner(fn func(uid string) bool) {
	for rest := r.owners; rest != ""; {
		var uid string
		uid, rest, _ = strings.Cut(rest, ",")
		if !fn(uid) {
			return
		}
	}
}

// object is r as readers get it.
func (r record) object(key Key) Object {
	return Object{Key: key, json: r.json, UID: r.uid, ResourceVersion: r.version, Instance: r.instance}
}

// newRecord reads what a record needs from an object's JSON, all but the instance, and takes managedFields out.
func newRecord(doc []byte, instanceLabel string) (record, error) {
	text := string(doc)
	meta := gjson.Get(text, "metadata")
	if !meta.IsObject() {
		return record{}, fmt.Errorf("not a Kubernetes object: it has no metadata")
	}
	var r record
	var managed bool
	var release, releaseNamespace string
	meta.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "uid":
			r.uid = word(value)
		case "resourceVersion":
			r.version = word(value)
		case "managedFields":
			managed = true
		case "labels":
			value.ForEach(func(k, v gjson.Result) bool {
				if k.Str == instanceLabel {
					r.label = word(v)
				}
				return true
			})
		case "annotations":
			value.ForEach(func(k, v gjson.Result) bool {
				switch k.Str {
				case annotationReleaseName:
					release = word(v)
				case annotationReleaseNamespace:
					releaseNamespace = word(v)
				}
				return true
			})
		case "ownerReferences":
			var owners []string
			value.ForEach(func(_, v gjson.Result) bool {
				if uid := word(v.Get("uid")); uid != "" && !strings.Contains(uid, ",") {
					owners = append(owners, uid)
				}
				return true
			})
			r.owners = strings.Join(owners, ",")
		}
		return true
	})
	if release != "" && releaseNamespace != "" {
		r.release = releaseNamespace + sep + release
	}
	r.json = text
	if managed {
		stripped, err := sjson.Delete(text, "metadata.managedFields")
		if err != nil {
			return record{}, fmt.Errorf("remove managedFields: %w", err)
		}
		r.json = stripped
	}
	return r, nil
}

// word is a string value, or nothing if it holds what would break a key or a record; no valid object has such a value
// there.
func word(v gjson.Result) string {
	s := v.String()
	if strings.ContainsAny(s, "\n"+sep) {
		return ""
	}
	return s
}
