package run

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// Attach connects to the streams of a running container.
func (r *Runner) Attach(ctx context.Context, ref string, rows, cols uint16) (*Launched, error) {
	c, err := r.Store.FindContainer(ref)
	if err != nil {
		return nil, err
	}
	if !c.IsRunning() {
		return nil, notRunning(c.Subject(), c.ID)
	}
	return r.attachTo(ctx, c, rows, cols)
}

func (r *Runner) attachTo(ctx context.Context, c *container.Container, rows, cols uint16) (*Launched, error) {
	output, err := r.Processes.Attach(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	launched := &Launched{Container: c, Output: output, life: r.lives.of(c.ID)}
	if c.Config.TTY && rows > 0 && cols > 0 {
		if err := output.Resize(rows, cols); err != nil {
			_ = output.Close()
			return nil, err
		}
	}
	return launched, nil
}

// exitWait bounds the wait for an exit after a failed attach.
const exitWait = time.Second

// isEnding reports whether the process of a container has exited, or exits within exitWait.
func (r *Runner) isEnding(ctx context.Context, uid string) bool {
	l := r.lives.of(uid)
	if l == nil {
		return false
	}

	soon := time.NewTimer(exitWait)
	defer soon.Stop()

	select {
	case <-l.ended:
		return true
	case <-ctx.Done():
	case <-soon.C:
	}

	return false
}

// ExitOf waits for the exit of a launched run, even if the container was restarted or removed
// since.
func (r *Runner) ExitOf(ctx context.Context, launched *Launched) (container.Exit, error) {
	if launched.life == nil { // it exited between lookup and attach
		return r.Wait(ctx, launched.Container.ID)
	}
	return waitExit(ctx, launched.life, launched.Container)
}

// Find returns the container with a name, ID or unique ID prefix.
func (r *Runner) Find(ref string) (*container.Container, error) { return r.Store.FindContainer(ref) }

// List returns all containers, newest first.
func (r *Runner) List() []*container.Container { return r.Store.ListContainers() }
