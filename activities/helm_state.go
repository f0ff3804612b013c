package activities

import (
	"helm.sh/helm/v3/pkg/release"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// releaseState is what the records say of a release, in one word.
type releaseState string

const (
	stateAbsent       releaseState = "absent"       // no record
	stateForeign      releaseState = "foreign"      // another instance's, or no instance's at all
	stateCurrent      releaseState = "current"      // deployed from the wanted inputs
	stateOutdated     releaseState = "outdated"     // deployed, or superseded by a revision whose record is gone
	stateFailed       releaseState = "failed"       // the wanted inputs failed
	stateFailedOther  releaseState = "failed other" // other inputs failed, after a revision that was deployed
	stateNeverUp      releaseState = "never up"     // other inputs failed, and no revision was ever deployed
	statePending      releaseState = "pending"      // a crash interrupted the wanted inputs
	statePendingOther releaseState = "pending other"
	stateUninstalling releaseState = "uninstalling"
	stateUninstalled  releaseState = "uninstalled" // uninstalled, with its history kept
)

// observe names the state of a release, from its records, oldest first.
func observe(history []*release.Release, digest, label string) releaseState {
	if len(history) == 0 {
		return stateAbsent
	}
	last := history[len(history)-1]
	if last.Labels[plan.InstanceLabel] != label {
		return stateForeign
	}
	wanted := last.Labels[plan.DigestLabel] == digest
	switch s := last.Info.Status; {
	case s == release.StatusUninstalling:
		return stateUninstalling
	case s == release.StatusUninstalled:
		return stateUninstalled
	case s.IsPending() && wanted:
		return statePending
	case s.IsPending():
		return statePendingOther
	case s == release.StatusDeployed && wanted:
		return stateCurrent
	case s == release.StatusDeployed, s == release.StatusSuperseded:
		return stateOutdated
	case wanted:
		return stateFailed
	}
	for _, r := range history {
		if r.Info.Status == release.StatusDeployed || r.Info.Status == release.StatusSuperseded {
			return stateFailedOther
		}
	}
	return stateNeverUp
}

// releaseStep is what is done next to bring a release to the state "current".
type releaseStep string

const (
	stepNone      releaseStep = "none"
	stepRefuse    releaseStep = "refuse"
	stepInstall   releaseStep = "install"
	stepUpgrade   releaseStep = "upgrade"
	stepReinstall releaseStep = "reinstall" // install as the next revision
	stepRedo      releaseStep = "redo"      // make the newest revision again, in place of its record
	stepGiveUp    releaseStep = "give up"   // mark the newest record as failed
	stepUninstall releaseStep = "uninstall"
)

// choose picks the step for a state. Redo counts attempts out of the revision numbers: after a crash or a failure that
// time has healed, the release looks as if nothing had happened. A record of other inputs stays, as failed: it may be
// the only trace of objects that its attempt made. And a release that was never up is installed, not upgraded, because
// its install hooks have not run.
func choose(s releaseState) releaseStep {
	switch s {
	case stateAbsent:
		return stepInstall
	case stateCurrent:
		return stepNone
	case stateOutdated, stateFailedOther:
		return stepUpgrade
	case stateFailed, statePending:
		return stepRedo
	case statePendingOther:
		return stepGiveUp
	case stateNeverUp, stateUninstalled:
		return stepReinstall
	case stateUninstalling:
		return stepUninstall
	}
	return stepRefuse
}

// unfinished are the records before the newest whose attempts failed: what they made and the newest doesn't name is
// nobody's.
func unfinished(history []*release.Release) []*release.Release {
	end := max(0, len(history)-1)
	start := end
	for start > 0 {
		if s := history[start-1].Info.Status; s != release.StatusFailed && !s.IsPending() {
			break
		}
		start--
	}
	return history[start:end]
}
