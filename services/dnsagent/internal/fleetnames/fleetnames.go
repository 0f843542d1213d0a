// Package fleetnames exchanges names of containers with the other hosts of a fleet: it publishes
// those of this host on networks of the fleet, and adds those of other hosts to the zone.
//
// No call waits for it: registrations are published after they are stored, and what could not be
// published is repeated. On a host without a fleet it publishes nothing. It is used by dnsagent.
package fleetnames

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/notify"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
	"github.com/fairlead/fairlead/services/dnsagent/internal/zone"
)

// Delays before a stream is opened, or a publication repeated, after an error.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// Store has the registrations of this host. It is implemented by store.Store.
type Store interface {
	Registered(owner string) (registration.Registration, bool)
	Owners() []string
	Watch(changed func(owners ...string)) (stop func())
}

// Zone gets the names of other hosts. It is implemented by zone.Zone.
type Zone interface{ ApplyRemote(zone.RemoteChange) }

// Config configures an exchange.
type Config struct {
	Client fleetv1.OverlayServiceClient
	Store  Store
	Zone   Zone
	Log    *slog.Logger
}

// Exchange exchanges names with other hosts.
type Exchange struct {
	Config
	wake notify.Signal

	mu        sync.Mutex
	inFleet   bool
	networks  map[string]bool            // of the fleet
	all       bool                       // everything must be published
	dirty     map[string]bool            // owners to publish
	published map[string]map[string]bool // owner to networks
}

// New returns an exchange. Run starts it.
func New(c Config) *Exchange {
	return &Exchange{Config: c, wake: notify.NewSignal(), networks: map[string]bool{}, dirty: map[string]bool{},
		published: map[string]map[string]bool{}}
}

// Run exchanges names until ctx ends.
func (x *Exchange) Run(ctx context.Context) {
	defer x.Store.Watch(x.changed)()
	var tasks sync.WaitGroup
	tasks.Go(func() { x.receive(ctx) })
	tasks.Go(func() { x.publish(ctx) })
	tasks.Wait()
}

// changed notes changed registrations. On a host without a fleet it does nothing.
func (x *Exchange) changed(owners ...string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.inFleet {
		return
	}
	for _, o := range owners {
		x.dirty[o] = true
	}
	x.wake.Notify()
}

// receive adds the names of other hosts to the zone. While fleetagent is away, they stay.
func (x *Exchange) receive(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		started := time.Now()
		err := x.follow(ctx)
		if time.Since(started) > lastPause {
			pause = firstPause
		}
		if ctx.Err() == nil {
			x.Log.DebugContext(ctx, "names of other hosts not received", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
			pause = min(2*pause, lastPause)
		}
	}
}

// follow applies one stream.
func (x *Exchange) follow(ctx context.Context) error {
	stream, err := x.Client.WatchEndpoints(ctx, &fleetv1.WatchEndpointsRequest{})
	if err != nil {
		return err
	}
	var full *zone.RemoteChange // of a full state that is not complete
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		x.note(m)
		change := changeOf(m)
		if full != nil && !m.GetReset_() {
			full.Hosts, full.Remotes = append(full.Hosts, change.Hosts...), append(full.Remotes, change.Remotes...)
			change = *full
		}
		if !m.GetSynced() {
			full = &change
			continue
		}
		full = nil
		x.Zone.ApplyRemote(change)
	}
}

// note takes over which networks are those of the fleet.
func (x *Exchange) note(m *fleetv1.WatchEndpointsResponse) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if m.GetReset_() {
		x.inFleet, x.networks = m.GetNode() != "", map[string]bool{}
		x.all = x.inFleet
		if !x.inFleet {
			x.dirty, x.published = map[string]bool{}, map[string]map[string]bool{}
		}
	} else if m.GetNode() != "" && !x.inFleet {
		x.inFleet, x.all = true, true
	}
	for _, id := range m.GetRemovedNetworks() {
		delete(x.networks, id)
	}
	for _, id := range m.GetNetworks() {
		x.networks[id] = true
	}
	if len(m.GetNetworks()) > 0 && x.inFleet { // containers may be registered already
		for _, o := range x.Store.Owners() {
			x.dirty[o] = true
		}
	}
	if x.all || len(x.dirty) > 0 {
		x.wake.Notify()
	}
}

// changeOf converts a message. An address that cannot be read is left out.
func changeOf(m *fleetv1.WatchEndpointsResponse) zone.RemoteChange {
	c := zone.RemoteChange{Reset: m.GetReset_(), Node: m.GetNode(), RemovedHosts: m.GetRemovedHosts()}
	for _, h := range m.GetHosts() {
		c.Hosts = append(c.Hosts, zone.Host{ID: h.GetId(), Name: h.GetName(),
			Suspect: h.GetState() == fleetv1.HostState_HOST_STATE_SUSPECT})
	}
	for _, k := range m.GetRemoved() {
		c.Removed = append(c.Removed, zone.RemoteKey{Host: k.GetHostId(), Network: k.GetNetworkId(),
			Owner: k.GetOwner()})
	}
	for _, e := range m.GetEndpoints() {
		r := zone.Remote{Host: e.GetHostId(), Owner: e.GetOwner(), Member: zone.Member{Network: e.GetNetworkId(),
			NetworkName: e.GetNetworkName(), Names: e.GetNames()}}
		for _, text := range e.GetAddresses() {
			if a, err := netip.ParseAddr(text); err == nil {
				r.Addresses = append(r.Addresses, a)
			}
		}
		c.Remotes = append(c.Remotes, r)
	}
	return c
}
