package run

import (
	"context"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/services/supervisor/container"
)

// killTimeout is how long a process may take to end after SIGKILL; longer means that it hangs in the kernel.
const killTimeout = 10 * time.Second

// Stop sends the stop signal, then SIGKILL after the timeout, and answers when the run is over and nothing of it is left.
// A nil timeout and an empty signal mean the container's own.
func (r *Runner) Stop(ctx context.Context, ref string, timeout *time.Duration, signal string) error {
	c, l, err := r.findLife(ref)
	if err != nil || l == nil {
		return err
	}
	if signal == "" {
		signal = c.Process.StopSignal
	}
	sig, err := container.ParseSignal(signal)
	if err != nil {
		return err
	}
	grace := c.StopTimeout()
	if timeout != nil {
		grace = *timeout
	}
	l.stopped.Store(true)
	if grace > 0 {
		if err := r.signal(ctx, c.ID, l, sig); err != nil {
			return err
		}
	}
	if over, err := within(ctx, l, grace); over || err != nil {
		return err
	}
	return r.killAndWait(ctx, c, l)
}

// Restart stops a container if it runs, and starts it.
func (r *Runner) Restart(ctx context.Context, ref string, timeout *time.Duration, signal string) (*Launched, error) {
	c, err := r.Store.FindContainer(ref)
	if err != nil {
		return nil, err
	}
	if c.Config.AutoRemove {
		return nil, fault.New(fault.Busy, c.Subject(), "is removed when it stops, so it cannot be restarted", fault.WithHint("run it without --rm"))
	}
	if err := r.Stop(ctx, c.ID, timeout, signal); err != nil {
		return nil, err
	}
	launched, err := r.Start(ctx, c.ID, false, 0, 0)
	if err != nil {
		return nil, err
	}
	r.tell(launched.Container, "restart")
	return launched, nil
}

// Kill sends a signal; empty means KILL.
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
	if l == nil {
		return notRunning(c.Subject(), c.ID)
	}
	if err := r.signal(ctx, c.ID, l, sig); err != nil {
		return err
	}
	if sig == syscall.SIGKILL {
		_, err = within(ctx, l, killTimeout)
	}
	return err
}

// findLife gives a container and its run; a nil run if it does not run. A launch on its way is waited for by signal.
func (r *Runner) findLife(ref string) (*container.Container, *life, error) {
	c, err := r.Store.FindContainer(ref)
	if err != nil {
		return nil, nil, err
	}
	return c, r.lives.of(c.ID), nil
}

// signal sends a signal to a run's process, once there is one. A process that has just ended is no error.
func (r *Runner) signal(ctx context.Context, uid string, l *life, sig syscall.Signal) error {
	select {
	case <-l.launched:
	case <-ctx.Done():
		return ctx.Err()
	}
	if l.failed {
		return nil
	}
	select {
	case <-l.exited:
		return nil
	default:
		r.tellSignal(uid, sig) // before it can end by it
		return r.Processes.Signal(ctx, uid, sig)
	}
}

func (r *Runner) killAndWait(ctx context.Context, c *container.Container, l *life) error {
	if err := r.signal(ctx, c.ID, l, syscall.SIGKILL); err != nil {
		return err
	}
	over, err := within(ctx, l, killTimeout)
	if err == nil && !over {
		return stuck(c)
	}
	return err
}

// within waits until nothing of a run is left.
func within(ctx context.Context, l *life, limit time.Duration) (over bool, err error) {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-l.cleaned:
		return true, nil
	case <-t.C:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// Signal sends a signal to the process of a run.
func (r *Runner) Signal(ctx context.Context, launched *Launched, sig syscall.Signal) error {
	if launched.life == nil {
		return notRunning(launched.Container.Subject(), launched.Container.ID)
	}
	return r.signal(ctx, launched.Container.ID, launched.life, sig)
}
