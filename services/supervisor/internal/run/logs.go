package run

import (
	"context"
	"time"

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
