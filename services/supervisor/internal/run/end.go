package run

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
)

// The end of a run always has these steps:
//
//  1. The monitor has written the exit file. OnExit, or Restore after a restart, closes life.ended.
//     From then on no command treats the container as running, whatever is stored.
//  2. conclude, with the container's lock held, releases names, addresses and ports, stores the exit
//     and closes life.exited, which run, start -a and wait wait for. If the store fails, the exit is
//     reported from memory, and the exit file is kept until the exit is stored.
//     Then it also reports the removal of a container with --rm that has no mounts and a PID namespace of
//     its own (endsWithRecord), although step 3 has yet to delete its files.
//  3. conclude removes the remaining resources, including the exit file, and with --rm or rm -f the
//     container. It closes life.cleaned, which stop, kill, restart and rm wait for.
//
// concludeUntilDone retries failures. A command that finds a run that has ended, but is not
// concluded, concludes it itself with the lock held.

// Retry delays of concludeUntilDone.
const (
	concludeRetryMin = 100 * time.Millisecond
	concludeRetryMax = 5 * time.Second
)

// OnExit handles the exit of a container process. The runtime driver calls it.
func (r *Runner) OnExit(e runtime.Exit) {
	l := r.lives.Of(e.ID)
	if l == nil {
		r.logFor(e.ID).Warn("process without a launch exited")
		return
	}
	if l.End(exitOf(e)) {
		go newConclusion(r).concludeUntilDone(e.ID, l)
	}
}

func exitOf(e runtime.Exit) container.Exit {
	return container.Exit{Code: e.Code, Unknown: e.Unknown, OOM: e.OOM, At: e.At}
}

// conclusion has the tasks after the end of a process: it stores the exit, releases resources, and
// restarts or removes the container.
type conclusion struct{ *Runner }

func newConclusion(r *Runner) conclusion { return conclusion{r} }

// concludeUntilDone concludes a run whose process has exited. It retries until it succeeds or the
// Runner is closed.
func (r conclusion) concludeUntilDone(uid string, l *lives.Run) {
	<-l.Launched
	if l.Failed {
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

func (r conclusion) tryConclude(ctx context.Context, uid string, l *lives.Run) error {
	unlock, err := r.lives.Lock(ctx, uid)
	if err != nil {
		return nil // the Runner is closed
	}
	defer unlock()
	if !lives.IsOver(l.Cleaned) {
		if err := r.conclude(ctx, uid, l); err != nil {
			return err
		}
		return l.Left
	}
	return r.removeRemains(ctx, uid)
}

// removeRemains removes the resources that an earlier attempt could not. The container's lock must
// be held.
func (r conclusion) removeRemains(ctx context.Context, uid string) error {
	if r.lives.Of(uid) != nil || r.joins.Any(uid) {
		return nil // it runs again, or joined containers use its namespace
	}

	c, err := r.Store.GetContainer(uid)
	switch {
	case fault.Is(err, fault.NotFound):
		return errors.Join(r.launcher.ReleaseAll(ctx, uid), r.launcher.RemoveUnknown(uid))
	case err != nil:
		return err
	case c.Status == container.Removing:
		return r.remove(ctx, c)
	}

	return r.launcher.ReleaseAll(ctx, uid)
}

// conclude ends a run whose process has exited, as described above. The container's lock must be
// held. It fails if the exit cannot be stored, and must then be called again. Other errors are in
// life.left.
func (r conclusion) conclude(ctx context.Context, uid string, l *lives.Run) error {
	if lives.IsOver(l.Cleaned) {
		return nil
	}

	log := r.logFor(uid)
	c, err := r.Store.GetContainer(uid)
	if err != nil {
		log.Error("running container is not in the store", "error", err)
		c = launch.Placeholder(uid)
	}

	var storing sync.WaitGroup // concurrently with the release
	var storeErr error
	after := c
	storing.Go(func() { after, storeErr = r.storeExit(c, l) })
	var left error
	if !l.Released {
		left = r.launcher.Release(ctx, c)
		l.Released = left == nil
	}

	storing.Wait()
	if storeErr != nil {
		r.reportUnstoredExit(c, l)
		return storeErr
	}

	log.Info("exited", "name", c.Config.Name, "exit_code", l.Exit.Code, "unknown", l.Exit.Unknown, "removed",
		c.IsToBeRemoved())
	r.reportExit(c, l)
	if left == nil && endsWithRecord(c) {
		r.reportRemoval(c, l)
	}
	l.Left = r.removeRest(ctx, c, l, left)
	r.lives.Forget(uid, l)
	close(l.Cleaned)
	if after.Status == container.Restarting {
		r.policies.later(after)
	}
	return nil
}

// reportExit emits the events of an exit and closes life.exited. It does nothing the second time.
func (r conclusion) reportExit(c *container.Container, l *lives.Run) {
	if !l.Emitted {
		l.Emitted = true
		r.notices.Exited(c, l.Stopped.Load(), l.Exit)
	}
	lives.CloseOnce(l.Exited)
}

// reportUnstoredExit reports an exit that cannot be stored. The exit file keeps it across a
// restart.
func (r conclusion) reportUnstoredExit(c *container.Container, l *lives.Run) {
	if err := r.Store.ShowContainer(c.ID,
		func(c *container.Container) *container.Container { return r.policies.ended(c, l) }); err != nil {
		r.logFor(c.ID).Warn("cannot report the exit", "error", err)
	}
	r.reportExit(c, l)
	lives.CloseOnce(l.Refused)
}

// storeExit stores the end of a run, or deletes the record of a container with --rm. It returns the
// record.
func (r conclusion) storeExit(c *container.Container, l *lives.Run) (*container.Container, error) {
	if c.RemovesItself() {
		if err := r.launcher.DisposeData(c.ID); err != nil {
			r.logFor(c.ID).Warn("container directory not marked as disposable", "error", err)
		}
		return c, r.Store.DeleteContainer(c.ID)
	}
	after, err := r.Store.UpdateContainer(c.ID,
		func(c *container.Container) *container.Container { return r.policies.ended(c, l) })
	if fault.Is(err, fault.NotFound) {
		return c, nil // the sweep releases its resources
	}
	return after, err
}

// removeRest deletes the process and unmounts the rootfs, and deletes a container that is to be
// removed. left is the error of the release before. A container is deleted only without errors,
// except with --rm.
func (r conclusion) removeRest(ctx context.Context, c *container.Container, l *lives.Run, left error) error {
	err := errors.Join(left, r.launcher.Delete(ctx, c))
	if c.RemovesItself() { // storeExit deleted the record, so that the name is free when the exit is reported
		err = errors.Join(err, r.launcher.RemoveFiles(c.ID))
		r.removeVolumes(ctx)
		r.reportRemoval(c, l)
		return err
	}

	if err != nil || !c.IsToBeRemoved() {
		return err
	}

	if err := r.launcher.RemoveFiles(c.ID); err != nil {
		return err
	}

	if err := r.Store.DeleteContainer(c.ID); err != nil {
		return err
	}

	r.removeVolumes(ctx)
	r.reportRemoval(c, l)
	return nil
}

// endsWithRecord reports whether a container with --rm is removed for its clients as soon as its record is
// deleted and its names, addresses and ports are released: no process and no mounted volume can be left.
func endsWithRecord(c *container.Container) bool {
	return c.RemovesItself() && c.Config.Namespaces.OwnsPIDs() && len(c.Config.Mounts) == 0
}

// reportRemoval emits the event of a removal and notifies waiting clients. It does nothing the second time.
func (r conclusion) reportRemoval(c *container.Container, l *lives.Run) {
	if l.Gone {
		return
	}
	l.Gone = true
	r.notices.Emit(c, "destroy")
	r.lives.NotifyRemoved(c.ID, l.Exit)
}

// lockStopped locks a container and concludes its run if the process has exited.
// The container may still be running; the caller must check that.
func (r *Runner) lockStopped(ctx context.Context, uid string) (unlock func(), err error) {
	if unlock, err = r.lives.Lock(ctx, uid); err != nil {
		return nil, err
	}
	if l := r.lives.Of(uid); l != nil && lives.IsOver(l.Launched) && lives.IsOver(l.Ended) {
		if err := newConclusion(r).conclude(ctx, uid, l); err != nil {
			unlock()
			return nil, err
		}
	}
	return unlock, nil
}
