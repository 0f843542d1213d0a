package run

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/agent/crashpoint"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Launch steps. A failed launch undoes them in reverse order. Progress, logs and errors show the
// names.
const (
	reserveName      = "reserve name"
	resolveImage     = "resolve image"
	storeContainer   = "store container"
	reserveAddresses = "reserve addresses"
	startMonitor     = "start monitor"
	prepareRootfs    = "prepare rootfs"
	mountNames       = "mount name files"
	joinNetwork      = "join network"
	registerNames    = "register names"
	publishPorts     = "publish ports"
	createProcess    = "create process"
	attachOutput     = "attach output"
	startProcess     = "start process"
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

	life             *lifecycle
	warnings         []string
	firewallWarnings <-chan []string // pending warnings of natagent; nil if none are pending
}

// launch is a launch in progress. Each field is set by one step and read by later steps.
type launch struct {
	r       *Runner
	id      string
	req     Request
	initial container.Status // status stored before the process runs
	life    *lifecycle

	name    string
	image   *store.Image
	process *container.Process
	c       *container.Container

	monitor Monitor
	rootfs  string
	targets []string // mount targets with symlinks resolved
	live    container.RunState
	output  Output

	warnings         []string        // from publishPorts
	firewallWarnings <-chan []string // see Launched
	internal         bool            // all networks are internal
}

// createSteps returns the steps that create a container.
func (l *launch) createSteps() []saga.Step {
	return []saga.Step{l.reserveName(), l.resolveImage(), l.storeContainer()}
}

// acquireSteps returns the steps that allocate addresses, names and ports. Their undo runs first at
// an exit.
func (l *launch) acquireSteps(after string) []saga.Step {
	if with, ok := l.req.Config.Network.Mode.Joined(); ok {
		return []saga.Step{l.mountNames(after), l.joinNamespace(after, with), l.shareNames()}
	}
	steps := []saga.Step{l.mountNames(after), l.joinNetwork(after), l.registerNames()}
	if l.publishes() {
		steps = append(steps, l.publishPorts())
	}
	return steps
}

// processSteps returns the steps that create the monitor, the rootfs and the process.
func (l *launch) processSteps(after string) []saga.Step {
	return []saga.Step{l.startMonitor(after), l.prepareRootfs(after), l.createProcess()}
}

// runSteps returns the steps of `run`.
func (l *launch) runSteps() []saga.Step {
	steps := append(l.createSteps(), l.startSteps(resolveImage)...)
	last := &steps[len(steps)-1]
	last.After = append(last.After, storeContainer)
	return steps
}

// startSteps returns the steps of `start`.
func (l *launch) startSteps(after string) []saga.Step {
	body := l.processSteps(after)
	steps := append(body[:2:2], l.acquireSteps(after)...)
	steps = append(steps, body[2])
	if l.req.Attach {
		steps = append(steps, l.attachOutput())
	}
	return append(steps, l.startProcess())
}

// Run creates a container and starts it. It removes everything it created on failure.
func (r *Runner) Run(ctx context.Context, req Request) (*Launched, error) {
	if err := r.prepare(&req.Config); err != nil {
		return nil, err
	}
	l := &launch{r: r, id: id.New(), req: req, initial: container.Launching}
	if err := l.resolveReferences(ctx); err != nil {
		return nil, err
	}
	if err := l.validate(); err != nil {
		return nil, err
	}
	return l.run(ctx, l.runSteps())
}

// Create creates a container without starting it.
func (r *Runner) Create(ctx context.Context, req Request) (*Launched, error) {
	if err := r.prepare(&req.Config); err != nil {
		return nil, err
	}

	l := &launch{r: r, id: id.New(), req: req, initial: container.Created}
	if err := l.resolveReferences(ctx); err != nil {
		return nil, err
	}

	if err := l.validate(); err != nil {
		return nil, err
	}

	steps := l.createSteps()
	if l.req.Config.Network.Fixed() {
		steps = append(steps, l.reserveAddresses())
	}

	if err := saga.Run(ctx, steps, l.observe()); err != nil {
		return nil, err
	}

	r.emit(l.c, "create")
	created := &Launched{Container: l.c}
	if l.internal && l.publishes() {
		created.warnings = append(created.warnings, l.unpublished())
	}

	return created, nil
}

// Start starts a container. It does nothing if the container is running, or connects to its streams
// if attach is set.
func (r *Runner) Start(ctx context.Context, ref string, attach bool, rows, cols uint16) (*Launched, error) {
	c, err := r.Store.FindContainer(ref)
	if err != nil {
		return nil, err
	}

	unlock, err := r.lockStopped(ctx, c.ID)
	if err != nil {
		return nil, err
	}

	defer unlock()

	if c, err = r.Store.GetContainer(c.ID); err != nil {
		return nil, err
	}

	if c, err = r.completed(ctx, c); err != nil {
		return nil, err
	}

	if c.IsRunning() {
		if !attach {
			return &Launched{Container: c}, nil
		}
		if launched, err := r.attachUnlessEnding(ctx, c, rows, cols); launched != nil || err != nil {
			return launched, err
		}
	}

	return r.start(ctx, c.ID, attach, rows, cols)
}

// attachUnlessEnding connects to a running container. The container's lock must be held.
// If the process has exited meanwhile, it concludes the run and returns nil.
func (r *Runner) attachUnlessEnding(ctx context.Context, c *container.Container, rows, cols uint16) (*Launched, error) {
	launched, err := r.attachTo(ctx, c, rows, cols)
	if err == nil || !r.isEnding(ctx, c.ID) {
		return launched, err
	}
	return nil, r.conclude(ctx, c.ID, r.lives.of(c.ID))
}

// start starts a container that is not running. The container's lock must be held.
func (r *Runner) start(ctx context.Context, uid string, attach bool, rows, cols uint16) (*Launched, error) {
	c, err := r.Store.GetContainer(uid)
	if err != nil {
		return nil, err
	}

	if c.Status == container.Removing {
		return nil, fault.New(fault.Conflict, c.Subject(), "container is marked for removal and cannot be started")
	}

	l := r.relaunch(c)
	l.req.Attach, l.req.Rows, l.req.Cols = attach, rows, cols
	img, err := r.Images.Resolve(c.ImageID, "")
	if err != nil {
		return nil, err
	}

	l.image = img
	if err := l.validate(); err != nil {
		return nil, err
	}

	launched, err := l.supervised(ctx, l.startSteps(""))
	if err != nil {
		l.storeStartError(err)
		return nil, err
	}

	return launched, nil
}

// relaunch returns the launch of a stored container, to start it or to undo its steps.
func (r *Runner) relaunch(c *container.Container) *launch {
	return &launch{r: r, id: c.ID, req: Request{Config: c.Config}, name: c.Config.Name, process: &c.Process, c: c}
}

// validate checks the runtime, the host and the mount sources before the first step.
func (l *launch) validate() error {
	if _, err := l.r.Processes.Runtime(l.req.Config.Runtime); err != nil {
		return err
	}
	if err := l.r.checkHost(&l.req.Config); err != nil {
		return err
	}
	return checkSources(&l.req.Config)
}

// run executes the steps with the container's lock held.
func (l *launch) run(ctx context.Context, steps []saga.Step) (*Launched, error) {
	unlock, err := l.r.lives.lock(ctx, l.id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return l.supervised(ctx, steps)
}

// supervised executes steps that start a process, and records the run in Runner.lives.
func (l *launch) supervised(ctx context.Context, steps []saga.Step) (*Launched, error) {
	l.life = l.r.lives.begin(l.id)
	began := time.Now()
	err := saga.Run(ctx, steps, l.observe())
	if l.life.failed = err != nil; err == nil {
		l.emitLaunched()
	}

	close(l.life.launched)
	if err != nil {
		l.r.lives.end(l.id, l.life)
		l.r.logFor(l.id).Info("launch failed", "name", l.name, "error", err, "took", time.Since(began))
		return nil, err
	}

	l.r.logFor(l.id).Info("launched", "name", l.name, "pid", l.live.PID, "took", time.Since(began))
	return &Launched{Container: l.c, Output: l.output, life: l.life, warnings: l.warnings,
		firewallWarnings: l.firewallWarnings}, nil
}

// observe returns an Observer that reports steps to the client and the log.
func (l *launch) observe() saga.Observer {
	log := l.r.logFor(l.id)
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
		l.r.logFor(l.id).Warn("cannot store start error", "error", uerr)
	}
}

// withCallTimeout returns a context with the timeout of a call to another service.
func withCallTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, crashpoint.Shorten(callTimeout))
}
