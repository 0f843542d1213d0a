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

// The end of a run always has these steps:
//
//  1. The monitor has written the exit file. OnExit, or Restore after a restart, closes life.ended.
//     From then on no command treats the container as running, whatever is stored.
//  2. conclude, with the container's lock held, releases names, addresses and ports, stores the exit
//     and closes life.exited, which run, start -a and wait wait for. If the store fails, the exit is
//     reported from memory, and the exit file is kept until the exit is stored.
//  3. conclude removes the remaining resources, including the exit file, and with --rm or rm -f the
//     container. It closes life.cleaned, which stop, kill, restart and rm wait for.
//
// concludeUntilDone retries failures. A command that finds a run that has ended, but is not
// concluded, concludes it itself with the lock held.

// releaseTimeout bounds how long an unresponsive service delays an exit. concludeUntilDone retries
// the release.
const releaseTimeout = 3 * time.Second

// Retry delays of concludeUntilDone.
const (
	concludeRetryMin = 100 * time.Millisecond
	concludeRetryMax = 5 * time.Second
)

// OnExit handles the exit of a container process. The runtime driver calls it.
func (r *Runner) OnExit(e runtime.Exit) {
	l := r.lives.of(e.ID)
	if l == nil {
		r.logFor(e.ID).Warn("process without a launch exited")
		return
	}
	if l.end(exitOf(e)) {
		go r.concludeUntilDone(e.ID, l)
	}
}

func exitOf(e runtime.Exit) container.Exit {
	return container.Exit{Code: e.Code, Unknown: e.Unknown, OOM: e.OOM, At: e.At}
}

// concludeUntilDone concludes a run whose process has exited. It retries until it succeeds or the
// Runner is closed.
func (r *Runner) concludeUntilDone(uid string, l *lifecycle) {
	<-l.launched
	if l.failed {
		return // the launch was undone
	}
	r.repeat(uid, func() error { return r.tryConclude(r.running, uid, l) })
}

// repeat calls once until it succeeds or the Runner is closed, with growing delays.
func (r *Runner) repeat(uid string, once func() error) {
	last := ""
	for wait := concludeRetryMin; r.running.Err() == nil; wait = min(2*wait, concludeRetryMax) {
		err := once()
		if err == nil {
			return
		}
		if text := err.Error(); text != last {
			last = text
			r.logFor(uid).Warn("cleanup incomplete, retrying", "error", err)
		}
		pause(r.running, wait)
	}
}

func (r *Runner) tryConclude(ctx context.Context, uid string, l *lifecycle) error {
	unlock, err := r.lives.lock(ctx, uid)
	if err != nil {
		return nil // the Runner is closed
	}
	defer unlock()
	if !isOver(l.cleaned) {
		if err := r.conclude(ctx, uid, l); err != nil {
			return err
		}
		return l.left
	}
	return r.removeRemains(ctx, uid)
}

// removeRemains removes the resources that an earlier attempt could not. The container's lock must
// be held.
func (r *Runner) removeRemains(ctx context.Context, uid string) error {
	if r.lives.of(uid) != nil || r.joins.any(uid) {
		return nil // it runs again, or joined containers use its namespace
	}

	c, err := r.Store.GetContainer(uid)
	switch {
	case fault.Is(err, fault.NotFound):
		return errors.Join(r.releaseAll(ctx, uid), r.removeUnknown(uid))
	case err != nil:
		return err
	case c.Status == container.Removing:
		return r.remove(ctx, c)
	}

	return r.releaseAll(ctx, uid)
}

// conclude ends a run whose process has exited, as described above. The container's lock must be
// held. It fails if the exit cannot be stored, and must then be called again. Other errors are in
// life.left.
func (r *Runner) conclude(ctx context.Context, uid string, l *lifecycle) error {
	if isOver(l.cleaned) {
		return nil
	}

	log := r.logFor(uid)
	c, err := r.Store.GetContainer(uid)
	if err != nil {
		log.Error("running container is not in the store", "error", err)
		c = placeholderContainer(uid)
	}

	back := r.relaunch(c)
	var storing sync.WaitGroup // concurrently with the release
	var storeErr error
	storing.Go(func() { storeErr = r.storeExit(c, l.exit) })
	var left error
	if !l.released {
		left = back.release(ctx)
		l.released = left == nil
	}

	storing.Wait()
	if storeErr != nil {
		r.reportUnstoredExit(c, l)
		return storeErr
	}

	log.Info("exited", "name", c.Config.Name, "exit_code", l.exit.Code, "unknown", l.exit.Unknown, "removed",
		c.IsToBeRemoved())
	r.reportExit(c, l)
	l.left = r.removeRest(ctx, c, back, left)
	r.lives.end(uid, l)
	close(l.cleaned)
	return nil
}

// reportExit emits the events of an exit and closes life.exited. It does nothing the second time.
func (r *Runner) reportExit(c *container.Container, l *lifecycle) {
	if !l.emitted {
		l.emitted = true
		r.emitExited(c, l, l.exit)
	}
	closeOnce(l.exited)
}

// reportUnstoredExit reports an exit that cannot be stored. The exit file keeps it across a
// restart.
func (r *Runner) reportUnstoredExit(c *container.Container, l *lifecycle) {
	if err := r.Store.ShowContainer(c.ID,
		func(c *container.Container) *container.Container { return c.Ended(l.exit) }); err != nil {
		r.logFor(c.ID).Warn("cannot report the exit", "error", err)
	}
	r.reportExit(c, l)
	closeOnce(l.refused)
}

func (r *Runner) storeExit(c *container.Container, exit container.Exit) error {
	if c.Config.AutoRemove {
		if err := r.disposeData(c.ID); err != nil {
			r.logFor(c.ID).Warn("container directory not marked as disposable", "error", err)
		}
		return r.Store.DeleteContainer(c.ID)
	}
	_, err := r.Store.UpdateContainer(c.ID, func(c *container.Container) *container.Container { return c.Ended(exit) })
	if fault.Is(err, fault.NotFound) {
		return nil // the sweep releases its resources
	}
	return err
}

// release releases addresses, names and ports.
func (l *launch) release(ctx context.Context) error {
	return saga.Undo(ctx, releaseTimeout, l.acquireSteps(""))
}

// removeRest deletes the process and unmounts the rootfs, and deletes a container that is to be
// removed. left is the error of the release before. A container is deleted only without errors,
// except with --rm.
func (r *Runner) removeRest(ctx context.Context, c *container.Container, back *launch, left error) error {
	err := errors.Join(left, saga.Undo(ctx, saga.UndoTimeout, back.processSteps("")))
	if c.Config.AutoRemove { // storeExit deleted the record, so that the name is free when the exit is reported
		err = errors.Join(err, back.removeFiles())
		r.emit(c, "destroy")
		return err
	}

	if err != nil || !c.IsToBeRemoved() {
		return err
	}

	if err := back.removeFiles(); err != nil {
		return err
	}

	if err := r.Store.DeleteContainer(c.ID); err != nil {
		return err
	}

	r.emit(c, "destroy")
	return nil
}

// removeFiles deletes a container's files. Its record must be deleted before or right after.
func (l *launch) removeFiles() error {
	return errors.Join(l.r.RootFS.Remove(l.id), os.RemoveAll(l.r.containerDir(l.id)))
}

// lockStopped locks a container and concludes its run if the process has exited.
// The container may still be running; the caller must check that.
func (r *Runner) lockStopped(ctx context.Context, uid string) (unlock func(), err error) {
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
