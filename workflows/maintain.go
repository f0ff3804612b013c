package workflows

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// Maintain is the entity: one for each custom resource, from its creation until what was deployed for it is undone.
//
// It is driven by levels, not by edges. Signals, finished children and timers only change what it knows; one loop then
// compares what is wanted with what is, and starts what is missing. So the order in which things arrive does not
// matter, and a run that is terminated by a person is safely replaced by a new one.
//
// All signals are received in that loop and nowhere else: before continuing as new they can be drained completely
// without a yield, so that none is lost.
func Maintain(ctx workflow.Context, in plan.MaintainInput) error {
	m := &maintainer{ctx: ctx, in: in, running: map[string]*reaction{}, stalls: map[string]int{}, queue: newQueue(),
		serial: map[string]bool{}, noted: map[string]int64{}, writes: map[string]plan.Written{}, timers: map[string]*ruleTimer{}}
	m.resource = workflow.GetSignalChannelWithOptions(ctx, plan.SignalResource, workflow.SignalChannelOptions{
		Description: "The custom resource was created or changed, is being deleted, or is gone."})
	m.dirty = workflow.GetSignalChannelWithOptions(ctx, plan.SignalDirty, workflow.SignalChannelOptions{
		Description: "Objects that rules watch have changed: their keys and hashes."})
	m.resync = workflow.GetSignalChannelWithOptions(ctx, plan.SignalResync, workflow.SignalChannelOptions{
		Description: "All objects that the rules see now: what is missing was deleted while nobody watched."})
	if in.State != nil {
		m.st = *in.State
		for _, c := range m.st.Pending {
			m.queue.put(c)
		}
		for _, w := range m.st.Writes {
			m.writes[w.Rule+"|"+w.Key] = w
		}
		m.st.Pending, m.st.Writes = nil, nil
		for _, l := range m.st.Looping {
			m.lookLater(keyOf(l.Change))
		}
	}
	if m.st.Seen == nil {
		m.st.Seen = plan.Memory{}
	}
	if err := m.handle(); err != nil {
		return err
	}
	m.lastPhase, _, _ = m.phase() // the search attribute says so already: from the start, or from the run before
	m.startStatusWriter()
	if in.State == nil {
		if err := m.learn(ctx); err != nil {
			return err
		}
	}
	if d := m.st.Deployed; d != nil && d.Error != "" {
		m.startRetryTimer(d.Stalls)
	}
	return m.loop()
}

// maintainer is the state of one run of Maintain.
type maintainer struct {
	ctx workflow.Context
	in  plan.MaintainInput
	// st is what survives the run.
	st plan.MaintainState

	resource, dirty, resync workflow.ReceiveChannel

	// changed asks for another round of the loop.
	changed bool
	// deploy is the Deploy in progress; childRunning: its workflow has been started.
	deploy       *deployment
	childRunning bool
	// signals counts the resource signals.
	signals int
	// lookAgain asks for a look at the resource before a stalled Deploy is tried again: it may be gone.
	lookAgain bool
	// again asks for a Deploy although nothing differs: a retry or a sync.
	again bool
	// undeploying: Undeploy runs. undeployed: it is done. undeployError: why it stalled last.
	undeploying, undeployed bool
	undeployError           string
	undeployStalls          int
	// learning: a new plan is being fetched.
	learning bool
	// queue holds the changes to be handled; running the reactions by rule and object.
	queue   *queue
	running map[string]*reaction
	// serial are the rules that write what they watch: their reactions run one after the other.
	serial map[string]bool
	// writes are the states that rules wrote and others watch, by rule and object.
	writes map[string]plan.Written
	// decisions were made since the last workflow task that is known to have ended; breathing: one is being ended.
	decisions int
	breathing bool
	// noted is when what a rule made itself was remembered as handled, by rule and object.
	noted map[string]int64
	// timers are those of rules that run by the clock.
	timers map[string]*ruleTimer
	// listing is the resync of which parts have come.
	listing *listing
	// wakeRetry cancels the timer after which a stalled Deploy is tried again.
	wakeRetry workflow.CancelFunc
	// stalls counts by rule and object how often a reaction stalled in a row.
	stalls    map[string]int
	status    statusWriter
	lastPhase plan.Phase
}

// target is what a Deploy is for.
type target struct {
	Generation int64
	Revision   string
	Profile    string
}

func (m *maintainer) want() target {
	r := m.st.Resource
	return target{r.Generation, r.Revision, r.Profile}
}

// loop runs until the resource is gone.
func (m *maintainer) loop() error {
	for {
		m.changed = false
		m.drain()
		if done, err := m.step(); done || err != nil {
			return err
		}
		m.show()
		if m.mayContinue() {
			m.drain()
			return m.continueAsNew()
		}
		err := workflow.Await(m.ctx, func() bool {
			return m.changed || m.resource.Len() > 0 || m.dirty.Len() > 0 || m.resync.Len() > 0
		})
		if err != nil {
			return err // cancelled by a person; children are told by Temporal
		}
	}
}

// drain takes all signals that have arrived, without yielding.
func (m *maintainer) drain() {
	for {
		var s plan.ResourceSignal
		if !m.resource.ReceiveAsync(&s) {
			break
		}
		m.st.Resource = s
		m.signals++
	}
	// A list must not undo what was told after it was made, nor the other way round.
	type told struct {
		at   int64
		take func()
	}
	var all []told
	for {
		var d plan.Dirty
		if !m.dirty.ReceiveAsync(&d) {
			break
		}
		all = append(all, told{d.At, func() {
			for _, c := range d.Changes {
				m.queue.put(c)
			}
		}})
	}
	for {
		var r plan.Resync
		if !m.resync.ReceiveAsync(&r) {
			break
		}
		all = append(all, told{r.At, func() { m.takeList(r) }})
	}
	slices.SortStableFunc(all, func(a, b told) int { return cmp.Compare(a.at, b.at) })
	for _, t := range all {
		t.take()
	}
}

// step compares what is wanted with what is and starts what is missing. It reports whether Maintain's work is done.
func (m *maintainer) step() (bool, error) {
	if m.learning {
		return false, nil
	}
	r := m.st.Resource
	ending := r.Gone || r.Deleting
	if ending || m.replanned() {
		m.cancelReactions()
	}
	if m.deploy != nil && (ending || m.deploy.target != m.want() || m.overlong()) {
		m.deploy.cancel()
	}
	switch {
	case r.Gone:
		if m.idle() {
			m.letGo(m.ctx, m.st.Profile)
		}
		return m.idle(), nil
	case r.Deleting && m.undeployed:
		return true, nil
	case r.Deleting:
		switch {
		case !m.idle() || m.status.writing || m.ending():
		case m.replanned():
			m.startLearning()
		default:
			m.startUndeploy()
		}
		return false, nil
	case m.replanned():
		if m.idle() {
			m.startLearning()
		}
		return false, nil
	}
	if m.lookAgain && m.deploy == nil {
		m.lookAgain, m.again = false, true
		m.startLearning()
		return false, nil
	}
	if m.st.PlanError != "" {
		if m.again && m.idle() {
			m.again = false
			m.startLearning()
		}
		return false, nil
	}
	if m.ending() && (m.deploy == nil || m.overlong()) { // else the run can't end yet, and the rules go on reacting
		m.endRests()
		return false, nil
	}
	if m.deploy == nil && m.needsDeploy() && !m.st.Paused {
		m.startDeploy()
	}
	m.runTimers()
	if m.st.Established && !m.st.Paused {
		m.react()
	}
	return false, nil
}

// replanned tells whether the operator's folder or the resource's profile is another one than that of the plan.
func (m *maintainer) replanned() bool {
	return m.st.Resource.Revision != m.st.Revision || m.st.Resource.Profile != m.st.ProfileName
}

// idle: nothing runs that acts for the resource.
func (m *maintainer) idle() bool {
	return m.deploy == nil && len(m.running) == 0 && !m.undeploying
}

// ending: the server wants this run to end soon; nothing new is begun.
func (m *maintainer) ending() bool {
	return workflow.GetInfo(m.ctx).GetContinueAsNewSuggested()
}

// overlong: the history is so long that what runs is interrupted, to be taken up by the next run.
func (m *maintainer) overlong() bool {
	return workflow.GetInfo(m.ctx).GetCurrentHistoryLength() > maxHistory
}

// mayContinue tells whether the run may hand over to the next one.
func (m *maintainer) mayContinue() bool {
	if !m.ending() {
		return false
	}
	if m.overlong() {
		m.cancelReactions()
	} else if m.listing != nil {
		return false // its other parts are on their way
	}
	return m.idle() && !m.learning && !m.status.writing && workflow.AllHandlersFinished(m.ctx) && !m.st.Resource.Gone && !m.undeployed
}

// continueAsNew hands the state to a new run. There must be no yield between the last drain and this.
func (m *maintainer) continueAsNew() error {
	in := m.in
	in.State = &m.st
	m.st.Pending = m.queue.all()
	for _, k := range workflow.DeterministicKeys(m.writes) {
		if w := m.writes[k]; workflow.Now(m.ctx).Sub(w.At) <= writesKeptFor && len(m.st.Writes) < writesKept {
			m.st.Writes = append(m.st.Writes, w)
		}
	}
	return workflow.NewContinueAsNewError(m.ctx, plan.WorkflowMaintain, in)
}

// learn asks this process for the plan and for the state of the resource. It is done at the start, so that a Maintain
// that replaces a terminated one knows all without waiting for a signal, and whenever the plan is outdated. A profile
// that does not exist is a stall that ends when the resource names another one or the operator's folder has it.
func (m *maintainer) learn(ctx workflow.Context) error {
	ctx = workflow.WithLocalActivityOptions(ctx, localOptions(0))
	var signals int
	var res plan.PlanResult
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		signals, res = m.signals, plan.PlanResult{}
		if err := workflow.ExecuteLocalActivity(ctx, plan.ActivityPlan, plan.PlanInput{Instance: m.in.Instance}).Get(ctx, &res); err != nil {
			return err
		}
		if want := m.st.Resource.Revision; want == "" || want == res.Resource.Revision {
			break
		}
		// While replicas are exchanged, a process with another revision of the folder may answer. What the leader says
		// counts, and it says it once.
		options := workflow.TimerOptions{Summary: "ask a process that serves revision " + short(m.st.Resource.Revision)}
		if err := workflow.NewTimerWithOptions(ctx, pause, options).Get(ctx, nil); err != nil {
			return err
		}
	}
	if m.signals == signals {
		m.st.Resource = res.Resource
	} else { // a signal that came meanwhile is newer, but the plan is what this process has
		m.st.Resource.Revision = res.Resource.Revision
	}
	m.st.Revision, m.st.ProfileName, m.st.PlanError = res.Resource.Revision, res.Resource.Profile, res.Error
	var old []plan.Rule
	if m.st.Profile != nil {
		old = m.st.Profile.Rules
	}
	if res.Profile != nil {
		m.st.Profile = res.Profile
	}
	if m.st.Profile == nil {
		m.st.Profile = &plan.Profile{Name: res.Resource.Profile}
	}
	m.keepRules(ctx, old)
	if m.st.PlanError != "" || !m.needsDeploy() { // else a Deploy follows, and has more to say
		m.markStatus(true)
	}
	return nil
}

func (m *maintainer) startLearning() {
	m.learning = true
	workflow.GoNamed(m.ctx, "learn", func(ctx workflow.Context) {
		if err := m.learn(ctx); err != nil {
			workflow.GetLogger(m.ctx).Error("plan not read", "error", err)
		}
		m.learning, m.changed = false, true
	})
}

// keepRules drops what is remembered of rules that the plan no longer has, makes a status line for each it has, and
// lets go what a former rule held.
func (m *maintainer) keepRules(ctx workflow.Context, former []plan.Rule) {
	let := &plan.Profile{}
	for _, r := range former {
		now, ok := m.rule(r.Name)
		same := ok && now.Watch.Kind == r.Watch.Kind && now.Watch.APIVersion == r.Watch.APIVersion
		if !same || !now.Watch.Hold {
			let.Rules = append(let.Rules, r)
		}
		if !same { // what it knows is of other objects
			defer func() { delete(m.st.Seen, r.Name) }()
			m.queue.drop(r.Name)
		}
	}
	m.letGo(ctx, let)
	old := map[string]plan.RuleStatus{}
	for _, r := range m.st.Rules {
		old[r.Name] = r
	}
	seen := plan.Memory{}
	m.st.Rules = []plan.RuleStatus{}
	for _, r := range m.st.Profile.Rules {
		if s := m.st.Seen[r.Name]; s != nil {
			seen[r.Name] = s
		}
		st := old[r.Name]
		st.Name = r.Name
		m.st.Rules = append(m.st.Rules, st)
	}
	m.st.Seen = seen
	for _, name := range workflow.DeterministicKeys(m.st.Fired) {
		if _, ok := m.rule(name); !ok {
			delete(m.st.Fired, name)
		}
	}
	m.keepLoops()
}

// show brings the current details and the search attribute up to date.
func (m *maintainer) show() {
	workflow.SetCurrentDetails(m.ctx, m.details())
	phase, _, _ := m.phase()
	if phase == m.lastPhase {
		return
	}
	m.lastPhase = phase
	if m.in.SearchAttributes {
		err := workflow.UpsertTypedSearchAttributes(m.ctx, phaseAttribute.ValueSet(string(phase)))
		if err != nil {
			workflow.GetLogger(m.ctx).Warn("search attribute not set", "error", err)
		}
	}
}

// phaseAttribute is the search attribute that holds the phase.
var phaseAttribute = temporal.NewSearchAttributeKeyKeyword("MainstayPhase")

// rule finds a rule of the plan by its name.
func (m *maintainer) rule(name string) (plan.Rule, bool) {
	for _, r := range m.st.Profile.Rules {
		if r.Name == name {
			return r, true
		}
	}
	return plan.Rule{}, false
}

// releases are the default names of the releases of the deploy list, for the templates.
func (m *maintainer) releases() map[string]string {
	out := map[string]string{}
	for _, c := range m.st.Profile.Deploy {
		if c.Helm != nil {
			out[c.Name] = plan.ReleaseName(m.in.Instance, c.Name)
		}
	}
	return out
}

// objectName names a rule's object for people: "Service default/demo", or what it has instead of one.
func objectName(r plan.Rule, c plan.Change) string {
	switch {
	case r.Watch.SQL != nil:
		return "the query"
	case r.Watch.Kind == "":
		return "the timer"
	}
	n := c.Name
	if c.Namespace != "" {
		n = c.Namespace + "/" + n
	}
	return fmt.Sprintf("%s %s", r.Watch.Kind, n)
}
