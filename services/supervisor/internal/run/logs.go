package run

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/logfile"
)

// LogOptions say what to read of a container's output.
type LogOptions struct {
	Follow bool      // go on until the container ends
	Tail   int       // the last so many lines; negative means all
	Since  time.Time // the zero time leaves nothing out
}

// Logs calls emit with each piece of what a container has written. Nothing is followed of a container that does not run.
func (r *Runner) Logs(ctx context.Context, ref string, opts LogOptions, emit func(logfile.Entry) error) error {
	c, err := r.Store.FindContainer(ref)
	if err != nil {
		return err
	}
	o := logfile.Options{Tail: opts.Tail, Since: opts.Since}
	if l := r.lives.of(c.ID); opts.Follow && l != nil {
		o.Ended = l.exited
	}
	return logfile.Read(ctx, r.LogPath(c.ID), o, emit)
}
