package run

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// How a run ends. This is the only rule, whatever ended it:
//
//  1. The process has ended, as the monitor's exit file says: OnExit, or Restore after a restart, closes life.ended. From then on no verb
//     takes the container for running, whatever is stored.
//  2. conclude, with the container's lock held, releases names, addresses and ports and stores the exit, and then closes life.exited, for
//     which run, start -a and wait wait. If the store refuses, the exit is shown from memory, and the exit file stays until it is stored.
//  3. conclude removes the rest, which includes the exit file, and with --rm and rm -f the container, and closes life.cleaned, for which
//     stop, kill, restart and rm wait.
//
// settle repeats what fails. A verb that finds a run ended and not concluded concludes it itself, with the lock held, instead of refusing.

// releaseTimeout bounds how long an exit is held back by a service that does not answer. What it could not release then, settle does.
const releaseTimeout = 3 * time.Second

// The pauses of settle.
const (
	settleSoon = 100 * time.Millisecond
	settleSlow = 5 * time.Second
)

// OnExit takes the end of a container's process from the runtime driver.
func (r *Runner) OnExit(e runtime.Exit) {
	l := r.lives.of(e.ID)
	if l == nil {
		r.logFor(e.ID).Warn("a process ended that no launch knows of")
		return
	}
	if l.end(exitOf(e)) {
		go r.settle(e.ID, l)
	}
}

func exitOf(e runtime.Exit) container.Exit {
	return container.Exit{Code: e.Code, Unknown: e.Unknown, OOM: e.OOM, At: e.At}
}

// settle concludes a run whose process has ended, and repeats what fails of that until it succeeds or the agent ends.
func (r *Runner) settle(uid string, l *lifecycle) {
	<-l.launched
	if l.failed {
		return // the launch has undone everything
	}
	r.repeat(uid, func() error { return r.settleOnce(r.running, uid, l) })
}

// repeat does something until it succeeds, with growing pauses, or until the agent ends.
func (r *Runner) repeat(uid string, once func() error) {
	last := ""
	for wait := settleSoon; r.running.Err() == nil; wait = min(2*wait, settleSlow) {
		err := once()
		if err == nil {
			return
		}
		if text := err.Error(); text != last {
			last = text
			r.logFor(uid).Warn("the end of a container is not complete; trying again", "error", err)
		}
		pause(r.running, wait)
	}
}

func (r *Runner) settleOnce(ctx context.Context, uid string, l *lifecycle) error {
	unlock, err := r.lives.lock(ctx, uid)
	if err != nil {
		return nil // the agent ends
	}
	defer unlock()
	if !isOver(l.cleaned) {
		if err := r.conclude(ctx, uid, l); err != nil {
			return err
		}
		return l.left
	}
	return r.tidy(ctx, uid)
}

// tidy removes what an earlier attempt could not. The caller holds the lock.
func (r *Runner) tidy(ctx context.Context, uid string) error {
	if r.lives.of(uid) != nil || r.joins.any(uid) {
		return nil // it runs again, or others keep what it had
	}
	c, err := r.Store.GetContainer(uid)
	switch {
	case fault.Is(err, fault.NotFound):
		return errors.Join(r.releaseAll(ctx, uid), r.forgetUnknown(uid))
	case err != nil:
		return err
	case c.Status == container.Removing:
		return r.remove(ctx, c)
	}
	return r.releaseAll(ctx, uid)
}

// conclude ends a run whose process has ended: see the rule above. It fails if the exit cannot be stored; then it is to be called again.
// What else fails is in life.left. The caller holds the lock.
func (r *Runner) conclude(ctx context.Context, uid string, l *lifecycle) error {
	if isOver(l.cleaned) {
		return nil
	}
	log := r.logFor(uid)
	c, err := r.Store.GetContainer(uid)
	if err != nil {
		log.Error("a running container is not in the store", "error", err)
		c = placeholderContainer(uid)
	}
	back := r.relaunch(c)
	var storing sync.WaitGroup // the disk works while the services do
	var refused error
	storing.Go(func() { refused = r.storeExit(c, l.exit) })
	var left error
	if !l.released {
		left = back.release(ctx)
		l.released = left == nil
	}
	storing.Wait()
	if refused != nil {
		r.show(c, l)
		return refused
	}
	log.Info("exited", "name", c.Config.Name, "exit_code", l.exit.Code, "unseen", l.exit.Unknown, "removed", c.IsToBeRemoved())
	r.answer(c, l)
	l.left = r.removeRest(ctx, c, back, left)
	r.lives.end(uid, l)
	close(l.cleaned)
	return nil
}

// answer tells everybody of an exit, once.
func (r *Runner) answer(c *container.Container, l *lifecycle) {
	if !l.told {
		l.told = true
		r.tellEnded(c, l, l.exit)
	}
	closeOnce(l.exited)
}

// show has everybody see an exit that cannot be stored: in memory it is true, and the exit file has it for after a restart.
func (r *Runner) show(c *container.Container, l *lifecycle) {
	if err := r.Store.ShowContainer(c.ID, func(c *container.Container) *container.Container { return c.Ended(l.exit) }); err != nil {
		r.logFor(c.ID).Warn("the exit cannot be shown", "error", err)
	}
	r.answer(c, l)
	closeOnce(l.refused)
}

func (r *Runner) storeExit(c *container.Container, exit container.Exit) error {
	if c.Config.AutoRemove {
		if err := r.disposeData(c.ID); err != nil {
			r.logFor(c.ID).Warn("its data will be set aside if this supervisor is killed now", "error", err)
		}
		return r.Store.DeleteContainer(c.ID)
	}
	_, err := r.Store.UpdateContainer(c.ID, func(c *container.Container) *container.Container { return c.Ended(exit) })
	if fault.Is(err, fault.NotFound) {
		return nil // a sweep is to find what is left of it
	}
	return err
}

// release gives back addresses, names and ports.
func (l *launch) release(ctx context.Context) error {
	return saga.Undo(ctx, releaseTimeout, l.acquireSteps(""))
}

// removeRest removes the process's remains and the mount, and of a container that is to be removed everything. What is left of the steps
// before is part of its error; the record stays until there is none, unless it went first.
func (r *Runner) removeRest(ctx context.Context, c *container.Container, back *launch, left error) error {
	err := errors.Join(left, saga.Undo(ctx, saga.UndoTimeout, back.processSteps("")))
	if c.Config.AutoRemove { // its record went when the exit was stored, as its name is free when the exit is answered
		err = errors.Join(err, back.forget())
		r.emit(c, "destroy")
		return err
	}
	if err != nil || !c.IsToBeRemoved() {
		return err
	}
	if err := back.forget(); err != nil {
		return err
	}
	if err := r.Store.DeleteContainer(c.ID); err != nil {
		return err
	}
	r.emit(c, "destroy")
	return nil
}

// forget removes a container's files. Its record must be gone, or go with it.
func (l *launch) forget() error {
	return errors.Join(l.r.RootFS.Remove(l.id), os.RemoveAll(l.r.containerDir(l.id)))
}

// atRest locks a container, and concludes its run if the process has ended. A run that goes on is the caller's to judge.
func (r *Runner) atRest(ctx context.Context, uid string) (unlock func(), err error) {
	if unlock, err = r.lives.lock(ctx, uid); err != nil {
		return nil, err
	}
	if l := r.lives.of(uid); l != nil && isOver(l.launched) && isOver(l.ended) {
		if err := r.conclude(ctx, uid, l); err != nil {
			unlock()
			return nil, err
		}
	}
	return unlock, nil
}
