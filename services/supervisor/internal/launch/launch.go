package launch

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/agent/tracing"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/bindsource"
	"github.com/fairlead/fairlead/services/supervisor/internal/cdi"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
	"github.com/fairlead/fairlead/services/supervisor/internal/notices"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Credentials authenticate at the registry of the image.
type Credentials struct{ Username, Password, IdentityToken string }

// Request is a request to run or create a container.
type Request struct {
	Config      container.Config
	Credentials Credentials
	Attach      bool // connect Launched.Output
	Rows, Cols  uint16
	Progress    func(image.Progress) // called one at a time; may be nil
}

// Launched is the result of a launch.
type Launched struct {
	Container *container.Container
	Output    Output // with Request.Attach
	// WasRunning reports that the container was started before.
	WasRunning bool

	Run              *lives.Run // nil if the process exited between lookup and attach
	warnings         []string
	firewallWarnings <-chan []string // pending warnings of natagent; nil if none are pending
}

// Warnings returns the warnings of a launch, one line each. It waits for natagent until ctx is
// done.
func (l *Launched) Warnings(ctx context.Context) []string {
	if l.firewallWarnings == nil {
		return l.warnings
	}
	select {
	case w := <-l.firewallWarnings:
		l.warnings, l.firewallWarnings = append(l.warnings, w...), nil
	case <-ctx.Done():
	}
	return l.warnings
}

// launch is a launch in progress. Each field is set by one step and read by later steps.
type launch struct {
	r       *Launcher
	id      string
	req     Request
	initial container.Status // status stored before the process runs
	policy  bool             // see StartOptions
	life    *lives.Run

	name    string
	image   *store.Image
	process *container.Process
	c       *container.Container
	edits   []cdi.Edits // of the requested devices; set by validate

	monitor Monitor
	rootfs  string
	sources []string // mount sources on the host
	targets []string // mount targets with symlinks resolved
	live    container.RunState
	output  Output
	waiters []*Waiter // clients that attached before the start

	stored         chan struct{}      // closed when the container is stored
	mounted        chan struct{}      // closed when sources is set
	createdVolumes []string           // that did not exist before
	createdSources bindsource.Created // of mounts, by this launch
	processStarted bool
	deleted        bool // deleteProcess has succeeded
	blocked        bool // the undo of applyPolicy left rules that block the endpoints
	mayRun         bool // the process could not be ended
	fresh          bool // the container never ran

	warnings         []string        // from publishPorts
	firewallWarnings <-chan []string // see Launched
	internal         bool            // all networks are internal
}

// Run creates a container and starts it. It removes everything it created on failure.
func (r *Launcher) Run(ctx context.Context, req Request) (*Launched, error) {
	if err := r.prepare(&req.Config); err != nil {
		return nil, err
	}
	l := r.newLaunch(req, container.Launching)
	if err := l.resolveReferences(ctx); err != nil {
		return nil, err
	}
	if err := l.validate(); err != nil {
		return nil, err
	}
	return l.run(ctx, l.runSteps())
}

func (r *Launcher) newLaunch(req Request, initial container.Status) *launch {
	return &launch{r: r, id: id.New(), req: req, initial: initial, fresh: true, stored: make(chan struct{}),
		mounted: make(chan struct{})}
}

// Create creates a container without starting it.
func (r *Launcher) Create(ctx context.Context, req Request) (*Launched, error) {
	if err := r.prepare(&req.Config); err != nil {
		return nil, err
	}

	l := r.newLaunch(req, container.Created)
	if err := l.resolveReferences(ctx); err != nil {
		return nil, err
	}

	if err := l.validate(); err != nil {
		return nil, err
	}

	steps := append(l.createSteps(), l.fillVolumes())
	if l.req.Config.Network.Fixed() {
		steps = append(steps, l.reserveAddresses())
	}

	if err := saga.Run(ctx, steps, l.observe()); err != nil {
		return nil, err
	}

	r.Notices.Emit(l.c, "create")
	warnings := append(l.req.Config.Resources.Warnings(), l.r.Policies.Advice(planned(l))...)
	if l.internal && l.publishes() {
		warnings = append(warnings, notices.Unpublished(l.name))
	}

	return &Launched{Container: l.c, warnings: warnings}, nil
}

// StartOptions holds the options of Start.
type StartOptions struct {
	Attach     bool // connect Launched.Output
	Rows, Cols uint16
	Policy     bool // the restart policy starts it, not a user
}

// Start starts a container that is not running. The container's lock must be held.
func (r *Launcher) Start(ctx context.Context, uid string, opts StartOptions) (*Launched, error) {
	c, err := r.Store.GetContainer(uid)
	if err != nil {
		return nil, err
	}

	if c.Status == container.Removing {
		return nil, fault.New(fault.Conflict, c.Subject(), "container is marked for removal and cannot be started")
	}

	l := r.relaunch(c)
	l.req.Attach, l.req.Rows, l.req.Cols, l.policy = opts.Attach, opts.Rows, opts.Cols, opts.Policy
	img, err := r.Images.Resolve(c.ImageID, "")
	if err != nil {
		return nil, err
	}

	l.image = img
	if err := l.validate(); err != nil {
		return nil, err
	}

	l.waiters = r.Waiters.take(uid)
	launched, err := l.supervised(ctx, l.startSteps(""))
	if err != nil {
		l.storeStartError(err)
		return nil, err
	}

	return launched, nil
}

// Check returns the error that a start of c meets before its first step.
func (r *Launcher) Check(c *container.Container) error { return r.relaunch(c).validate() }

// validate checks the runtime, the host and the mount sources before the first step.
func (l *launch) validate() error {
	if _, err := l.r.Processes.Runtime(l.req.Config.Runtime); err != nil {
		return err
	}
	if err := l.r.checkHost(&l.req.Config); err != nil {
		return err
	}
	edits, err := findEdits(l.r.CDI, &l.req.Config)
	if err != nil {
		return err
	}
	l.edits = edits
	if err := l.checkNamespaces(); err != nil {
		return err
	}
	if err := l.r.Policies.Check(planned(l)); err != nil {
		return err
	}
	if err := checkDevices(&l.req.Config); err != nil {
		return err
	}
	return bindsource.Check(&l.req.Config)
}

// run executes the steps with the container's lock held.
func (l *launch) run(ctx context.Context, steps []saga.Step) (*Launched, error) {
	unlock, err := l.r.Lives.Lock(ctx, l.id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return l.supervised(ctx, steps)
}

// supervised executes steps that start a process, and records the run in Launcher.Lives.
func (l *launch) supervised(ctx context.Context, steps []saga.Step) (*Launched, error) {
	l.life = l.r.Lives.Begin(l.id)
	began := time.Now()
	ctx, span := tracing.Begin(ctx, "launch")
	err := saga.Run(ctx, l.r.Times.timed(steps), l.observe())
	endSpan(l, span, err)
	l.r.Times.All.Add(time.Since(began), outcomeOf(err))
	if l.life.Failed = err != nil; err == nil {
		l.r.Notices.Launched(l.c, l.initial == container.Launching, l.live.Endpoints)
	}

	close(l.life.Launched)
	l.answerWaiters(l.life, err)
	if err != nil {
		l.r.Lives.Forget(l.id, l.life)
		l.r.LogFor(l.id).Info("launch failed", "name", l.name, "error", err, "took", time.Since(began))
		return nil, err
	}

	l.r.Started(l.c, l.life)
	l.r.LogFor(l.id).Info("launched", "name", l.name, "pid", l.live.PID, "took", time.Since(began))
	warnings := l.warnings
	if l.initial == container.Launching { // otherwise its creation reported them
		warnings = append(append(l.req.Config.Resources.Warnings(), warnings...), l.r.Policies.Advice(memberOf(l))...)
	}
	return &Launched{Container: l.c, Output: l.output, Run: l.life, warnings: warnings,
		firewallWarnings: l.firewallWarnings}, nil
}

// endSpan ends the span of a launch.
func endSpan(l *launch, span tracing.Step, err error) {
	if span.Recorded() {
		span.Set("container.id", l.id)
		span.Set("container.name", l.name)
		span.Set("container.image.name", l.req.Config.Image)
		span.End(err)
	}
}

// observe returns an Observer that reports steps to the client and the log.
func (l *launch) observe() saga.Observer {
	log := l.r.LogFor(l.id)
	return func(step string) {
		log.Debug("launch step", "step", step)
		if l.req.Progress != nil {
			l.req.Progress(image.Progress{Step: step, Subject: l.name})
		}
	}
}

// storeStartError stores why a container did not start.
func (l *launch) storeStartError(err error) {
	_, uerr := l.r.Store.UpdateContainer(l.id,
		func(c *container.Container) *container.Container { return c.FailedToStart(err) })
	if uerr != nil {
		l.r.LogFor(l.id).Warn("cannot store start error", "error", uerr)
	}
}
