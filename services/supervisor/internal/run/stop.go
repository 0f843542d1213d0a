package run

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
)

// killTimeout is how long it may take from the end of a process until nothing of its run is left.
const killTimeout = 20 * time.Second

// quickStop is how long a process has to end before the request to stop it is stored. Most end sooner, and then it costs no commit.
const quickStop = 200 * time.Millisecond

// Stop sends the stop signal, then SIGKILL after the timeout, and returns when the run is over and nothing of it is left. It is completed
// though the client goes away, and by the next supervisor if this one is killed. A nil timeout and an empty signal mean the container's
// own.
func (r *Runner) Stop(ctx context.Context, ref string, timeout *time.Duration, signal string) error {
	c, l, err := r.findLife(ref)
	if err != nil || l == nil {
		return err
	}
	e, grace, err := ending(c, container.GoalStopped, timeout, signal)
	if err != nil {
		return err
	}
	return r.unattended(ctx, func(ctx context.Context) error { return r.unlessGivenUp(c.ID, r.stop(ctx, c, l, e, grace)) })
}

// ending is a request to end a run, and how long the process has for that.
func ending(c *container.Container, goal container.Goal, timeout *time.Duration, signal string) (container.Ending, time.Duration, error) {
	if signal == "" {
		signal = c.Process.StopSignal
	}
	if _, err := container.ParseSignal(signal); err != nil {
		return container.Ending{}, 0, err
	}
	grace := c.StopTimeout()
	if timeout != nil {
		grace = *timeout
	}
	e := container.Ending{Goal: goal, KillAt: time.Now().Add(grace)}
	if grace > 0 {
		e.Signal = signal
	}
	return e, grace, nil
}

// stop ends a run as a stored request says.
func (r *Runner) stop(ctx context.Context, c *container.Container, l *lifecycle, e container.Ending, grace time.Duration) error {
	l.stopped.Store(true)
	if e.Signal != "" && grace > 0 {
		sig, err := container.ParseSignal(e.Signal)
		if err != nil {
			return err
		}
		if err := r.signal(ctx, c.ID, l, sig, r.Processes.Stop); err != nil {
			return err
		}
		if over, err := waitCleaned(ctx, l, min(grace, quickStop)); over || err != nil {
			return errors.Join(err, leftOf(l))
		}
		if e.Goal == container.GoalStopped {
			if err := r.want(c.ID, e); err != nil {
				r.logFor(c.ID).Warn("the request to stop it cannot be stored", "error", err) // it is carried out all the same
			}
		}
		if over, err := waitCleaned(ctx, l, grace-min(grace, quickStop)); over || err != nil {
			return errors.Join(err, leftOf(l))
		}
	}
	return r.kill(ctx, c, l)
}

// leftOf is what could not be removed of a run.
func leftOf(l *lifecycle) error {
	if isOver(l.cleaned) {
		return l.left
	}
	return nil
}

// want stores a request to end a run, if there is a run to end.
func (r *Runner) want(uid string, e container.Ending) error {
	_, err := r.Store.UpdateContainer(uid, func(c *container.Container) *container.Container {
		if !c.IsRunning() && e.Goal != container.GoalRestarted {
			return nil
		}
		return c.Wanted(e)
	})
	return err
}

// unlessGivenUp removes a stored request that has failed for good: its caller knows, and a restarted supervisor must not take it up again.
// One that the agent's own end has interrupted stays.
func (r *Runner) unlessGivenUp(uid string, err error) error {
	if err == nil || r.running.Err() != nil {
		return err
	}
	if _, uerr := r.Store.UpdateContainer(uid, func(c *container.Container) *container.Container {
		if c.Ending == nil {
			return nil
		}
		return c.Unwanted()
	}); uerr != nil && !fault.Is(uerr, fault.NotFound) {
		r.logFor(uid).Warn("a request that has failed cannot be removed", "error", uerr)
	}
	return err
}

// unattended does work that is completed though the client goes away: the end of ctx ends the waiting for it, the agent's end the work.
func (r *Runner) unattended(ctx context.Context, work func(context.Context) error) error {
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

// Restart stops a container if it runs, and starts it. It is completed like Stop.
func (r *Runner) Restart(ctx context.Context, ref string, timeout *time.Duration, signal string) (*Launched, error) {
	c, err := r.Store.FindContainer(ref)
	if err != nil {
		return nil, err
	}
	if c.Config.AutoRemove {
		return nil, fault.New(fault.Busy, c.Subject(), "is removed when it stops, so it cannot be restarted", fault.WithHint("run it without --rm"))
	}
	e, grace, err := ending(c, container.GoalRestarted, timeout, signal)
	if err != nil {
		return nil, err
	}
	launched := make(chan *Launched, 1)
	err = r.unattended(ctx, func(ctx context.Context) error {
		if err := r.want(c.ID, e); err != nil {
			return err
		}
		l, err := r.restart(ctx, c, e, grace)
		launched <- l
		return r.unlessGivenUp(c.ID, err)
	})
	if err != nil {
		return nil, err
	}
	return <-launched, nil
}

func (r *Runner) restart(ctx context.Context, c *container.Container, e container.Ending, grace time.Duration) (*Launched, error) {
	if l := r.lives.of(c.ID); l != nil {
		if err := r.stop(ctx, c, l, e, grace); err != nil {
			return nil, err
		}
	}
	launched, err := r.Start(ctx, c.ID, false, 0, 0)
	if err != nil {
		return nil, err
	}
	r.emit(launched.Container, "restart")
	return launched, nil
}

// Kill sends a signal; empty means KILL, for whose effect it waits. A process that is just ending is no error, as in Docker.
func (r *Runner) Kill(ctx context.Context, ref, signal string) error {
	if signal == "" {
		signal = "KILL"
	}
	sig, err := container.ParseSignal(signal)
	if err != nil {
		return err
	}
	c, l, err := r.findLife(ref)
	if err != nil {
		return err
	}
	if l == nil || isOver(l.exited) {
		return notRunning(c.Subject(), c.ID)
	}
	return r.unattended(ctx, func(ctx context.Context) error {
		if sig == syscall.SIGKILL {
			return r.kill(ctx, c, l)
		}
		return r.signal(ctx, c.ID, l, sig, r.Processes.Signal)
	})
}

// findLife gives a container and its run; a nil run if it does not run. A launch on its way is waited for by signal.
func (r *Runner) findLife(ref string) (*container.Container, *lifecycle, error) {
	c, err := r.Store.FindContainer(ref)
	if err != nil {
		return nil, nil, err
	}
	return c, r.lives.of(c.ID), nil
}

// signal sends a signal to a run's process, once there is one. A process that has just ended is no error.
func (r *Runner) signal(ctx context.Context, uid string, l *lifecycle, sig syscall.Signal, send func(context.Context, string, syscall.Signal) error) error {
	alive, err := r.awaitLaunch(ctx, l)
	if err != nil || !alive {
		return err
	}
	r.tellSignal(uid, sig) // before it can end by it
	if err := send(ctx, uid, sig); err != nil && !errors.Is(err, runtime.ErrEnded) {
		return err
	}
	return nil
}

// awaitLaunch waits until a run is launched, and reports whether its process may still live.
func (r *Runner) awaitLaunch(ctx context.Context, l *lifecycle) (alive bool, err error) {
	select {
	case <-l.launched:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return !l.failed && !isOver(l.ended), nil
}

// kill ends a run whatever holds its process up, and waits until nothing of it is left.
func (r *Runner) kill(ctx context.Context, c *container.Container, l *lifecycle) error {
	alive, err := r.awaitLaunch(ctx, l)
	if err != nil || l.failed {
		return err
	}
	if alive {
		r.tellSignal(c.ID, syscall.SIGKILL)
		if err := r.Processes.Kill(ctx, c.ID); err != nil {
			return err
		}
	}
	over, err := waitCleaned(ctx, l, killTimeout)
	if err == nil && !over {
		return fault.New(fault.Busy, c.Subject(), "its process has ended, but what it had is not removed after "+killTimeout.String(),
			fault.WithHint("it is tried again; the agent's log says what holds it up"))
	}
	return errors.Join(err, leftOf(l))
}

// Signal sends a signal to the process of a run.
func (r *Runner) Signal(ctx context.Context, launched *Launched, sig syscall.Signal) error {
	if launched.life == nil {
		return notRunning(launched.Container.Subject(), launched.Container.ID)
	}
	return r.signal(ctx, launched.Container.ID, launched.life, sig, r.Processes.Signal)
}
