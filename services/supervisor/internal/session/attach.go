package session

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
)

// Attach connects to the streams of a running container.
func (s *Sessions) Attach(ctx context.Context, ref string, rows, cols uint16) (*launch.Launched, error) {
	c, err := s.Store.FindContainer(ref)
	if err != nil {
		return nil, err
	}
	if !c.IsRunning() {
		return nil, container.NotRunning(c.Subject(), c.ID)
	}
	return s.AttachTo(ctx, c, rows, cols)
}

// AttachTo connects to the streams of a container that was found running.
func (s *Sessions) AttachTo(ctx context.Context, c *container.Container, rows, cols uint16) (*launch.Launched, error) {
	output, err := s.Processes.Attach(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	launched := &launch.Launched{Container: c, Output: output, Run: s.Lives.Of(c.ID)}
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

// IsEnding reports whether the process of a container has exited, or exits within exitWait.
func (s *Sessions) IsEnding(ctx context.Context, uid string) bool {
	l := s.Lives.Of(uid)
	if l == nil {
		return false
	}

	soon := time.NewTimer(exitWait)
	defer soon.Stop()

	select {
	case <-l.Ended:
		return true
	case <-ctx.Done():
	case <-soon.C:
	}

	return false
}
