package system

import (
	"context"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	eventv1 "github.com/fairlead/fairlead/proto/gen/fairlead/event/v1"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

// Intervals of a watch of all hosts: until a host that was lost is watched again, and until the list of
// hosts is read again.
const (
	rewatchInterval = 2 * time.Second
	relistInterval  = 5 * time.Second
)

// fleetWatch prints the events of all hosts of a fleet.
type fleetWatch struct {
	cli    *cli.CLI
	client *client.Client
	req    *containerv1.WatchEventsRequest
	show   func(e *eventv1.Event, node string) error

	mu      sync.Mutex // held by show
	failed  context.CancelCauseFunc
	hosts   sync.WaitGroup
	watched map[string]bool // by host ID
}

// watchFleet calls show for the events of all hosts, in order of time for each host. A warning names a
// host that does not answer; it is watched again when it does. Without an end time it returns when
// ctx ends.
func watchFleet(ctx context.Context, c *cli.CLI, req *containerv1.WatchEventsRequest,
	show func(e *eventv1.Event, node string) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cl, hosts, err := c.Fleet(ctx)
	if err != nil {
		return err
	}

	w := &fleetWatch{cli: c, client: cl, req: req, show: show, failed: cancel,
		watched: map[string]bool{}}
	w.add(ctx, hosts)
	if req.GetUntil() != nil {
		w.hosts.Wait()
		return context.Cause(ctx)
	}
	w.relist(ctx)
	w.hosts.Wait()
	return context.Cause(ctx)
}

// relist adds new hosts until ctx ends.
func (w *fleetWatch) relist(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(relistInterval):
		}
		if res, err := w.client.Fleet.ListHosts(ctx, &fleetv1.ListHostsRequest{}); err == nil {
			w.add(ctx, res.GetHosts())
		}
	}
}

// add watches the hosts that are not watched yet.
func (w *fleetWatch) add(ctx context.Context, hosts []*fleetv1.Host) {
	for _, h := range hosts {
		if !w.watched[h.GetId()] {
			w.watched[h.GetId()] = true
			w.hosts.Go(func() { w.watch(client.OnNode(ctx, h.GetId()), h.GetName()) })
		}
	}
}

// watch watches one host until ctx or the time of the watch ends.
func (w *fleetWatch) watch(ctx context.Context, name string) {
	since, warned := w.req.GetSince(), false
	for {
		if since == nil {
			since = timestamppb.New(w.cli.Now())
		}
		err := watch(ctx, w.client, &containerv1.WatchEventsRequest{Since: since, Until: w.req.GetUntil(),
			Filters: w.req.GetFilters(), All: true}, func(e *eventv1.Event) error {
			since, warned = timestamppb.New(e.GetTime().AsTime().Add(1)), false
			w.mu.Lock()
			defer w.mu.Unlock()
			if err := w.show(e, name); err != nil {
				w.failed(err)
				return err
			}
			return nil
		})
		if err == nil || ctx.Err() != nil || w.ended() {
			return
		}
		if fault.Is(err, fault.Invalid) { // a filter
			w.failed(err)
			return
		}
		if !warned {
			w.cli.Warn(err.Error())
			warned = true
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(rewatchInterval):
		}
	}
}

// ended reports whether the end time has passed.
func (w *fleetWatch) ended() bool {
	return w.req.GetUntil() != nil && w.cli.Now().After(w.req.GetUntil().AsTime())
}
