package run

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
	"github.com/fairlead/fairlead/services/supervisor/internal/logfile"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
)

// unknownExitCode is the exit code if no monitor recorded the exit status, as after a power loss.
const unknownExitCode = 137

// maxRestored bounds the containers that are restored concurrently.
const maxRestored = 8

// Restore adopts running containers and removes the remains of interrupted operations.
// It must be called before all other methods, and does not change containers that match the store.
func (r *Runner) Restore(ctx context.Context) error {
	for _, c := range r.Store.ListContainers() {
		if c.IsRunning() && c.Live != nil && c.Live.SharedWith != "" {
			r.joins.Add(c.ID, c.Live.SharedWith)
		}
	}

	r.Rules.Restore()
	err := newRecovery(r).restoreAll(ctx, r.Store.ListContainers())
	if err := r.Volumes.Restore(ctx); err != nil {
		r.Log.Warn("volumes incompletely restored", "error", err)
	}

	if err := NewSweeper(r).Sweep(ctx); err != nil {
		r.Log.Warn("first sweep incomplete", "error", err)
	}

	if ctx.Err() != nil {
		return err
	}

	return nil
}

// recovery finds the processes of an earlier agent, and continues what it has begun.
type recovery struct{ *Runner }

func newRecovery(r *Runner) recovery { return recovery{r} }

// restoreAll restores containers, some concurrently: after a reboot the end of each is stored by several
// services, which wait for the disk.
func (r recovery) restoreAll(ctx context.Context, all []*container.Container) error {
	errs := make([]error, len(all))
	slots := make(chan struct{}, maxRestored)
	var pending sync.WaitGroup
	for i, c := range all {
		slots <- struct{}{}
		pending.Go(func() {
			defer func() { <-slots }()
			if errs[i] = r.restoreOne(ctx, c); errs[i] != nil {
				r.logFor(c.ID).Error("cannot restore container", "name", c.Config.Name, "status", c.Status,
					"error", errs[i])
			}
		})
	}
	pending.Wait()
	return errors.Join(errs...)
}

func (r recovery) restoreOne(ctx context.Context, c *container.Container) error {
	switch c.Status {
	case container.Running:
		r.launcher.UnmarkStarting(c.ID)
		return r.adopt(ctx, c)
	case container.Restarting:
		err := r.launcher.ReleaseAll(ctx, c.ID) // an interrupted restart, which restarts.atStart repeats
		if err == nil {
			r.launcher.UnmarkStarting(c.ID)
		}
		return err
	case container.Launching, container.Removing:
		r.logFor(c.ID).Info("removing interrupted launch or removal", "name", c.Config.Name, "status", c.Status)
		return r.remove(ctx, c)
	}
	return nil
}

// logLimit returns the limit that the monitor of a running container has. It is not that of the
// configuration if the defaults have changed since its start.
func logLimit(r *Runner, c *container.Container) logfile.Limit {
	if c.Live != nil && c.Live.LogSize > 0 {
		return logfile.Limit{Size: c.Live.LogSize, Files: c.Live.LogFiles}
	}
	return r.launcher.LogLimit(&c.Config)
}

// adopt resumes supervision of a container whose process may be running, exited, or lost.
func (r recovery) adopt(ctx context.Context, c *container.Container) error {
	l := r.lives.Begin(c.ID)
	close(l.Launched)
	found, err := r.Processes.Adopt(ctx, c.ID)
	if err != nil {
		return err
	}

	switch found.State {
	case runtime.Alive:
		if err := r.LogFiles.Track(r.launcher.Dir(c.ID), logLimit(r.Runner, c)); err != nil {
			r.logFor(c.ID).Warn("cannot watch log, rotation loses output", "error", err)
		}
		r.logFor(c.ID).Info("adopted", "name", c.Config.Name, "pid", found.PID)
		r.started(c, l)
		if c.IsPausedForCommit() { // by a commit that was interrupted
			if err := errors.Join(r.Processes.Unpause(ctx, c.ID), r.storePaused(c.ID, false)); err != nil {
				r.logFor(c.ID).Warn("cannot unpause container", "error", err)
			}
		} else if c.IsPaused() { // or the pause was interrupted
			if err := r.Processes.Pause(ctx, c.ID); err != nil {
				r.logFor(c.ID).Warn("cannot pause container again", "error", err)
			}
		}
	case runtime.Ended:
		l.End(exitOf(found.Exit))
	default:
		l.End(container.Exit{Code: unknownExitCode, Unknown: true, At: time.Now()})
	}

	if lives.IsOver(l.Ended) {
		if err := newConclusion(r.Runner).tryConclude(ctx, c.ID, l); err != nil {
			r.logFor(c.ID).Warn("cleanup incomplete, retrying", "error", err)
			go newConclusion(r.Runner).concludeUntilDone(c.ID, l)
		}
	}

	return nil
}
