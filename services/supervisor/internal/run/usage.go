package run

import (
	"context"
	"slices"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/cgroup"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/notices"
	"github.com/fairlead/fairlead/services/supervisor/internal/processlist"
	"github.com/fairlead/fairlead/services/supervisor/internal/stats"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Intervals between samples.
const (
	statsInterval = time.Second
	firstInterval = 50 * time.Millisecond // so that the first sample has a CPU usage
)

// Usage reads the processes and the resource usage of containers.
type Usage struct {
	store   *store.Store
	cgroup  cgroup.Layout
	notices *notices.Notices
}

// Top lists the processes of a running container. args are options of ps.
func (u *Usage) Top(ref string, args []string) (processlist.Table, error) {
	c, err := u.store.FindContainer(ref)
	if err != nil {
		return processlist.Table{}, err
	}

	if err := checkRunning(c); err != nil {
		return processlist.Table{}, err
	}

	table, err := processlist.List(u.cgroup.Below(c.Config.Namespaces.CgroupParent).Pids(c.ID), args)
	if err == nil {
		u.notices.Emit(c, "top")
	}
	return table, err
}

// StatsRequest selects containers.
type StatsRequest struct {
	References []string // empty means all running containers
	All        bool     // with stopped ones, without References
	Stream     bool     // one sample each second until the context ends
}

// Stats calls send with samples of the resource usage of containers.
func (u *Usage) Stats(ctx context.Context, req StatsRequest, send func([]stats.Sample) error) error {
	all, err := u.selected(req)
	if err != nil {
		return err
	}

	sampler := stats.New(u.cgroup)
	defer sampler.Close()
	samples, err := sampler.First(ctx, all, firstInterval)
	if err != nil {
		return err
	}
	for {
		if err := send(samples); err != nil || !req.Stream {
			return err
		}
		pause(ctx, statsInterval)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if all, err = u.selected(req); err != nil {
			return err
		}
		samples = sampler.Sample(all)
	}
}

func (u *Usage) selected(req StatsRequest) ([]*container.Container, error) {
	if len(req.References) == 0 {
		return slices.DeleteFunc(u.store.ListContainers(),
			func(c *container.Container) bool { return !req.All && !c.IsRunning() }), nil
	}
	var out []*container.Container
	for _, ref := range req.References {
		c, err := u.store.FindContainer(ref)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}
