package session

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/logdriver"
	"github.com/fairlead/fairlead/services/supervisor/internal/logfile"
)

// LogOptions selects a part of a container's output.
type LogOptions struct {
	Follow bool      // continue until the container exits
	Tail   int       // number of lines from the end; negative means all
	Since  time.Time // zero means from the start
}

// Logs calls emit for each log entry of a container. Follow has no effect if the container is not
// running.
func (s *Sessions) Logs(ctx context.Context, ref string, opts LogOptions, emit func(logfile.Entry) error) error {
	c, err := s.Store.FindContainer(ref)
	if err != nil {
		return err
	}
	if c.Config.Log.Driver == logdriver.None {
		return fault.New(fault.Invalid, c.Subject(), "configured logging driver does not support reading",
			fault.WithHint("run it with --log-driver json-file"))
	}
	o := logfile.Options{Tail: opts.Tail, Since: opts.Since}
	if l := s.Lives.Of(c.ID); opts.Follow && l != nil {
		o.Ended = l.Exited
	}
	return logfile.Read(ctx, s.LogPath(c.ID), o, emit)
}
