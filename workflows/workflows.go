// Package workflows holds the three durable programs of Mainstay: Maintain, the entity that lives as long as a custom
// resource does, and its children Deploy and Undeploy, which run a list of commands.
//
// The code here is deterministic: it is replayed from a history after every crash. So it imports the plan and the
// SDK's workflow package only; it calls commands by their kind's name; templates, SQL, conditions, YAML and every look
// at the cluster are activities. It keeps keys and hashes, never objects. What an error means is decided in package
// activities; here an error that comes out of an activity is final.
package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// Registry is the part of a worker that Register needs.
type Registry interface {
	RegisterWorkflowWithOptions(w any, options workflow.RegisterOptions)
}

// Register makes the three workflows known to a worker.
func Register(r Registry) {
	r.RegisterWorkflowWithOptions(Maintain, workflow.RegisterOptions{Name: plan.WorkflowMaintain})
	r.RegisterWorkflowWithOptions(Deploy, workflow.RegisterOptions{Name: plan.WorkflowDeploy})
	r.RegisterWorkflowWithOptions(Undeploy, workflow.RegisterOptions{Name: plan.WorkflowUndeploy})
}

const (
	// maxReactions is how many reactions of one instance run side by side.
	maxReactions = 16
	// maxReactionsOfRule is how many of them one rule may have: a rule whose targets are all missing must not hold up
	// the others.
	maxReactionsOfRule = 8
	// maxDecisions is how many decisions may be made in one workflow task.
	maxDecisions = 100
	// heartbeatTimeout is how long the death of a worker goes unnoticed while one of its activities runs.
	heartbeatTimeout = 10 * time.Second
	// statusPause is the least time between two writes of the status for reactions alone: a storm of reactions must
	// not become a storm of status writes.
	statusPause = time.Second
	// firstStallPause and maxStallPause bound the pause after which a stalled deploy or reaction is tried again. It
	// doubles with every stall: a cause that is mended in the cluster (a quota, a permission) needs no help from
	// people, and one that isn't costs next to nothing.
	firstStallPause = 30 * time.Second
	maxStallPause   = 10 * time.Minute
	// maxHistory is the number of events after which a run ends even if that means to interrupt what is running.
	// Temporal terminates a workflow at 51,200.
	maxHistory = 30_000
)

// stallPause is the pause after the n-th stall in a row, n from 1.
func stallPause(n int) time.Duration {
	d := firstStallPause
	for ; n > 1 && d < maxStallPause; n-- {
		d *= 2
	}
	return min(d, maxStallPause)
}
