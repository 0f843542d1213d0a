package run

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/id"
	"github.com/fairlead/fairlead/services/supervisor/container"
	"github.com/fairlead/fairlead/services/supervisor/runtime"
	"github.com/fairlead/fairlead/services/supervisor/saga"
)

// releaseTimeout bounds how long an exit is held back by a service that does not answer. What it could not give back then, the
// next sweep does.
const releaseTimeout = 3 * time.Second

// OnExit takes the end of a container's process from the runtime driver.
func (r *Runner) OnExit(e runtime.Exit) {
	l := r.lives.of(e.ID)
	if l == nil {
		r.logFor(e.ID).Warn("a process ended that no launch knows of")
		return
	}
	go r.finish(e.ID, l, container.Exit{Code: e.Code, Unseen: e.Unknown, OOM: e.OOM, At: e.At})
}

// finish ends a run: first what others may want is given back, then the exit is stored and told, then the rest is cleared.
// Nobody waits for the rest but those who want to use the container again.
func (r *Runner) finish(uid string, l *life, exit container.Exit) {
	<-l.launched
	if l.failed {
		return // the launch has undone everything
	}
	ctx := context.Background()
	unlock, err := r.lives.lock(ctx, uid)
	if err != nil {
		return // cannot be: this context does not end
	}
	defer unlock()
	log := r.logFor(uid)
	c, err := r.Store.GetContainer(uid)
	if err != nil {
		log.Error("a running container is not in the store", "error", err)
		c = unknown(uid)
	}
	back := r.relaunch(c)
	var stored sync.WaitGroup // the disk works while the services do
	stored.Go(func() {
		if err := r.storeExit(c, exit); err != nil {
			log.Error("the exit could not be stored", "exit_code", exit.Code, "error", err)
		}
	})
	if err := back.release(ctx); err != nil {
		log.Warn("not everything could be given back; the next sweep tries again", "error", err)
	}
	stored.Wait()
	log.Info("exited", "name", c.Config.Name, "exit_code", exit.Code, "unseen", exit.Unseen, "removed", c.Config.AutoRemove)
	r.tellEnded(c, l, exit)
	l.exit = exit
	close(l.exited)
	if err := back.clear(ctx); err != nil {
		log.Warn("not everything could be cleared; the next sweep tries again", "error", err)
	}
	if c.Config.AutoRemove {
		r.tell(c, "destroy")
	}
	r.lives.end(uid, l)
	close(l.cleaned)
}

func (r *Runner) storeExit(c *container.Container, exit container.Exit) error {
	if c.Config.AutoRemove {
		return errors.Join(r.disposeData(c.ID), r.Store.DeleteContainer(c.ID))
	}
	_, err := r.Store.UpdateContainer(c.ID, func(c *container.Container) *container.Container { return c.Ended(exit) })
	return err
}

// release gives back addresses, names and ports.
func (l *launch) release(ctx context.Context) error {
	return saga.Undo(ctx, releaseTimeout, l.claims(""))
}

// clear takes down the process's remains and the mount, and for a container that removes itself everything else.
func (l *launch) clear(ctx context.Context) error {
	err := saga.Undo(ctx, saga.UndoTimeout, l.body(""))
	if !l.req.Config.AutoRemove {
		return err
	}
	return errors.Join(err, l.forget())
}

// forget removes a container's files. Its record must be gone, or go with it.
func (l *launch) forget() error {
	return errors.Join(l.r.RootFS.Remove(l.id), os.RemoveAll(l.r.containerDir(l.id)))
}

// Wait answers how the container's process ended: of the run that goes on, or else of the last one.
func (r *Runner) Wait(ctx context.Context, ref string) (container.Exit, error) {
	c, err := r.Store.FindContainer(ref)
	if err != nil {
		return container.Exit{}, err
	}
	if l := r.lives.of(c.ID); l != nil {
		return waitExit(ctx, l, c)
	}
	if c, err = r.Store.GetContainer(c.ID); err != nil {
		return container.Exit{}, err
	}
	return container.Exit{Code: c.ExitCode, Unseen: c.ExitUnseen, OOM: c.OOMKilled, At: c.FinishedAt}, nil
}

func waitExit(ctx context.Context, l *life, c *container.Container) (container.Exit, error) {
	select {
	case <-l.exited:
		return l.exit, nil
	case <-ctx.Done():
		return container.Exit{}, ctx.Err()
	case <-l.launched:
	}
	if l.failed {
		return container.Exit{}, notRunning(c.Subject(), id.Short(c.ID))
	}
	select {
	case <-l.exited:
		return l.exit, nil
	case <-ctx.Done():
		return container.Exit{}, ctx.Err()
	}
}
