package fleet

import (
	"cmp"
	"context"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/hostinfo"
	"github.com/fairlead/fairlead/services/fleetagent/internal/mirror"
	"github.com/fairlead/fairlead/services/fleetagent/internal/publish"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
)

// storeTime is the time after which a call says that the store is away.
const storeTime = 2 * time.Second

// WatchOverlay sends the view of this host and its changes. It continues when the host joins a fleet
// or leaves it.
func (f *Fleet) WatchOverlay(ctx context.Context, send func(*fleetv1.WatchOverlayResponse) error) error {
	f.watchers.Add(1)
	defer f.watchers.Add(-1)
	return f.watch(ctx, func() error { return send(&fleetv1.WatchOverlayResponse{Reset_: true, Synced: true}) },
		func(ctx context.Context, m *mirror.Mirror) error { return m.WatchOverlay(ctx, send) })
}

// WatchEndpoints sends the endpoints of other hosts and their changes.
func (f *Fleet) WatchEndpoints(ctx context.Context, send func(*fleetv1.WatchEndpointsResponse) error) error {
	return f.watch(ctx, func() error { return send(&fleetv1.WatchEndpointsResponse{Reset_: true, Synced: true}) },
		func(ctx context.Context, m *mirror.Mirror) error { return m.WatchEndpoints(ctx, send) })
}

// watch streams the mirror of the current part. empty is called while the host has no fleet.
func (f *Fleet) watch(ctx context.Context, empty func() error,
	stream func(context.Context, *mirror.Mirror) error) error {
	for ctx.Err() == nil {
		f.mu.Lock()
		p, changed, running := f.part, f.changed, f.base != nil && f.base.Err() == nil
		f.mu.Unlock()
		if p == nil && running {
			if err := empty(); err != nil {
				return err
			}
		}
		if p == nil {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		if err := stream(until(ctx, p.ctx), p.mirror); err != nil {
			return err
		}
		if f.stopping() {
			return fault.New(fault.Unavailable, "fleetagent", "stops")
		}
	}
	return nil
}

// stopping reports whether the agent stops, which is not a change of the fleet.
func (f *Fleet) stopping() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.base != nil && f.base.Err() != nil
}

// until returns a context that ends with either.
func until(a, b context.Context) context.Context {
	ctx, cancel := context.WithCancel(a)
	context.AfterFunc(b, cancel)
	return ctx
}

// PublishHost publishes what other hosts must know of this one.
func (f *Fleet) PublishHost(_ context.Context, info *fleetv1.HostInfo, probed int) error {
	p, err := f.current()
	if err != nil {
		return err
	}
	for _, text := range info.GetRoutes() {
		if _, err := netip.ParsePrefix(text); err != nil {
			return fault.Invalidf("route "+text, "routes", "is not an address range")
		}
	}
	hosts, own := hostinfo.Hosts{}, p.membership().Host
	p.mirror.Read(func(v *view.View) { hosts = hostinfo.Others(v, own, probed) })
	p.mu.Lock()
	before := p.info
	hostinfo.Keep(before, info, hosts)
	p.info, p.probed = info, probed
	p.mu.Unlock()
	if hostinfo.Same(before, info) {
		return nil
	}
	data, err := record.Encode(info)
	if err != nil {
		return err
	}
	p.publisher.Set(map[string][]byte{p.keys.Info(p.membership().Host): data})
	for _, e := range hostinfo.Changes(before, info, hosts, p.nameOf) {
		p.cfg.Log.Warn("data path changed", "change", e.Action, "details", e.Attributes)
		p.emit(e.Action, e.Attributes)
	}
	return nil
}

// nameOf returns the name of a host, or its ID.
func (p *part) nameOf(id string) (name string) {
	p.mirror.Read(func(v *view.View) { name = v.Hosts()[id].GetName() })
	return cmp.Or(name, id)
}

// PublishEndpoints changes the endpoints of this host.
func (f *Fleet) PublishEndpoints(_ context.Context, r *fleetv1.PublishEndpointsRequest) error {
	p, err := f.current()
	if err != nil {
		return err
	}
	records := map[string][]byte{}
	for _, k := range r.GetRemoved() {
		records[p.keys.Endpoint(p.membership().Host, k.GetNetworkId(), k.GetOwner())] = nil
	}
	for _, e := range r.GetEndpoints() {
		if err := publish.CheckEndpoint(e); err != nil {
			return err
		}
		e.HostId = p.membership().Host
		data, err := record.Encode(e)
		if err != nil {
			return err
		}
		records[p.keys.Endpoint(p.membership().Host, e.GetNetworkId(), e.GetOwner())] = data
	}
	if r.GetAll() {
		p.publisher.Replace(p.keys.Endpoints(p.membership().Host), records)
		return nil
	}
	p.publisher.Set(records)
	return nil
}

// ReportUsage replaces what is known about the use of this host's blocks.
func (f *Fleet) ReportUsage(_ context.Context, all []*fleetv1.BlockUsage) error {
	p, err := f.current()
	if err != nil {
		return err
	}
	data, err := record.Encode(&fleetv1.HostUsage{Blocks: all})
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.usage.Report(all, p.cfg.Now())
	p.mu.Unlock()
	p.publisher.SetLater(p.keys.Usage(p.membership().Host), data)
	return nil
}
