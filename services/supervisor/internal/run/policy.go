package run

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
	"github.com/fairlead/fairlead/services/supervisor/internal/restart"
)

// maxRestarts bounds the concurrent launches by restart policies, as after a reboot.
const maxRestarts = 8

// restarts starts containers again as their restart policies say.
type restarts struct {
	*Runner
	slots chan struct{} // holds a token for each launch
}

func newRestarts(r *Runner) *restarts {
	return &restarts{Runner: r, slots: make(chan struct{}, maxRestarts)}
}

// ended returns the record of a container whose process has exited. Its restart policy decides
// whether it is started again.
func (p *restarts) ended(c *container.Container, l *lives.Run) *container.Container {
	n := c.Ended(l.Exit)
	stopped := l.Quit.Load() || c.Restarts.Stopped
	if n.Status != container.Exited || n.Ending != nil || c.Ending != nil || stopped {
		return n.NotRestarted(stopped)
	}
	delay, ok := restart.Next(c.Config.Restart, c.Restarts.Count, c.Restarts.Delay,
		restart.Exit{Code: l.Exit.Code, Ran: l.Exit.At.Sub(c.StartedAt)})
	if !ok {
		return n
	}
	return n.Restarted(delay)
}

// markStopped stores that a user stops a container with a restart policy, before its process
// receives a signal. A crash of the agent then does not restart it.
func (p *restarts) markStopped(c *container.Container, l *lives.Run) error {
	if l != nil {
		l.Quit.Store(true)
	}
	if c.Config.Restart.IsNone() || c.Restarts.Stopped {
		return nil
	}
	_, err := p.Store.UpdateContainer(c.ID,
		func(c *container.Container) *container.Container { return c.NotRestarted(true) })
	p.lives.NotifyStopped(c.ID)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// cancel stops a container that waits for its restart. done is false if it does not wait.
func (p *restarts) cancel(ctx context.Context, uid string, stopped bool) (done bool, err error) {
	unlock, err := p.lives.Lock(ctx, uid)
	if err != nil {
		return false, err
	}
	defer unlock()

	_, err = p.Store.UpdateContainer(uid, func(c *container.Container) *container.Container {
		if done = c.Status == container.Restarting; !done {
			return nil
		}
		return c.NotRestarted(stopped)
	})
	if done && err == nil {
		p.lives.NotifyStopped(uid)
	}
	return done, err
}

// later starts a container in status Restarting when its delay is over, in the background.
func (p *restarts) later(c *container.Container) {
	go func() {
		wait := min(time.Until(c.Restarts.At), restart.MaxDelay)
		for retry := restart.MinDelay; ; retry = min(2*retry, concludeRetryMax) {
			pause(p.running, wait)
			err := p.once(p.running, c)
			if err == nil || p.running.Err() != nil {
				return
			}
			if !p.canRetry(c, err) {
				p.logFor(c.ID).Warn("restart failed, container stays stopped", "name", c.Config.Name, "error", err)
				if _, err := p.cancel(p.running, c.ID, false); err != nil {
					p.logFor(c.ID).Warn("cannot store the failed restart", "error", err)
				}
				return
			}
			wait = retry
		}
	}()
}

// once starts a container unless its restart was canceled or replaced.
func (p *restarts) once(ctx context.Context, c *container.Container) error {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}

	unlock, err := p.lockStopped(ctx, c.ID)
	if err != nil {
		return err
	}

	defer unlock()

	now, err := p.Store.GetContainer(c.ID)
	if err != nil || now.Status != container.Restarting || !now.Restarts.At.Equal(c.Restarts.At) {
		return nil
	}

	if _, err := p.Completed(ctx, now); err != nil {
		return err
	}

	_, err = p.launcher.Start(ctx, c.ID, launch.StartOptions{Policy: true})
	return err
}

// canRetry reports whether a failed restart can succeed later: a service is not available yet, or
// the container whose network namespace it joins.
func (p *restarts) canRetry(c *container.Container, err error) bool {
	if fault.Is(err, fault.Unavailable) {
		return true
	}
	with, joined := c.Config.Network.Mode.Joined()
	if !joined {
		return false
	}
	owner, err := p.Store.GetContainer(with)
	return err == nil && (owner.Status == container.Restarting || p.lives.Of(with) != nil)
}

// atStart restarts the containers whose restart an earlier supervisor did not complete, and
// those that their policy starts with the agent.
func (p *restarts) atStart() {
	for _, c := range p.Store.ListContainers() {
		if c.Status == container.Exited && c.Ending == nil && !c.Restarts.Stopped {
			if _, ok := restart.Next(c.Config.Restart, c.Restarts.Count, 0, restart.Exit{Code: c.ExitCode}); ok {
				c = p.store(c)
			}
		}
		if c.Status == container.Restarting {
			p.later(c)
		}
	}
}

// store stores that an exited container is started again.
func (p *restarts) store(c *container.Container) *container.Container {
	now, err := p.Store.UpdateContainer(c.ID, func(c *container.Container) *container.Container {
		if c.Status != container.Exited {
			return nil
		}
		return c.Restarted(restart.MinDelay)
	})
	if err != nil {
		p.logFor(c.ID).Warn("cannot restart container", "name", c.Config.Name, "error", err)
		return c
	}
	return now
}
