package plan

import "time"

// The workflows' type names.
const (
	WorkflowMaintain = "Maintain"
	WorkflowDeploy   = "Deploy"
	WorkflowUndeploy = "Undeploy"
)

// The signals of Maintain.
const (
	// SignalResource carries a ResourceSignal: the resource was created or changed, is being deleted, or is gone.
	SignalResource = "resource"
	// SignalDirty carries a Dirty: objects that rules watch have changed.
	SignalDirty = "dirty"
	// SignalResync carries a Resync: everything that the rules see now.
	SignalResync = "resync"
)

// The activities that are not commands. They are local: cheap, short, and seen as markers in the history.
const (
	// ActivityPlan takes a PlanInput and returns a PlanResult.
	ActivityPlan = "plan"
	// ActivityFinalizer takes a FinalizerInput.
	ActivityFinalizer = "finalizer"
	// ActivityStatus takes a StatusInput.
	ActivityStatus = "status"
	// ActivityDecide takes a DecideInput and returns a DecideResult.
	ActivityDecide = "decide"
	// ActivityNext takes a NextInput and returns the time at which a cron schedule fires next.
	ActivityNext = "next"
)

// The activities that are no commands, but as durable: they are tried until they succeed.
const (
	// ActivityHold takes a HoldInput.
	ActivityHold = "hold"
	// ActivityAnnounce takes an AnnounceInput.
	ActivityAnnounce = "announce"
)

// ResourceSignal is the state of the custom resource as the watcher sees it.
type ResourceSignal struct {
	Generation int64 `json:"generation"`
	// Revision is the digest of the operator's folder that the sender serves.
	Revision string `json:"revision"`
	// Profile that the resource asks for.
	Profile string `json:"profile"`
	// Deleting: it carries a deletionTimestamp.
	Deleting bool `json:"deleting,omitempty"`
	// Gone: it is no longer there, so that nothing holds its name.
	Gone bool `json:"gone,omitempty"`
}

// Change says that an object which a rule watches differs from what was last reported, or is gone.
type Change struct {
	// Rule is the rule's name; the rule knows the object's kind.
	Rule      string `json:"rule"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	UID       string `json:"uid,omitempty"`
	// Hash of what counts as the object's state; empty: the object is gone, or no longer the rule's.
	Hash string `json:"hash,omitempty"`
	// ResourceVersion lets an activity wait until its process has seen at least this state.
	ResourceVersion string `json:"resourceVersion,omitempty"`
	// Health is set for rules that sense it.
	Health Health `json:"health,omitempty"`
	// Deleting: the object carries a deletionTimestamp; set for rules that sense WillDelete.
	Deleting bool `json:"deleting,omitempty"`
	// Trouble says why an action on the object stalled, for DidFail.
	Trouble string `json:"trouble,omitempty"`
	// Was is the hash of the state before a write; only in CommandResult.Wrote. A rule that had handled that state needs
	// not hear of this one; one that hadn't must, or it would miss what somebody else had changed.
	Was string `json:"was,omitempty"`
}

// Key is the object's key within the rule.
func (c Change) Key() string { return c.Namespace + "/" + c.Name }

// Dirty is a batch of changes. It may come twice; hashes tell.
type Dirty struct {
	// At is when it was sent, in nanoseconds since 1970: Maintain takes dirty and resync signals that it finds together in
	// the order in which they were sent, since Temporal keeps the order of signals of one name only.
	At      int64   `json:"at,omitempty"`
	Changes Changes `json:"changes"`
}

// Resync lists all present objects of all rules, in one or several parts. What Maintain remembers and a complete
// list lacks was deleted while nobody watched.
type Resync struct {
	// At is when it was sent, as in Dirty.
	At int64 `json:"at,omitempty"`
	// ID is the same in all parts of one list. A part with another ID starts a new list.
	ID string `json:"id"`
	// Part counts from 0. A list of which a part is missing is dropped as a whole (its changes still count).
	Part    int     `json:"part"`
	Last    bool    `json:"last"`
	Changes Changes `json:"changes,omitempty"`
}

// MaintainInput starts Maintain; the watcher sets Instance alone.
type MaintainInput struct {
	Instance Instance `json:"instance"`
	// SearchAttributes are registered and may be set.
	SearchAttributes bool `json:"searchAttributes,omitempty"`
	// State is what a run hands to the next one when it continues as new.
	State *MaintainState `json:"state,omitempty"`
}

// MaintainState is all that Maintain remembers.
type MaintainState struct {
	// Resource is the newest state that was signalled.
	Resource ResourceSignal `json:"resource"`
	// Revision and ProfileName are what the plan was last asked for, Profile is the plan in force, PlanError why it
	// isn't the one that was asked for: then the last good one stays, so that a deletion still undoes what was done.
	Revision    string   `json:"revision,omitempty"`
	ProfileName string   `json:"profileName,omitempty"`
	Profile     *Profile `json:"profile,omitempty"`
	PlanError   string   `json:"planError,omitempty"`
	// Deployed is what the last finished Deploy brought out; nil before the first.
	Deployed *Deployed `json:"deployed,omitempty"`
	// Established: a Deploy has succeeded once. From then on the rules react, also while a later Deploy runs or stalls.
	Established bool `json:"established,omitempty"`
	Paused      bool `json:"paused,omitempty"`
	// Seen by rule, then by object key: what the rule last handled.
	Seen Memory `json:"seen,omitempty"`
	// Pending are changes not yet handled.
	Pending Changes `json:"pending,omitempty"`
	// Looping are the (rule, object) that the loop breaker has stopped.
	Looping []Loop `json:"looping,omitempty"`
	// Writes are what rules wrote of late into objects that other rules watch, for the loop breaker.
	Writes []Written `json:"writes,omitempty"`
	// Fired are the times at which the timers of rules fired last, by rule.
	Fired map[string]time.Time `json:"fired,omitempty"`
	// Commands of the last Deploy and Rules, for the status.
	Commands []CommandStatus `json:"commands,omitempty"`
	Rules    []RuleStatus    `json:"rules,omitempty"`
	// Inventory by command: the objects that kube-apply made.
	Inventory map[string][]ObjectRef `json:"inventory,omitempty"`
	// Releases by command: what helm made.
	Releases map[string]Release `json:"releases,omitempty"`
}

// Deployed tells what a Deploy was for and how it ended.
type Deployed struct {
	Generation int64  `json:"generation"`
	Revision   string `json:"revision"`
	Profile    string `json:"profile"`
	// Error is why it stalled; empty: it succeeded.
	Error string `json:"error,omitempty"`
	// Stalls counts how often it stalled in a row.
	Stalls int `json:"stalls,omitempty"`
}

// Seen is a state of an object that a rule has handled.
type Seen struct {
	UID      string `json:"uid,omitempty"`
	Hash     string `json:"hash"`
	Health   Health `json:"health,omitempty"`
	Deleting bool   `json:"deleting,omitempty"`
	// Held: the rule's finalizer is on it.
	Held bool `json:"held,omitempty"`
	// ResourceVersion that was handled: an older state of the same object is no news.
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// Memory is what rules have handled: by rule, then by the object's key.
type Memory map[string]map[string]Seen

// Loop is an object on which the loop breaker stopped a rule.
type Loop struct {
	// Change that the rule did not react to.
	Change Change `json:"change"`
	// Why names the rules that write against each other.
	Why string `json:"why"`
}

// Written says that a rule's action left an object in a state that a rule watches.
type Written struct {
	// Rule and Key are the watching rule's view of the object.
	Rule string    `json:"rule"`
	Key  string    `json:"key"`
	Hash string    `json:"hash"`
	At   time.Time `json:"at"`
	// Chain names the rules whose reactions led here, each to the next; the last one wrote.
	Chain []string `json:"chain"`
}

// DeployInput starts Deploy or Undeploy.
type DeployInput struct {
	Instance   Instance               `json:"instance"`
	Generation int64                  `json:"generation"`
	Revision   string                 `json:"revision"`
	Profile    string                 `json:"profile"`
	Commands   []Command              `json:"commands"`
	Inventory  map[string][]ObjectRef `json:"inventory,omitempty"`
	// Releases are the default release names by deploy command, for the templates.
	Releases         map[string]string `json:"releases,omitempty"`
	SearchAttributes bool              `json:"searchAttributes,omitempty"`
}

// DeployResult is what a Deploy or Undeploy did, whether or not it got to its end.
type DeployResult struct {
	Commands  []CommandStatus        `json:"commands,omitempty"`
	Inventory map[string][]ObjectRef `json:"inventory,omitempty"`
	Releases  map[string]Release     `json:"releases,omitempty"`
}

// CommandInput is what every command's activity gets.
type CommandInput struct {
	Instance Instance `json:"instance"`
	// Generation of the resource that is being deployed; 0 for a command of a rule, which works with whatever is newest.
	Generation int64   `json:"generation,omitempty"`
	Revision   string  `json:"revision"`
	Profile    string  `json:"profile"`
	Command    Command `json:"command"`
	// Releases are the default release names by deploy command, for the templates.
	Releases map[string]string `json:"releases,omitempty"`
	// Event is what happened, for a command of a rule.
	Event *Event `json:"event,omitempty"`
	// Inventory of the deploy command that this one undoes.
	Inventory []ObjectRef `json:"inventory,omitempty"`
}

// Event is what a rule reacts to.
type Event struct {
	Rule     string   `json:"rule"`
	Category Category `json:"category"`
	// APIVersion and Kind of the object; both are empty where there is none: for a live query and a timer.
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind,omitempty"`
	Change     Change `json:"change"`
}

// HasObject tells an event of an object from one of a live query or a timer.
func (e Event) HasObject() bool { return e.Kind != "" }

// CommandResult is what every command's activity returns.
type CommandResult struct {
	// Changed tells whether anything was written to the cluster.
	Changed bool `json:"changed"`
	// Message says in a line what was done: `installed release "demo-vvp", revision 1`.
	Message string `json:"message"`
	// Attempts it took, this one included.
	Attempts int32 `json:"attempts"`
	// Objects that kube-apply applied.
	Objects []ObjectRef `json:"objects,omitempty"`
	// Release that helm brought to its state.
	Release *Release `json:"release,omitempty"`
	// Wrote are the states in which a rule's command left objects, as the rules of the profile that watch them see them:
	// so a rule doesn't react to what it did itself, and a circle of rules is found. At most MaxWrote of them.
	Wrote Changes `json:"wrote,omitempty"`
}

// MaxWrote bounds CommandResult.Wrote.
const MaxWrote = 1000

// DecideInput asks whether a rule is to act.
type DecideInput struct {
	Instance Instance          `json:"instance"`
	Revision string            `json:"revision"`
	Profile  string            `json:"profile"`
	Releases map[string]string `json:"releases,omitempty"`
	Event    Event             `json:"event"`
}

// DecideResult is the verdict. It stands in the history, so it holds no rows.
type DecideResult struct {
	Act bool `json:"act"`
	// Because says why in a line: "when is false: size(rows) > 0 (0 rows)".
	Because string `json:"because"`
	// Rows is how many rows the query had.
	Rows int `json:"rows,omitempty"`
}

// NextInput asks when a cron schedule fires first after a time.
type NextInput struct {
	Cron  string    `json:"cron"`
	After time.Time `json:"after"`
}

// NextResult is that time.
type NextResult struct {
	At time.Time `json:"at"`
}

// HoldInput adds Mainstay's finalizer to an object that a rule holds, or removes it. An object that is gone, or has
// another uid, is no error.
type HoldInput struct {
	Instance Instance  `json:"instance"`
	Rule     string    `json:"rule"`
	Object   ObjectRef `json:"object"`
	UID      string    `json:"uid"`
	Remove   bool      `json:"remove,omitempty"`
}

// AnnounceInput is a Kubernetes Event on the custom resource.
type AnnounceInput struct {
	Instance Instance `json:"instance"`
	// Warning or Normal.
	Type string `json:"type"`
	// Reason is a CamelCase word, Message a sentence.
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Failure is the detail of an activity's last error, for the status.
type Failure struct {
	Attempts int32 `json:"attempts"`
	// Hint says what to do now.
	Hint string `json:"hint,omitempty"`
}

// Release names a Helm release.
type Release struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Revision  int    `json:"revision,omitempty"`
}

// ObjectRef names an object.
type ObjectRef struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
}

// PlanInput asks for the plan that this process has for an instance.
type PlanInput struct {
	Instance Instance `json:"instance"`
}

// PlanResult is that plan and the state of the custom resource that it is for, read in the same step.
type PlanResult struct {
	Resource ResourceSignal `json:"resource"`
	// Profile is nil if the resource is gone, or if Error says why there is none.
	Profile *Profile `json:"profile,omitempty"`
	Error   string   `json:"error,omitempty"`
}

// FinalizerInput adds or removes Mainstay's finalizer on the custom resource. A resource that is gone is no error.
type FinalizerInput struct {
	Instance Instance `json:"instance"`
	Remove   bool     `json:"remove,omitempty"`
}
