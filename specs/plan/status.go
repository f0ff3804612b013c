package plan

import "time"

// Phase is the one-word state of an instance. It is the STATUS column of kubectl and the search attribute
// MainstayPhase.
type Phase string

// The phases of an instance's life.
const (
	PhaseDeploying Phase = "Deploying"
	PhaseReady     Phase = "Ready"
	PhaseStalled   Phase = "Stalled"
	PhasePaused    Phase = "Paused"
	PhaseDeleting  Phase = "Deleting"
)

// State is how a command or a rule stands.
type State string

// The states of a command, and of a rule's last reaction.
const (
	StatePending   State = "Pending"
	StateRunning   State = "Running"
	StateRetrying  State = "Retrying"
	StateSucceeded State = "Succeeded"
	StateFailed    State = "Failed"
	StateCanceled  State = "Canceled"
	// StateSkipped: the rule decided that nothing was to be done.
	StateSkipped State = "Skipped"
	// StateLooping: the loop breaker has stopped the rule on an object.
	StateLooping State = "Looping"
)

// CommandStatus is how a command of the deploy or undeploy list stands. In .status the list is keyed by Name.
type CommandStatus struct {
	Name     string `json:"name"`
	Kind     string `json:"cmd"`
	State    State  `json:"state"`
	Attempts int32  `json:"attempts,omitempty"`
	// Message says what was done, or the last error.
	Message  string     `json:"message,omitempty"`
	Started  *time.Time `json:"startedAt,omitempty"`
	Finished *time.Time `json:"finishedAt,omitempty"`
}

// RuleStatus is a rule's last reaction. In .status the list is keyed by Name.
type RuleStatus struct {
	Name  string `json:"name"`
	State State  `json:"state,omitempty"`
	// Object that it reacted to: "Service default/demo".
	Object string `json:"object,omitempty"`
	// Message says what was done, or the last error.
	Message   string     `json:"message,omitempty"`
	Attempts  int32      `json:"attempts,omitempty"`
	Reactions int64      `json:"reactions,omitempty"`
	Finished  *time.Time `json:"finishedAt,omitempty"`
}

// StatusInput is what the status activity writes into the custom resource's .status. Nil lists and maps leave what
// is there; empty ones clear it.
type StatusInput struct {
	Instance Instance `json:"instance"`
	// Generation that this is about: .status.observedGeneration.
	Generation int64  `json:"generation"`
	Revision   string `json:"revision,omitempty"`
	Phase      Phase  `json:"phase"`
	// Reason is a CamelCase word for machines, Message a sentence for people; both go to the conditions.
	Reason    string          `json:"reason"`
	Message   string          `json:"message"`
	Commands  []CommandStatus `json:"commands,omitzero"`
	Rules     []RuleStatus    `json:"rules,omitzero"`
	Inventory []ObjectRef     `json:"inventory,omitzero"`
	Releases  []Release       `json:"releases,omitzero"`
	// RunID of the Maintain workflow, for the link.
	RunID string `json:"runId,omitempty"`
}
