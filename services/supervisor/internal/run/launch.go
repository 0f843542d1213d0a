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

// The steps of a launch, in the order in which a failed one is undone from the end. Names show in progress, logs and errors.
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

// Credentials are for the image's registry.
type Credentials struct{ Username, Password, IdentityToken string }

// Request is what a client wants run or created.
type Request struct {
	Config      container.Config
	Credentials Credentials
	Attach      bool // give the launch an Attachment
	Rows, Cols  uint16
	Progress    func(image.Progress) // called one at a time; may be nil
}

// Launched is what a launch gives.
type Launched struct {
	Container *container.Container
	Output    Output // with Request.Attach

	life     *lifecycle
	warnings []string
	reviewed <-chan []string // more warnings; nil if no more are to come
}

// launch is one launch on its way. Each field is set by one step and read by steps that come after it.
type launch struct {
	r       *Runner
	id      string
	req     Request
	initial container.Status // what is stored before the process runs
	life    *lifecycle

	name    string
	image   *store.Image
	process *container.Process
	c       *container.Container

	monitor Monitor
	rootfs  string
	targets []string // of the mounts, without symlinks
	live    container.RunState
	output  Output

	warnings []string        // of publishPorts
	reviewed <-chan []string // as in Launched
	internal bool            // it is on internal networks only
}

// createSteps is what makes a container be there.
func (l *launch) createSteps() []saga.Step {
	return []saga.Step{l.reserveName(), l.resolveImage(), l.storeContainer()}
}

// acquireSteps are what a running container has that others may want: addresses, names, ports. They are given back first.
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

// processSteps is what is heavy to take down: the process, its monitor and its root file system.
func (l *launch) processSteps(after string) []saga.Step {
	return []saga.Step{l.startMonitor(after), l.prepareRootfs(after), l.createProcess()}
}

// runSteps is the whole way of `run`.
func (l *launch) runSteps() []saga.Step {
	steps := append(l.createSteps(), l.startSteps(resolveImage)...)
	last := &steps[len(steps)-1]
	last.After = append(last.After, storeContainer)
	return steps
}

// startSteps is the way of `start`: everything that a process needs, and the process.
func (l *launch) startSteps(after string) []saga.Step {
	body := l.processSteps(after)
	steps := append(body[:2:2], l.acquireSteps(after)...)
	steps = append(steps, body[2])
	if l.req.Attach {
		steps = append(steps, l.attachOutput())
	}
	return append(steps, l.startProcess())
}

// Run creates a container and starts it. When it fails, nothing is left.
func (r *Runner) Run(ctx context.Context, req Request) (*Launched, error) {
	req.Config.Network = req.Config.Network.Normalized()
	if err := req.Config.Validate(); err != nil {
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

// Create makes a container without starting it.
func (r *Runner) Create(ctx context.Context, req Request) (*Launched, error) {
	req.Config.Network = req.Config.Network.Normalized()
	if err := req.Config.Validate(); err != nil {
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

// Start starts a container that does not run. Starting one that runs is no error, unless its output is wanted.
func (r *Runner) Start(ctx context.Context, ref string, attach bool, rows, cols uint16) (*Launched, error) {
	c, err := r.Store.FindContainer(ref)
	if err != nil {
		return nil, err
	}
	unlock, err := r.atRest(ctx, c.ID)
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

// attachUnlessEnding attaches to a running container. If its process has ended meanwhile, it concludes its run and returns nothing. The
// caller holds the lock.
func (r *Runner) attachUnlessEnding(ctx context.Context, c *container.Container, rows, cols uint16) (*Launched, error) {
	launched, err := r.attachTo(ctx, c, rows, cols)
	if err == nil || !r.isEnding(ctx, c.ID) {
		return launched, err
	}
	return nil, r.conclude(ctx, c.ID, r.lives.of(c.ID))
}

// start starts a container that does not run. The caller holds the lock.
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
		l.rememberFailure(err)
		return nil, err
	}
	return launched, nil
}

// relaunch gives the launch of a container that is stored already, to start it or to walk its steps backwards.
func (r *Runner) relaunch(c *container.Container) *launch {
	return &launch{r: r, id: c.ID, req: Request{Config: c.Config}, name: c.Config.Name, process: &c.Process, c: c}
}

// validate checks what must be known before the first step.
func (l *launch) validate() error {
	if _, err := l.r.Processes.Runtime(l.req.Config.Runtime); err != nil {
		return err
	}
	return checkSources(&l.req.Config)
}

// run walks the steps with the container's lock held.
func (l *launch) run(ctx context.Context, steps []saga.Step) (*Launched, error) {
	unlock, err := l.r.lives.lock(ctx, l.id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return l.supervised(ctx, steps)
}

// supervised walks steps at whose end a process runs, and keeps the run's life.
func (l *launch) supervised(ctx context.Context, steps []saga.Step) (*Launched, error) {
	l.life = l.r.lives.begin(l.id)
	began := time.Now()
	err := saga.Run(ctx, steps, l.observe())
	if l.life.failed = err != nil; err == nil {
		l.tellLaunched()
	}
	close(l.life.launched)
	if err != nil {
		l.r.lives.end(l.id, l.life)
		l.r.logFor(l.id).Info("launch failed", "name", l.name, "error", err, "took", time.Since(began))
		return nil, err
	}
	l.r.logFor(l.id).Info("launched", "name", l.name, "pid", l.live.PID, "took", time.Since(began))
	return &Launched{Container: l.c, Output: l.output, life: l.life, warnings: l.warnings, reviewed: l.reviewed}, nil
}

// observe reports steps to the client and, in detail, to the log.
func (l *launch) observe() saga.Observer {
	log := l.r.logFor(l.id)
	return func(step string) {
		log.Debug("launch step", "step", step)
		if l.req.Progress != nil {
			l.req.Progress(image.Progress{Step: step, Subject: l.name})
		}
	}
}

// rememberFailure keeps why a stored container did not start.
func (l *launch) rememberFailure(err error) {
	_, uerr := l.r.Store.UpdateContainer(l.id, func(c *container.Container) *container.Container { return c.FailedToStart(err) })
	if uerr != nil {
		l.r.logFor(l.id).Warn("cannot store why it did not start", "error", uerr)
	}
}

// withCallTimeout bounds a call to another service.
func withCallTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, crashpoint.Shorten(callTimeout))
}
