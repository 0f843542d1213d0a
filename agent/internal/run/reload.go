package run

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/internal/holder"
	"github.com/fairlead/fairlead/agent/internal/listen"
	"github.com/fairlead/fairlead/agent/internal/process"
	"github.com/fairlead/fairlead/agent/internal/route"
	"github.com/fairlead/fairlead/agent/metrics"
	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
)

// configuration holds the configuration in effect and applies new ones.
type configuration struct {
	options Options
	peers   *route.Table
	agent   *agent
	stores  map[string]service.FDStore // by service
	commits map[string]*metrics.Times  // of the stores, by service

	now       atomic.Pointer[config.Config]
	reloading sync.Mutex
	work      *runGroup      // nil until the agent is ready; guarded by reloading
	before    *config.Config // the last reload; nil if there was none; guarded by reloading
}

func newConfiguration(o Options, p *route.Table, a *agent) *configuration {
	c := &configuration{options: o, peers: p, agent: a, stores: map[string]service.FDStore{},
		commits: map[string]*metrics.Times{}}
	for _, s := range o.Services {
		c.stores[s.Name], c.commits[s.Name] = storeOf(o, s.Name), new(metrics.Times)
	}
	c.now.Store(o.Config)
	return c
}

// committed returns the function that counts the changes of a service's store.
func (c *configuration) committed(name string) func(time.Duration, error) {
	times := c.commits[name]
	return func(took time.Duration, err error) {
		outcome := "ok"
		if err != nil {
			outcome = "error"
		}
		times.Add(took, outcome)
	}
}

// storeOf returns the store in the service manager, or a holder if the service manager does not
// store files.
func storeOf(o Options, name string) service.FDStore {
	kept := process.NewStore(o.Notifier, name, o.InheritedFDs)
	if len(o.Holder) == 0 {
		return kept
	}
	held := holder.New(filepath.Join(o.Config.ExecRoot, name+"-files.sock"), o.Holder,
		o.Log.With("service", name))
	if !kept.Available() {
		return held
	}
	_ = held.Clear(context.Background()) // left by a process without a service manager
	held.Close()
	return kept
}

// close waits until all stored files are passed on.
func (c *configuration) close() {
	for _, s := range c.stores {
		s.Close()
	}
}

// host returns the dependencies of a service for a configuration.
func (c *configuration) host(s service.Spec, cfg *config.Config) service.Deps {
	log := c.options.Log.With("service", s.Name)
	peer := c.peers.Conn
	if s.HTTP != nil {
		peer = c.onBehalf
	}
	return service.Deps{Config: cfg, Log: log, Peer: peer, Watch: c.watchHealth, FDStore: c.stores[s.Name],
		State: state.Config{Choice: c.options.Choice, Log: log, Committed: c.committed(s.Name)}, Accept: c.agent.accept}
}

// enableReload allows reloads. The agent is ready.
func (c *configuration) enableReload(w *runGroup) {
	c.reloading.Lock()
	defer c.reloading.Unlock()
	c.work = w
}

// reloadOnSignal reloads whenever a SIGHUP arrives, until ctx ends.
func (c *configuration) reloadOnSignal(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.options.Hangups:
			if _, _, err := c.reload(ctx, reloadRequest{}); err != nil {
				c.options.Log.Error("configuration reload failed", "error", err)
			}
		}
	}
}

// reloadRequest holds the options of a reload.
type reloadRequest struct {
	dry      bool // only report the changes, or the error
	renumber bool // overrides the key of that name for this reload
	others   *remoteReload
}

// reload reads the configuration again and applies it to this process and to the remote services of
// the request, or changes nothing.
func (c *configuration) reload(ctx context.Context, o reloadRequest) (changes []config.Change, warnings []string,
	err error) {
	c.reloading.Lock()
	defer c.reloading.Unlock()
	if c.options.Reread == nil || c.work == nil {
		return nil, nil, fault.New(fault.Unavailable, "configuration", "cannot be reloaded yet",
			fault.WithHint("retry when the agent is ready"))
	}
	written, warnings, err := c.options.Reread()
	if err != nil {
		return nil, nil, err
	}
	next, changes, err := c.now.Load().Reload(written)
	if err != nil {
		return nil, nil, errors.Join(err, fault.New(fault.Conflict, "configuration",
			"changes conflict with keys that need a restart", fault.WithHint("restart the agent")))
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

// revert restores the configuration before the last reload. It works once for each reload.
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
	c.options.Log.Warn("configuration reverted, another service rejected it")
	return nil
}

// check asks the services of this process whether they would accept a configuration.
func (c *configuration) check(ctx context.Context, next *config.Config) error {
	var errs []error
	for _, m := range c.agent.members {
		if m.Check != nil {
			errs = append(errs, m.Check(ctx, m.service, c.host(m.Spec, next)))
		}
	}
	return errors.Join(errs...)
}

// apply applies the configuration to the services and listeners of this process and calls also. If
// anything fails, it undoes what it applied.
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
	return m.Reload(ctx, m.service, c.host(m.Spec, cfg))
}

// prepareListeners opens the new public listeners and reads the certificates, which can be new in
// the same files. commit uses both and cannot fail; undo discards them.
func (c *configuration) prepareListeners(ctx context.Context, next *config.Config) (commit func(), undo func() error,
	err error) {
	secured, err := listen.TLS(next)
	if err != nil {
		return nil, nil, err
	}
	public := c.agent.public
	if public == nil {
		return func() { c.agent.tls.Store(secured) }, func() error { return nil }, nil
	}
	owners, err := listen.PublicAccess(next.Group)
	if err != nil {
		return nil, nil, err
	}
	opened, err := open(ctx, c.options.Log, public.missing(next.Hosts), owners, c.agent.publicSockets(c.options))
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
	c.options.Log.Log(context.Background(), level, "configuration reloaded", "applied", applied, "restart_required",
		waiting)
}
