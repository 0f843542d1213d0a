// Package disk measures what images, containers and volumes occupy, and removes the stopped containers
// that match a selection. Package api calls it. Images and volumes are pruned by packages image and
// volumes.
package disk

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// Containers lists and removes containers.
type Containers interface {
	List() []*container.Container
	Remove(ctx context.Context, ref string, force, withVolumes bool) error
}

// Config holds the dependencies of Disk.
type Config struct {
	Containers Containers
	Images     Images
	Volumes    Volumes
	Upper      func(uid string) string // the writable layer of a container
	Events     *events.Broker          // receives the event of a prune; nil means none
	Log        *slog.Logger
}

// Disk measures and frees space on the disk.
type Disk struct{ Config }

// New returns a Disk.
func New(cfg Config) *Disk { return &Disk{cfg} }

// Selection selects stopped containers.
type Selection struct {
	Until           time.Time // created before; zero means no limit
	Labels, Exclude []string  // KEY or KEY=VALUE
}

// Includes reports whether a container is stopped and matches.
func (s Selection) Includes(c *container.Container) bool {
	switch {
	case c.Status != container.Created && c.Status != container.Exited && !c.Dead:
		return false
	case !s.Until.IsZero() && !c.CreatedAt.Before(s.Until):
		return false
	}

	for _, l := range s.Labels {
		if !hasLabel(c, l) {
			return false
		}
	}
	for _, l := range s.Exclude {
		if hasLabel(c, l) {
			return false
		}
	}
	return true
}

func hasLabel(c *container.Container, spec string) bool {
	key, want, valued := strings.Cut(spec, "=")
	got, ok := c.Config.Labels[key]
	return ok && (!valued || got == want)
}

// Prune removes the stopped containers that match, without their volumes. It returns their IDs and
// the bytes of their writable layers. A container that cannot be removed is kept, with a warning in
// the log. One that is started meanwhile is kept too.
func (d *Disk) Prune(ctx context.Context, s Selection) (deleted []string, reclaimed int64, err error) {
	for _, c := range d.Containers.List() {
		if !s.Includes(c) {
			continue
		}

		size, err := d.Size(ctx, c.ID)
		if err != nil && ctx.Err() != nil {
			return deleted, reclaimed, err
		}
		switch err := d.Containers.Remove(ctx, c.ID, false, false); {
		case err == nil:
			deleted, reclaimed = append(deleted, c.ID), reclaimed+size
		case ctx.Err() != nil:
			return deleted, reclaimed, err
		case !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Busy) && !fault.Is(err, fault.Conflict):
			d.Log.Warn("container not pruned", "container", c.ID, "error", err)
		}
	}

	if d.Events != nil {
		d.Events.Emit(events.Container, "prune", "", map[string]string{
			"reclaimed": strconv.FormatInt(reclaimed, 10)})
	}
	return deleted, reclaimed, nil
}

// Size returns the bytes that the writable layer of a container occupies. It is 0 for a container
// that was never started.
func (d *Disk) Size(ctx context.Context, uid string) (int64, error) {
	root, err := beneath.Open(d.Upper(uid))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fault.New(fault.Unavailable, "container "+uid, "its size cannot be measured", fault.WithCause(err))
	}
	defer func() { _ = root.Close() }()
	return root.Usage(ctx)
}
