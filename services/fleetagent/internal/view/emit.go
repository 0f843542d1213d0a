package view

import (
	"net/netip"

	"google.golang.org/protobuf/proto"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/space"
)

// emitted holds the last state that was sent to the services.
type emitted struct {
	self      *fleetv1.OverlaySelf
	hosts     map[string]*fleetv1.OverlayHost
	networks  map[string]*fleetv1.OverlayNetwork
	blocks    map[netip.Prefix]*fleetv1.OverlayBlock
	endpoints map[EndpointID]*fleetv1.OverlayEndpoint
}

func newEmitted() emitted {
	return emitted{hosts: map[string]*fleetv1.OverlayHost{}, networks: map[string]*fleetv1.OverlayNetwork{},
		blocks: map[netip.Prefix]*fleetv1.OverlayBlock{}, endpoints: map[EndpointID]*fleetv1.OverlayEndpoint{}}
}

// emit puts what has changed into the messages of a delta.
func (v *View) emit(d *Delta) {
	o, e := &fleetv1.WatchOverlayResponse{Synced: true}, &fleetv1.WatchEndpointsResponse{Synced: true}
	if self := v.self(); !proto.Equal(self, v.out.self) {
		if v.out.self.GetName() != self.GetName() {
			e.Node = self.GetName()
		}
		o.Self, v.out.self = self, self
	}
	v.emitHosts(o, e)
	for id := range v.overlay.networks {
		if n, change := update(v.out.networks, id, v.shownNetwork(id)); change && n != nil {
			o.Networks = append(o.Networks, n)
			e.Networks = append(e.Networks, id)
		} else if change {
			o.RemovedNetworks = append(o.RemovedNetworks, id)
			e.RemovedNetworks = append(e.RemovedNetworks, id)
		}
	}
	for p := range v.overlay.blocks {
		if b, change := update(v.out.blocks, p, v.shownBlock(p)); change && b != nil {
			o.Blocks = append(o.Blocks, b)
		} else if change {
			o.RemovedBlocks = append(o.RemovedBlocks, p.String())
		}
	}
	for id := range v.overlay.endpoints {
		if m, change := update(v.out.endpoints, id, v.shownEndpoint(id)); change && m != nil {
			e.Endpoints = append(e.Endpoints, m)
		} else if change {
			e.Removed = append(e.Removed, &fleetv1.EndpointKey{HostId: id.Host, NetworkId: id.Network, Owner: id.Owner})
		}
	}
	v.overlay = newTouched()
	o.Requests, v.requests = v.requests, nil

	if proto.Size(o) > proto.Size(&fleetv1.WatchOverlayResponse{Synced: true}) {
		d.Overlay = o
	}
	if proto.Size(e) > proto.Size(&fleetv1.WatchEndpointsResponse{Synced: true}) {
		d.Endpoints = e
	}
}

func (v *View) emitHosts(o *fleetv1.WatchOverlayResponse, e *fleetv1.WatchEndpointsResponse) {
	for id := range v.overlay.hosts {
		h, change := update(v.out.hosts, id, v.shownHost(id))
		if !change {
			continue
		}
		if h == nil {
			o.RemovedHosts = append(o.RemovedHosts, id)
		} else {
			o.Hosts = append(o.Hosts, h)
		}
		switch {
		case id == v.host:
		case h == nil:
			e.RemovedHosts = append(e.RemovedHosts, id)
		default:
			e.Hosts = append(e.Hosts, h)
		}
	}
}

// update sets what was emitted under a key, nil for nothing, and reports whether that is a change.
func update[K comparable, T any, P interface {
	*T
	proto.Message
}](out map[K]P, key K, m P) (P, bool) {
	before, had := out[key]
	if m == nil {
		delete(out, key)
		return nil, had
	}
	if had && proto.Equal(before, m) {
		return m, false
	}
	out[key] = m
	return m, true
}

func (v *View) self() *fleetv1.OverlaySelf {
	self := &fleetv1.OverlaySelf{FleetId: v.fleet, HostId: v.host, Name: v.name, Address: v.address,
		Vni: space.VNI(v.fleet), UnderlayMtu: v.UnderlayMTU(), Removed: v.removed}
	for _, p := range v.space {
		self.AddressSpace = append(self.AddressSpace, p.String())
	}
	return self
}

// state returns the state of a host as the services treat it. While many hosts are lost together, all
// count as alive.
func (v *View) state(id string) fleetv1.HostState {
	if v.alive[id] || v.alarmed {
		return fleetv1.HostState_HOST_STATE_ALIVE
	}
	return fleetv1.HostState_HOST_STATE_SUSPECT
}

func (v *View) shownHost(id string) *fleetv1.OverlayHost {
	h := v.hosts[id]
	if h == nil || v.removed {
		return nil
	}
	info := v.infos[id]
	return &fleetv1.OverlayHost{Id: id, Name: h.GetName(), Address: h.GetAddress(), State: v.state(id),
		UnderlayMtu: info.GetUnderlayMtu(), TunnelKeys: info.GetTunnelKeys()}
}

// shownNetwork returns a network unless this host was removed from the fleet.
func (v *View) shownNetwork(id string) *fleetv1.OverlayNetwork {
	if v.removed {
		return nil
	}
	return v.networks[id]
}

// shownBlock returns a block unless its host is not part of the fleet any more.
func (v *View) shownBlock(p netip.Prefix) *fleetv1.OverlayBlock {
	b := v.blocks[p]
	if b == nil || v.removed || v.hosts[b.GetHostId()] == nil {
		return nil
	}
	return b
}

// shownEndpoint returns an endpoint of another host on a network that this host has.
func (v *View) shownEndpoint(id EndpointID) *fleetv1.OverlayEndpoint {
	if v.removed || id.Host == v.host || v.hosts[id.Host] == nil || !v.marks[id.Network] {
		return nil
	}
	return v.endpoints[id]
}

// Full returns the messages of a full state, at most so many records each.
func (v *View) Full(size int) (overlay []*fleetv1.WatchOverlayResponse, endpoints []*fleetv1.WatchEndpointsResponse) {
	o, e := &fleetv1.WatchOverlayResponse{Reset_: true, Self: v.out.self},
		&fleetv1.WatchEndpointsResponse{Reset_: true, Node: v.out.self.GetName()}
	for id, h := range v.out.hosts {
		o.Hosts = append(o.Hosts, h)
		if id != v.host {
			e.Hosts = append(e.Hosts, h)
		}
	}
	for id, n := range v.out.networks {
		o.Networks = append(o.Networks, n)
		e.Networks = append(e.Networks, id)
	}
	for _, b := range v.out.blocks {
		if len(o.Blocks) == size {
			overlay, o = append(overlay, o), &fleetv1.WatchOverlayResponse{}
		}
		o.Blocks = append(o.Blocks, b)
	}
	for _, m := range v.out.endpoints {
		if len(e.Endpoints) == size {
			endpoints, e = append(endpoints, e), &fleetv1.WatchEndpointsResponse{}
		}
		e.Endpoints = append(e.Endpoints, m)
	}
	o.Synced, e.Synced = true, true
	return append(overlay, o), append(endpoints, e)
}
