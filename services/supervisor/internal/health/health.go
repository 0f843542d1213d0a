// Package health runs the health checks of containers. The rules are those of
// package healthcheck; this package has the timers. Package run calls it.
package health

import (
	"context"
	"log/slog"
	"time"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/healthcheck"
	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
	"github.com/fairlead/fairlead/services/supervisor/internal/notices"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// maxOutput bounds the output of a check that is kept, as in Docker.
const maxOutput = 4096

// Prober runs a check in a container. It kills a check that has not ended when ctx ends.
type Prober interface {
	Probe(ctx context.Context, c *container.Container, args []string, maxOutput int) (code int, output string,
		err error)
}

// Config holds the dependencies of Checks.
type Config struct {
	Log     *slog.Logger
	Store   *store.Store
	Notices *notices.Notices
	Prober  Prober
}

// Checks runs health checks.
type Checks struct{ cfg Config }

// New returns Checks.
func New(cfg Config) *Checks { return &Checks{cfg} }

// Watch checks a running container in the background until its run or ctx ends. It does nothing
// without a health check.
func (h *Checks) Watch(ctx context.Context, c *container.Container, run *lives.Run) {
	check := c.Process.Health
	if check == nil || run == nil {
		return
	}
	go func() {
		for {
			now, err := h.cfg.Store.GetContainer(c.ID)
			if err != nil || now.Health == nil {
				return
			}
			next := time.NewTimer(check.Wait(*now.Health, time.Since(c.StartedAt)))
			select {
			case <-next.C:
				h.check(ctx, c.ID, run)
			case <-run.Ended:
			case <-ctx.Done():
			}
			next.Stop()
			if lives.IsOver(run.Ended) || ctx.Err() != nil {
				return
			}
		}
	}()
}

// check runs one check, unless the container is paused, and stores its result.
func (h *Checks) check(ctx context.Context, uid string, run *lives.Run) {
	c, err := h.cfg.Store.GetContainer(uid)
	if err != nil || !c.IsRunning() || c.IsPaused() {
		return
	}

	limit := c.Process.Health.TimeoutOrDefault()
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()

	r := healthcheck.Result{Start: time.Now()}
	r.ExitCode, r.Output, err = h.cfg.Prober.Probe(bounded, c, c.Process.Health.Args, maxOutput)
	r.End = time.Now()
	switch {
	case lives.IsOver(run.Ended) || ctx.Err() != nil:
		return
	case bounded.Err() != nil:
		r.ExitCode, r.Output = -1, "Health check exceeded timeout ("+limit.String()+")"
	case err != nil:
		r.ExitCode, r.Output = -1, err.Error()
	}

	h.store(uid, r, run)
}

// store stores a result: on disk if the status or the streak changes, otherwise in memory.
func (h *Checks) store(uid string, r healthcheck.Result, run *lives.Run) {
	c, err := h.cfg.Store.GetContainer(uid)
	if err != nil || c.Health == nil {
		return
	}

	before := *c.Health
	after := c.Process.Health.Next(before, r, r.Start.Sub(c.StartedAt))
	change := func(c *container.Container) *container.Container {
		if c.Health == nil || lives.IsOver(run.Ended) {
			return c
		}
		return c.WithHealth(after)
	}
	if before.Status == after.Status && before.FailingStreak == after.FailingStreak {
		err = h.cfg.Store.ShowContainer(uid, change)
	} else {
		c, err = h.cfg.Store.UpdateContainer(uid, change)
	}

	if err != nil {
		h.cfg.Log.Warn("cannot store health", "container", id.Short(uid), "error", err)
		return
	}

	if before.Status != after.Status {
		h.cfg.Log.Info("health changed", "container", id.Short(uid), "name", c.Config.Name, "status", after.Status)
		h.cfg.Notices.Emit(c, "health_status: "+after.Status)
	}
}
