package agents

import (
	"context"
	"net/netip"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

// Other is an endpoint of a container of another host, on a network that spans hosts.
type Other struct {
	OtherKey
	NetworkName string
	Name        string // of the container
	Labels      map[string]string
	Addresses   []netip.Addr
}

// OtherKey identifies an endpoint of a container of another host. Container, host and network are IDs.
type OtherKey struct{ Host, Network, Owner string }

// OthersChange is a change of the endpoints of other hosts.
type OthersChange struct {
	Reset        bool              // all that was known before is outdated
	Complete     bool              // no part follows
	Hosts        map[string]string // names by ID
	RemovedHosts []string          // IDs
	Put          []Other
	Removed      []OtherKey
}

// HasFleet reports whether this agent has a service for fleets.
func (a *Agents) HasFleet() bool { return a.cfg.Overlay != nil }

// FollowOthers calls changed for each change of the endpoints of other hosts, first with all, until ctx ends or
// the connection fails.
func (a *Agents) FollowOthers(ctx context.Context, changed func(OthersChange)) error {
	stream, err := a.cfg.Overlay.WatchEndpoints(ctx, &fleetv1.WatchEndpointsRequest{})
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		changed(othersFromProto(m))
	}
}

// othersFromProto converts a change. An address that cannot be read is left out.
func othersFromProto(m *fleetv1.WatchEndpointsResponse) OthersChange {
	c := OthersChange{Reset: m.GetReset_(), Complete: m.GetSynced(), RemovedHosts: m.GetRemovedHosts(),
		Hosts: map[string]string{}}
	for _, h := range m.GetHosts() {
		c.Hosts[h.GetId()] = h.GetName()
	}
	for _, k := range m.GetRemoved() {
		c.Removed = append(c.Removed, OtherKey{k.GetHostId(), k.GetNetworkId(), k.GetOwner()})
	}
	for _, e := range m.GetEndpoints() {
		o := Other{OtherKey: OtherKey{e.GetHostId(), e.GetNetworkId(), e.GetOwner()}, NetworkName: e.GetNetworkName(),
			Labels: e.GetLabels()}
		if len(e.GetNames()) > 0 {
			o.Name = e.GetNames()[0]
		}
		for _, text := range e.GetAddresses() {
			if addr, err := netip.ParseAddr(text); err == nil {
				o.Addresses = append(o.Addresses, addr)
			}
		}
		c.Put = append(c.Put, o)
	}
	return c
}
