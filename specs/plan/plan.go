// Package plan is the compiled form of an operator: what a folder of YAML becomes before anything runs.
//
// It belongs here if it enters a workflow's history: the plan itself, the inputs and results of workflows and
// activities, the signals, updates and queries, and the names that all sides must agree on. Every type is plain
// data with JSON tags, small, and free of secrets: histories keep what is written into them.
//
// What doesn't belong here: YAML (package specs reads it), templates (specs/render), anything that talks to a
// cluster or to Temporal. It imports the standard library only, so that workflow code can import it.
package plan

import (
	"fmt"
	"time"
)

// Operator is one operator's folder, compiled.
type Operator struct {
	// Name is the folder's name.
	Name string `json:"name"`
	// Digest names the revision: a hex SHA-256 over every file of the folder. Same files, same digest.
	Digest string `json:"digest"`
	// Resource is the kind of custom resource that it serves.
	Resource Resource `json:"resource"`
	// Profiles by name; DefaultProfile always exists.
	Profiles map[string]*Profile `json:"profiles"`
}

// DefaultProfile is the profile of a resource that names none.
const DefaultProfile = "default"

// Resource identifies the kind of custom resource that an operator serves.
type Resource struct {
	Group      string `json:"group"`
	Version    string `json:"version"`
	Kind       string `json:"kind"`
	Plural     string `json:"plural"`
	Namespaced bool   `json:"namespaced"`
}

// CRD is the name of the resource's CustomResourceDefinition, e.g. "vvps.example.com".
func (r Resource) CRD() string { return r.Plural + "." + r.Group }

// APIVersion is group and version as manifests write them.
func (r Resource) APIVersion() string { return r.Group + "/" + r.Version }

// Profile says how a resource is deployed, maintained and undeployed.
type Profile struct {
	Name   string    `json:"name"`
	Deploy []Command `json:"deploy,omitempty"`
	Rules  []Rule    `json:"rules,omitempty"`
	// Undeploy is complete: where the author wrote none, the loader has put in what undoes Deploy, in reverse order.
	Undeploy []Command `json:"undeploy,omitempty"`
}

// Rule is one entry of "maintain": what it senses, how it decides and what it does.
type Rule struct {
	// Name is unique in the profile.
	Name  string `json:"name"`
	Watch Watch  `json:"watch"`
	// Decide says whether anything is to be done; nil: always.
	Decide *Decide   `json:"decide,omitempty"`
	Action []Command `json:"action"`
	// Debounce is how long an object must rest before the rule hears of it.
	Debounce Duration `json:"debounce,omitempty"`
	// At is where the rule is written, "operator.yaml:12:5", for messages.
	At string `json:"at,omitempty"`
}

// Watch says which lifecycle events of which objects a rule senses. A live query has SQL and no kind; a timer has Every
// or Cron and no kind; every other rule has APIVersion and Kind.
type Watch struct {
	Categories []Category `json:"categories"`
	APIVersion string     `json:"apiVersion,omitempty"`
	Kind       string     `json:"kind,omitempty"`
	Scope      Scope      `json:"scope,omitempty"`
	// Namespace and Name narrow the scope; empty: any.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	// Selector is a label selector in the form that the API server takes: "app=web,tier in (a,b)"; empty: any.
	Selector string `json:"selector,omitempty"`
	// Fields are paths, as virtual.ParsePath takes them; only a difference in one of them counts. Empty: all do.
	Fields []string `json:"fields,omitempty"`
	// Hold keeps an object that is being deleted until the action is done (only with WillDelete).
	Hold bool `json:"hold,omitempty"`
	// SQL is the live query of QueryDidChange.
	SQL *Query `json:"sql,omitempty"`
	// Every and Cron are the schedule of TimerDidFire; one of them is set.
	Every Duration `json:"every,omitempty"`
	Cron  string   `json:"cron,omitempty"`
}

// Query is one SQL statement.
type Query struct {
	Text string `json:"text"`
	// At is where it is written, "operator.yaml:14:12": errors name it.
	At string `json:"at,omitempty"`
	// Reads are the tables that it reads, Writes those that it writes, each by its full name: "services",
	// "ingresses.networking.k8s.io".
	Reads  []string `json:"reads,omitempty"`
	Writes []string `json:"writes,omitempty"`
}

// Decide says whether a rule is to act. With both, SQL binds rows for When.
type Decide struct {
	SQL *Query `json:"sql,omitempty"`
	// When is a CEL condition; empty: act if SQL has rows.
	When string `json:"when,omitempty"`
	// WhenAt is where it is written.
	WhenAt string `json:"whenAt,omitempty"`
}

// Category is a kind of lifecycle event.
type Category string

// The lifecycle events of a virtual resource.
const (
	// DidCreate: an object is seen that was not there.
	DidCreate Category = "ResourceDidCreate"
	// DidUpdate: an object that was there differs.
	DidUpdate Category = "ResourceDidUpdate"
	// DidChange: either of the two: the state differs from what the rule last handled, first sight included.
	DidChange Category = "ResourceDidChange"
	// DidBecomeReady and DidBecomeUnready: its health turns. An object that is ready at first sight became ready; one
	// that isn't yet became nothing.
	DidBecomeReady   Category = "ResourceDidBecomeReady"
	DidBecomeUnready Category = "ResourceDidBecomeUnready"
	// DidFail: its health turns to failed, or an action on it stalls.
	DidFail Category = "ResourceDidFail"
	// WillDelete: it carries a deletionTimestamp.
	WillDelete Category = "ResourceWillDelete"
	// DidDelete: the object is gone.
	DidDelete Category = "ResourceDidDelete"
	// QueryDidChange: the rows of a live query differ.
	QueryDidChange Category = "QueryDidChange"
	// TimerDidFire: it is time.
	TimerDidFire Category = "TimerDidFire"
)

// Categories are all of them, in the order of an object's life.
var Categories = []Category{
	DidCreate, DidUpdate, DidChange, DidBecomeReady, DidBecomeUnready, DidFail, WillDelete, DidDelete, QueryDidChange, TimerDidFire,
}

// Health is an object's health as kstatus computes it, in one word.
type Health string

// The healths of an object.
const (
	Ready   Health = "Ready"
	Unready Health = "Unready"
	Failed  Health = "Failed"
)

// Scope says which objects a rule looks at.
type Scope string

const (
	// ScopeInstance: what belongs to the custom resource: made by its helm releases and kube-apply commands, or
	// owned by such an object or by the resource itself, transitively.
	ScopeInstance Scope = "instance"
	// ScopeNamespace: every object of the kind in the resource's namespace.
	ScopeNamespace Scope = "namespace"
	// ScopeCluster: every object of the kind.
	ScopeCluster Scope = "cluster"
)

// Scopes are all of them.
var Scopes = []Scope{ScopeInstance, ScopeNamespace, ScopeCluster}

// The kinds of commands. A kind is the activity's name and the name of its file in package activities.
const (
	KindHelm      = "helm"
	KindKubeApply = "kube-apply"
	KindKubePatch = "kube-patch"
	KindSQL       = "sql"
)

// Kinds are all kinds of commands, in the order of the documentation.
var Kinds = []string{KindHelm, KindKubeApply, KindKubePatch, KindSQL}

// Command is one step. Exactly one of Helm, Apply, Patch and SQL is set: the one of its Kind.
type Command struct {
	Kind string `json:"cmd"`
	// Name is unique in its list.
	Name string `json:"name"`
	// Engine renders the templates of this command: one of render.Names().
	Engine string `json:"engine"`
	// Timeout is the limit of one attempt.
	Timeout Duration `json:"timeout"`
	// Deadline is the limit of all attempts together, the pauses between them included.
	Deadline Duration `json:"deadline"`
	Retry    Retry    `json:"retry"`

	Helm  *Helm  `json:"helm,omitempty"`
	Apply *Apply `json:"apply,omitempty"`
	Patch *Patch `json:"patch,omitempty"`
	SQL   *SQL   `json:"sql,omitempty"`
}

// Retry says how long to wait between attempts: Initial after the first, twice as long after each further one, at
// most Max.
type Retry struct {
	Initial Duration `json:"initial"`
	Max     Duration `json:"max"`
}

// Helm installs, upgrades or uninstalls a release. Paths are relative to the operator's folder, with slashes.
type Helm struct {
	// Chart is a chart's folder or a .tgz.
	Chart string `json:"chart"`
	// Values are files, each a template; later ones win over earlier ones.
	Values []string `json:"values,omitempty"`
	// Release is the release's name, a template; empty: ReleaseName(instance, command).
	Release string `json:"release,omitempty"`
	// Namespace of the release, a template; empty: the instance's.
	Namespace string `json:"namespace,omitempty"`
	// Absent uninstalls ("state: absent").
	Absent bool `json:"absent,omitempty"`
	// Undoes is the name of the deploy command whose release this one removes; set by the loader where it made the
	// undeploy list itself, so that the default release name is the same at both ends.
	Undoes string `json:"undoes,omitempty"`
}

// Apply applies manifests on the server side. Exactly one of File and Manifest is set; both are templates.
type Apply struct {
	File     string `json:"file,omitempty"`
	Manifest string `json:"manifest,omitempty"`
	// Conflicts says what happens to fields that others own: "fail" (default), "force".
	Conflicts string `json:"conflicts,omitempty"`
	// Absent deletes what Undoes applied, as the inventory and the rendered manifest name it. Only the loader sets it.
	Absent bool   `json:"absent,omitempty"`
	Undoes string `json:"undoes,omitempty"`
}

// Patch patches objects that exist. Exactly one of File and Patch is set; both are templates.
type Patch struct {
	File  string `json:"file,omitempty"`
	Patch string `json:"patch,omitempty"`
	// Type is "strategic", "merge", or empty: strategic for built-in kinds, else merge.
	Type string `json:"patchType,omitempty"`
	// Missing says what happens when the object isn't there: "fail" (default: tried again until the deadline) or "skip".
	Missing string `json:"missing,omitempty"`
}

// SQL runs statements, in order. Those that write become API writes.
type SQL struct {
	Statements []Query `json:"statements"`
	// Params by name, for :name in the statements, beside those that SQLParams lists. Strings are templates.
	Params map[string]any `json:"params,omitempty"`
	// MaxRows is how many objects one statement may write at most.
	MaxRows int `json:"maxRows"`
}

// DefaultMaxRows is the default of SQL.MaxRows.
const DefaultMaxRows = 500

// SQLParams are the names that every statement may use, e.g. :namespace. The name, namespace and uid are the custom
// resource's, instance is the value of its InstanceLabel, cr is all of it as JSON. The others are there in rules that
// watch objects: of the object that the rule reacts to.
var SQLParams = []string{"name", "namespace", "uid", "instance", "cr", "object", "object_name", "object_namespace", "object_uid"}

// Release is the command name from which the release's default name is made.
func (c Command) Release() string {
	if c.Helm != nil && c.Helm.Undoes != "" {
		return c.Helm.Undoes
	}
	return c.Name
}

// Duration is a time.Duration that JSON shows as people write it: "10m0s".
type Duration time.Duration

// Std is d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("duration: %w", err)
	}
	*d = Duration(v)
	return nil
}
