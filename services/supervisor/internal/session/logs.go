package session

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/logdriver"
	"github.com/fairlead/fairlead/services/supervisor/internal/logfile"
)

// LogOptions selects a part of a container's output.
type LogOptions struct {
	Follow bool           // continue until the container exits
	Tail   int            // number of lines from the end; negative means all
	Since  time.Time      // zero means from the start
	Until  time.Time      // zero means no end
	Only   logfile.Stream // 0 means both
	Joined bool           // adjacent lines of one stream are one entry
}

// Logs calls emit for each log entry of a container. Follow has no effect if the container is not
// running. details are the attributes that the log options select, as in Docker.
func (s *Sessions) Logs(ctx context.Context, ref string, opts LogOptions,
	emit func(e logfile.Entry, details string) error) error {
	c, err := s.Store.FindContainer(ref)
	if err != nil {
		return err
	}
	if err := checkReadable(c); err != nil {
		return err
	}

	o := logfile.Options{Tail: opts.Tail, Since: opts.Since, Until: opts.Until, Only: opts.Only,
		Join: opts.Joined}
	if l := s.Lives.Of(c.ID); opts.Follow && l != nil {
		o.Ended = l.Exited
		if !o.Until.IsZero() {
			end, cancel := context.WithDeadline(ctx, o.Until)
			defer cancel()
			o.Ended = either(l.Exited, end.Done())
		}
	}

	details := logdriver.Details(c.Config.Log, launch.LogSubject(c))
	return logfile.Read(ctx, s.LogPath(c.ID), o, func(e logfile.Entry) error { return emit(e, details) })
}

// either returns a channel that is closed when one of two is. b must be closed in the end.
func either(a, b <-chan struct{}) <-chan struct{} {
	out := make(chan struct{})
	go func() {
		defer close(out)
		select {
		case <-a:
		case <-b:
		}
	}()
	return out
}

// checkReadable returns a fault for a container whose log cannot be read.
func checkReadable(c *container.Container) error {
	if c.Config.Log.WritesFiles() {
		return nil
	}
	return fault.New(fault.Invalid, c.Subject(), "configured logging driver does not support reading",
		fault.WithHint("run it with --log-driver json-file"))
}
