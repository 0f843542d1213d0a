package run

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
	"github.com/fairlead/fairlead/services/supervisor/internal/signal"
)

// killTimeout is the maximum time from the exit of a process until its run is cleaned up.
const killTimeout = 20 * time.Second

// stopStoreDelay bounds the wait for an exit before a stop request is stored. Most processes exit
// sooner, without a commit.
const stopStoreDelay = 200 * time.Millisecond

// minGrace is the time to handle the stop signal even if the timeout is zero. It is about what Docker
// needs between the two signals, so that a process which exits immediately has its own exit code.
const minGrace = 30 * time.Millisecond

// Stop sends the stop signal, then SIGKILL after the timeout, and returns when the run is cleaned
// up. Zero waits minGrace only. A nil timeout and an empty signal name mean the container's own. It is
// completed even if the client disconnects, and by the next supervisor if this one is killed.
func (r *Runner) Stop(ctx context.Context, ref string, timeout *time.Duration, name string) error {
	c, l, err := r.findLife(ref)
	if err != nil {
		return err
	}

	e, grace, err := ending(c, container.GoalStopped, timeout, name)
	if err != nil {
		return err
	}

	if l == nil {
		canceled, err := r.policies.cancel(ctx, c.ID, true)
		if canceled && err == nil {
			r.notices.Emit(c, "stop")
		}
		if err != nil || canceled {
			return err
		}
		return r.withdrawRestart(c)
	}

	return r.runDetached(ctx, func(ctx context.Context) error {
		return r.dropFailedRequest(c.ID,
			r.stop(ctx, c, l, e, grace))
	})
}

// withdrawRestart removes the request of a restart whose start is being retried.
func (r *Runner) withdrawRestart(c *container.Container) error {
	if c.Ending == nil || c.Ending.Goal != container.GoalRestarted {
		return nil
	}
	_, err := r.Store.UpdateContainer(c.ID, func(c *container.Container) *container.Container {
		if c.IsRunning() || c.Ending == nil {
			return nil
		}
		return c.Unwanted()
	})
	return err
}

// ending returns the request to end a run, and the time until SIGKILL.
func ending(c *container.Container, goal container.Goal, timeout *time.Duration, name string) (container.Ending,
	time.Duration, error) {
	if name == "" {
		name = c.Process.StopSignal
	}

	if _, err := signal.Parse(name); err != nil {
		return container.Ending{}, 0, err
	}

	grace := c.StopTimeout()
	if timeout != nil {
		grace = *timeout
	}

	return container.Ending{Goal: goal, Signal: name, KillAt: time.Now().Add(grace)}, grace, nil
}

// stop ends a run as requested.
func (r *Runner) stop(ctx context.Context, c *container.Container, l *lives.Run, e container.Ending,
	grace time.Duration) error {
	l.Stopped.Store(true)
	if err := r.policies.markStopped(c, l); err != nil {
		return err
	}

	if e.Signal != "" {
		sig, err := signal.Parse(e.Signal)
		if err != nil {
			return err
		}
		if err := r.signal(ctx, c.ID, l, sig, r.Processes.Stop); err != nil {
			return err
		}
		r.thawed(c.ID, l)
		grace = max(grace, minGrace)
		if over, err := waitCleaned(ctx, l, min(grace, stopStoreDelay)); over || err != nil {
			return errors.Join(err, cleanupError(l))
		}
		if e.Goal == container.GoalStopped {
			if err := r.storeRequest(c.ID, e); err != nil {
				r.logFor(c.ID).Warn("cannot store stop request", "error", err) // the stop itself continues
			}
		}
		if over, err := waitCleaned(ctx, l, grace-min(grace, stopStoreDelay)); over || err != nil {
			return errors.Join(err, cleanupError(l))
		}
	}

	return r.kill(ctx, c, l)
}

// cleanupError returns the error of the cleanup of a run.
func cleanupError(l *lives.Run) error {
	if lives.IsOver(l.Cleaned) {
		return l.Left
	}
	return nil
}

// storeRequest stores a request to end a run. It does nothing if the container is not running,
// unless for a restart.
func (r *Runner) storeRequest(uid string, e container.Ending) error {
	_, err := r.Store.UpdateContainer(uid, func(c *container.Container) *container.Container {
		if !c.IsRunning() && e.Goal != container.GoalRestarted {
			return nil
		}
		return c.Wanted(e)
	})
	return err
}

// dropFailedRequest removes the stored request if err is final, and returns err.
// A restarted supervisor then does not repeat the request.
// It keeps a request that the end of the agent has interrupted.
func (r *Runner) dropFailedRequest(uid string, err error) error {
	if err == nil || r.running.Err() != nil {
		return err
	}
	if _, uerr := r.Store.UpdateContainer(uid, func(c *container.Container) *container.Container {
		if c.Ending == nil {
			return nil
		}
		return c.Unwanted()
	}); uerr != nil && !fault.Is(uerr, fault.NotFound) {
		r.logFor(uid).Warn("cannot remove failed request", "error", uerr)
	}
	return err
}

// runDetached runs work to completion even if ctx is done. It returns when either is done; Close
// cancels work.
func (r *Runner) runDetached(ctx context.Context, work func(context.Context) error) error {
	working, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() {
		defer cancel()
		defer context.AfterFunc(r.running, cancel)()
		done <- work(working)
	}()

	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Kill sends a signal; empty means SIGKILL, whose effect it waits for. It succeeds if the process
// is exiting, as in Docker.
func (r *Runner) Kill(ctx context.Context, ref, name string) error {
	if name == "" {
		name = "KILL"
	}

	sig, err := signal.Parse(name)
	if err != nil {
		return err
	}

	c, l, err := r.findLife(ref)
	if err != nil {
		return err
	}

	ends := endsContainer(c, sig)
	if l == nil || lives.IsOver(l.Exited) {
		if c.Status != container.Restarting {
			return container.NotRunning(c.Subject(), c.ID)
		}
		if ends {
			_, err = r.policies.cancel(ctx, c.ID, true)
		}
		return err
	}

	return r.runDetached(ctx, func(ctx context.Context) error {
		if ends {
			if err := r.policies.markStopped(c, l); err != nil {
				return err
			}
		}
		if sig == syscall.SIGKILL {
			return r.kill(ctx, c, l)
		}
		return r.signal(ctx, c.ID, l, sig, r.Processes.Signal)
	})
}

// endsContainer reports whether a signal is meant to end a container: SIGKILL, or its stop signal.
func endsContainer(c *container.Container, sig syscall.Signal) bool {
	stop, err := signal.Parse(c.Process.StopSignal)
	return sig == syscall.SIGKILL || err == nil && sig == stop
}

// findLife returns a container and its current run, which is nil if it is not running.
func (r *Runner) findLife(ref string) (*container.Container, *lives.Run, error) {
	c, err := r.Store.FindContainer(ref)
	if err != nil {
		return nil, nil, err
	}
	return c, r.lives.Of(c.ID), nil
}

// signal sends a signal once the run is launched. It succeeds if the process has exited.
func (r *Runner) signal(ctx context.Context, uid string, l *lives.Run, sig syscall.Signal,
	send func(context.Context, string, syscall.Signal) error) error {
	alive, err := awaitLaunch(ctx, l)
	if err != nil || !alive {
		return err
	}
	r.notices.Signal(uid, sig) // before the signal can end it
	if err := send(ctx, uid, sig); err != nil && !errors.Is(err, runtime.ErrEnded) {
		return err
	}
	return nil
}

// awaitLaunch waits until a run is launched. alive is false if the launch failed or the process has
// exited.
func awaitLaunch(ctx context.Context, l *lives.Run) (alive bool, err error) {
	select {
	case <-l.Launched:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return !l.Failed && !lives.IsOver(l.Ended), nil
}

// kill kills a run, even a frozen one, and waits for the cleanup.
func (r *Runner) kill(ctx context.Context, c *container.Container, l *lives.Run) error {
	alive, err := awaitLaunch(ctx, l)
	if err != nil || l.Failed {
		return err
	}

	if alive {
		r.notices.Signal(c.ID, syscall.SIGKILL)
		if err := r.Processes.Kill(ctx, c.ID); err != nil {
			return err
		}
	}

	over, err := waitCleaned(ctx, l, killTimeout)
	if err == nil && !over {
		return fault.New(fault.Busy, c.Subject(),
			"process has exited, but cleanup is incomplete after "+killTimeout.String(),
			fault.WithHint("see the agent's log; cleanup is retried"))
	}

	return errors.Join(err, cleanupError(l))
}

// Signal sends a signal to the process of a run.
func (r *Runner) Signal(ctx context.Context, launched *launch.Launched, sig syscall.Signal) error {
	if launched.Run == nil {
		return container.NotRunning(launched.Container.Subject(), launched.Container.ID)
	}
	return r.signal(ctx, launched.Container.ID, launched.Run, sig, r.Processes.Signal)
}
