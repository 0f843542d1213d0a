package daemon

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/holder"
	"github.com/fairlead/fairlead/agent/listen"
	"github.com/fairlead/fairlead/agent/process"
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
)

// configuration is what is in effect in this process, and how another one gets into effect.
type configuration struct {
	options Options
	peers   *peers
	agent   *agent
	stores  map[string]Store // by service

	now       atomic.Pointer[config.Config]
	reloading sync.Mutex
	work      *runGroup      // nil until the agent is ready; under reloading
	before    *config.Config // the last reload, if there was one; under reloading
}

func newConfiguration(o Options, p *peers, a *agent) *configuration {
	c := &configuration{options: o, peers: p, agent: a, stores: map[string]Store{}}
	for _, s := range o.Services {
		c.stores[s.Name] = storeOf(o, s.Name)
	}
	c.now.Store(o.Config)
	return c
}

// storeOf is the service manager's, or a holder's where there is none that holds files.
func storeOf(o Options, service string) Store {
	kept := process.NewStore(o.Notifier, service, o.InheritedFDs)
	if len(o.Holder) == 0 {
		return kept
	}
	held := holder.New(filepath.Join(o.Config.ExecRoot, service+"-files.sock"), o.Holder, o.Log.With("service", service))
	if !kept.Available() {
		return held
	}
	_ = held.Clear(context.Background()) // of a process that had no service manager
	held.Close()
	return kept
}

// close waits until what services leave is held.
func (c *configuration) close() {
	for _, s := range c.stores {
		s.Close()
	}
}

// host is what a service is given with a configuration.
func (c *configuration) host(service string, cfg *config.Config) Deps {
	log := c.options.Log.With("service", service)
	return Deps{cfg, log, c.peers.conn, c.stores[service], state.Config{Choice: c.options.Choice, Log: log}}
}

// enableReload lets the agent, which is ready, reload.
func (c *configuration) enableReload(w *runGroup) {
	c.reloading.Lock()
	defer c.reloading.Unlock()
	c.work = w
}

// reloadOnSignal reloads whenever a signal asks for it, until ctx ends.
func (c *configuration) reloadOnSignal(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.options.Hangups:
			if _, _, err := c.reload(ctx, reloadRequest{}); err != nil {
				c.options.Log.Error("configuration not read again; what was in effect still is", "error", err)
			}
		}
	}
}

// reloadRequest says how to reload.
type reloadRequest struct {
	dry      bool // only tell what would change, or why it would be refused
	renumber bool // the key of that name counts as true, this once
	others   *remoteReload
}

// reload reads the configuration again and applies what can be, in this process and in others that the order names, or nothing.
func (c *configuration) reload(ctx context.Context, o reloadRequest) (changes []config.Change, warnings []string, err error) {
	c.reloading.Lock()
	defer c.reloading.Unlock()
	if c.options.Reread == nil || c.work == nil {
		return nil, nil, fault.New(fault.Unavailable, "configuration", "cannot be read again now", fault.WithHint("try again when the agent is ready"))
	}
	written, warnings, err := c.options.Reread()
	if err != nil {
		return nil, nil, err
	}
	next, changes, err := c.now.Load().Reload(written)
	if err != nil {
		return nil, nil, errors.Join(err, fault.New(fault.Conflict, "configuration", "cannot be applied in part, which would leave what does not fit together",
			fault.WithHint("restart the agent to apply all of it")))
	}
	given := *next
	given.Renumber = given.Renumber || o.renumber
	if err := errors.Join(c.check(ctx, &given), o.others.check(ctx)); err != nil || o.dry {
		return changes, warnings, err
	}
	if err := c.apply(ctx, &given, o.others.apply); err != nil {
		return nil, nil, err
	}
	c.before = c.now.Swap(next)
	c.logChanges(changes, warnings)
	return changes, warnings, nil
}

// revert puts into effect what was before the last reload, once.
func (c *configuration) revert(ctx context.Context, renumber bool) error {
	c.reloading.Lock()
	defer c.reloading.Unlock()
	if c.before == nil {
		return nil
	}
	given := *c.before
	given.Renumber = given.Renumber || renumber
	if err := c.apply(ctx, &given, func(context.Context) error { return nil }); err != nil {
		return err
	}
	c.now.Store(c.before)
	c.before = nil
	c.options.Log.Warn("what was in effect before the last reload is again, as another service has refused the new configuration")
	return nil
}

// check asks the services of this process whether they would take a configuration.
func (c *configuration) check(ctx context.Context, next *config.Config) error {
	var errs []error
	for _, m := range c.agent.members {
		if m.Check != nil {
			errs = append(errs, m.Check(ctx, m.service, c.host(m.Name, next)))
		}
	}
	return errors.Join(errs...)
}

// apply gives the configuration to all that takes it, and to others by also, or to nothing.
func (c *configuration) apply(ctx context.Context, next *config.Config, also func(context.Context) error) error {
	commit, undo, err := c.prepareListeners(ctx, next)
	if err != nil {
		return err
	}
	taken := 0
	for _, m := range c.agent.members {
		if err = c.reloadService(ctx, m, next); err != nil {
			break
		}
		taken++
	}
	if err == nil {
		err = also(ctx)
	}
	if err != nil {
		before := c.now.Load()
		for _, done := range c.agent.members[:taken] {
			err = errors.Join(err, c.reloadService(context.WithoutCancel(ctx), done, before))
		}
		return errors.Join(err, undo())
	}
	commit()
	if c.options.Level != nil {
		c.options.Level.Set(next.LogLevel)
	}
	return nil
}

func (c *configuration) reloadService(ctx context.Context, m *member, cfg *config.Config) error {
	if m.Reload == nil {
		return nil
	}
	return m.Reload(ctx, m.service, c.host(m.Name, cfg))
}

// prepareListeners opens what the public server shall listen on too, and reads its certificates, which may be new in the same files. commit puts
// both to use and cannot fail; undo forgets them.
func (c *configuration) prepareListeners(ctx context.Context, next *config.Config) (commit func(), undo func() error, err error) {
	public := c.agent.public
	if public == nil {
		return func() {}, func() error { return nil }, nil
	}
	secured, err := listen.TLS(next)
	if err != nil {
		return nil, nil, err
	}
	owners, err := listen.PublicAccess(next.Group)
	if err != nil {
		return nil, nil, err
	}
	opened, err := open(ctx, c.options.Log, public.missing(next.Hosts), owners, c.options.Sockets)
	if err != nil {
		return nil, nil, err
	}
	commit = func() {
		c.agent.tls.Store(secured)
		public.updateListeners(c.options.Log, c.work, opened, next.Hosts)
		c.agent.warnInsecureTCP(next)
	}
	return commit, func() error { return closeAll(opened) }, nil
}

func (c *configuration) logChanges(changes []config.Change, warnings []string) {
	for _, w := range warnings {
		c.options.Log.Warn(w)
	}
	applied, waiting := []string{}, []string{}
	for _, change := range changes {
		if change.Reloadable {
			applied = append(applied, change.Key)
		} else {
			waiting = append(waiting, change.Key)
		}
	}
	level := slog.LevelInfo
	if len(waiting) > 0 {
		level = slog.LevelWarn
	}
	c.options.Log.Log(context.Background(), level, "configuration read again", "applied", applied, "wait_for_restart", waiting)
}
