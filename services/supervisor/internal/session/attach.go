package session

import (
	"context"
	"strconv"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/logfile"
)

// Attach connects to the streams of a running container.
func (s *Sessions) Attach(ctx context.Context, ref string, rows, cols uint16) (*launch.Launched, error) {
	c, err := s.Store.FindContainer(ref)
	if err != nil {
		return nil, err
	}
	switch {
	case c.IsPaused():
		return nil, fault.New(fault.Busy, c.Subject(),
			"container "+c.ID+" is paused, unpause the container before attach")
	case c.Status == container.Restarting:
		return nil, fault.New(fault.Busy, c.Subject(),
			"container "+c.ID+" is restarting, wait until the container is running")
	case !c.IsRunning():
		return nil, container.NotRunning(c.Subject(), c.ID)
	}
	launched, err := s.AttachTo(ctx, c, rows, cols)
	if err == nil {
		s.Notices.Emit(c, "attach")
	}
	return launched, err
}

// Pending is a client that attached to a container before its start.
type Pending struct {
	Container *container.Container
	Log       *logfile.Snapshot                                   // the output of earlier runs; nil unless requested
	Wait      func(ctx context.Context) (*launch.Launched, error) // must be called once
}

// AttachBeforeStart attaches to a container that another call starts. The client is connected before
// the process runs, so it misses no output. A container that runs already is attached to now.
// With logs the stored output comes first.
func (s *Sessions) AttachBeforeStart(ctx context.Context, ref string, rows, cols uint16, logs bool) (*Pending, error) {
	c, err := s.Store.FindContainer(ref)
	if err != nil {
		return nil, err
	}

	unlock, err := s.Lives.Lock(ctx, c.ID)
	if err != nil {
		return nil, err
	}

	defer unlock()

	if c, err = s.Store.GetContainer(c.ID); err != nil {
		return nil, err
	}

	if c.IsActive() {
		attach := s.Attach
		if logs {
			attach = s.AttachWithLog
		}
		launched, err := attach(ctx, c.ID, rows, cols)
		return &Pending{c, nil, func(context.Context) (*launch.Launched, error) { return launched, nil }}, err
	}

	if c.Status == container.Removing {
		return nil, fault.New(fault.Conflict, c.Subject(), "is being removed")
	}

	log, err := s.earlier(c, logs)
	if err != nil {
		return nil, err
	}
	w, watcher := s.Waiters.Add(c.ID), s.Lives.Watch(c.ID)
	s.Notices.Emit(c, "attach")
	return &Pending{c, log, func(ctx context.Context) (*launch.Launched, error) {
		defer watcher.Close()
		defer s.Waiters.Remove(c.ID, w)
		removed := make(chan struct{})
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			select {
			case <-watcher.Removed:
				close(removed)
			case <-stop:
			}
		}()
		return w.Wait(ctx, removed)
	}}, nil
}

// earlier returns the output of earlier runs, nil unless requested.
func (s *Sessions) earlier(c *container.Container, logs bool) (*logfile.Snapshot, error) {
	if !logs {
		return nil, nil
	}
	if err := checkReadable(c); err != nil {
		return nil, err
	}
	return logfile.Open(s.LogPath(c.ID))
}

// Resize sets the size of a container's terminal.
func (s *Sessions) Resize(ctx context.Context, ref string, rows, cols uint16) error {
	c, err := s.Store.FindContainer(ref)
	if err != nil {
		return err
	}
	if !c.IsRunning() {
		return container.NotRunning(c.Subject(), c.ID)
	}
	if err := s.Processes.Resize(ctx, c.ID, rows, cols); err != nil {
		return err
	}
	s.Notices.Emit(c, "resize", "height", strconv.Itoa(int(rows)), "width", strconv.Itoa(int(cols)))
	return nil
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
