package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Names that stand on objects in the cluster.
const (
	// Domain prefixes every label, annotation and finalizer of Mainstay.
	Domain = "mainstay.dev"
	// Finalizer keeps a custom resource until what was deployed for it is undone.
	Finalizer = Domain + "/undeploy"
	// ProfileAnnotation on a custom resource picks a profile.
	ProfileAnnotation = Domain + "/profile"
	// InstanceLabel marks what belongs to a custom resource; its value is Instance.Label().
	InstanceLabel = Domain + "/instance"
	// DigestLabel on a Helm release names the inputs (chart, values) that it was made from.
	DigestLabel = Domain + "/digest"
	// AppliedAnnotation on an object of kube-apply names the manifest that it was applied from.
	AppliedAnnotation = Domain + "/applied"
)

// Instance identifies one custom resource and the revision of the operator that acts for it.
type Instance struct {
	// Operator is the name of the operator's folder.
	Operator string   `json:"operator"`
	Resource Resource `json:"resource"`
	// Namespace is empty for a cluster-scoped kind.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

// WorkflowID is the id of the instance's Maintain workflow: <plural>/<namespace>/<name>/<first 8 of uid>. A
// cluster-scoped instance has "-" for the namespace, which no namespace is called.
func (i Instance) WorkflowID() string {
	ns := i.Namespace
	if ns == "" {
		ns = "-"
	}
	return i.Resource.Plural + "/" + ns + "/" + i.Name + "/" + i.UID[:min(8, len(i.UID))]
}

// DeployID is the id of the Deploy workflow of a generation.
func (i Instance) DeployID(generation int64) string {
	return fmt.Sprintf("%s/deploy/g%d", i.WorkflowID(), generation)
}

// UndeployID is the id of the Undeploy workflow.
func (i Instance) UndeployID() string { return i.WorkflowID() + "/undeploy" }

// TaskQueue is where an operator's work waits. One queue for each kind of resource: processes that serve different
// operators can share a Temporal namespace, and a flood on one operator delays no other.
func (r Resource) TaskQueue() string { return "mainstay/" + r.CRD() }

// String names the instance for people: "vvp default/demo".
func (i Instance) String() string {
	n := i.Name
	if i.Namespace != "" {
		n = i.Namespace + "/" + n
	}
	return strings.ToLower(i.Resource.Kind) + " " + n
}

// Label is the value of InstanceLabel: readable, unique, and the same when a resource is made anew under its old
// name, so that it takes up what its predecessor left. At most 63 characters, as Kubernetes demands of a label's value.
func (i Instance) Label() string {
	sum := sha256.Sum256([]byte(i.Resource.CRD() + "/" + i.Namespace + "/" + i.Name))
	return strings.TrimRight(i.Name[:min(52, len(i.Name))], "-.") + "." + hex.EncodeToString(sum[:5])
}

// maxRelease is Helm's limit of a release name's length.
const maxRelease = 53

// ReleaseName is a release's default name: <resource>-<command>, shortened with a hash where Helm's limit of 53
// characters asks for it. Two helm commands of one resource and resources of two kinds thus don't meet.
func ReleaseName(i Instance, command string) string {
	name := i.Name + "-" + strings.ToLower(command)
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
			return r
		}
		return '-'
	}, name)
	if len(name) <= maxRelease {
		return strings.TrimRight(name, "-.")
	}
	sum := sha256.Sum256([]byte(name))
	return strings.TrimRight(name[:maxRelease-9], "-.") + "-" + hex.EncodeToString(sum[:4])
}

// HoldFinalizer keeps an object until the rule's action on its deletion is done. Each rule of each instance has its own,
// so that one that is done doesn't let go for another.
func HoldFinalizer(i Instance, rule string) string {
	sum := sha256.Sum256([]byte(i.UID + "/" + rule))
	return Domain + "/hold-" + hex.EncodeToString(sum[:5])
}

// ShortUID is as much of an object's uid as histories keep: 48 random bits, which is enough to tell an object from the
// one before it under the same name.
func ShortUID(uid string) string { return uid[:min(13, len(uid))] }

// Clip shortens s to at most n bytes without cutting a character. What goes into histories and statuses is bounded.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	cut := n - len("…")
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return s[:cut] + "…"
}
