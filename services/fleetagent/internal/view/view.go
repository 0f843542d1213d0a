// Package view holds what one host sees of its fleet: hosts, networks, blocks and endpoints, as the
// records of the store say it, and what changes for the services of the host when records change.
//
// A record that cannot be read is set aside: the last good one stays in use. The package is pure: it
// has no store, no disk and no clock. It is not safe for concurrent use. It is used by fleetagent.
package view

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
	"github.com/fairlead/fairlead/services/fleetagent/internal/space"
)

// Change is a record that was set, or the key of one that was deleted.
type Change struct {
	Key      string
	Data     []byte
	Revision int64
	Deleted  bool
}

// EndpointID identifies an endpoint.
type EndpointID struct{ Host, Network, Owner string }

// View is the view of one host.
type View struct {
	keys             record.Keys
	fleet, host      string
	name, address    string
	hosts            map[string]*fleetv1.Host
	infos            map[string]*fleetv1.HostInfo
	usages           map[string]*fleetv1.HostUsage
	alive            map[string]bool
	seen             map[string]int64
	pool             int64           // revision of the last change of the set of networks
	marks            map[string]bool // networks that this host has
	networks         map[string]*fleetv1.OverlayNetwork
	blocks           map[netip.Prefix]*fleetv1.OverlayBlock
	endpoints        map[EndpointID]*fleetv1.OverlayEndpoint
	space            []netip.Prefix
	generation       uint64 // of the store
	losses           losses
	damaged          map[string]string // by key: why
	out              emitted
	overlay          touched
	alarmed, removed bool
	requests         []*fleetv1.BlockRequest // not emitted yet
}

// New returns an empty view of a host.
func New(keys record.Keys, fleet, host, name, address string) *View {
	return &View{keys: keys, fleet: fleet, host: host, name: name, address: address,
		hosts: map[string]*fleetv1.Host{}, infos: map[string]*fleetv1.HostInfo{},
		usages: map[string]*fleetv1.HostUsage{},
		alive:  map[string]bool{}, seen: map[string]int64{}, marks: map[string]bool{},
		networks: map[string]*fleetv1.OverlayNetwork{}, blocks: map[netip.Prefix]*fleetv1.OverlayBlock{},
		endpoints: map[EndpointID]*fleetv1.OverlayEndpoint{},
		space:     space.Default(fleet), losses: losses{}, damaged: map[string]string{}, out: newEmitted(),
		overlay: newTouched()}
}

// Delta holds the changes for the services.
type Delta struct {
	Overlay   *fleetv1.WatchOverlayResponse   // nil: nothing
	Endpoints *fleetv1.WatchEndpointsResponse // nil: nothing
	Damaged   map[string]string               // records that were set aside, by key
	// AlarmStarted reports that so many hosts were lost together that the fault is probably not
	// theirs: their endpoints keep their place.
	AlarmStarted, AlarmEnded bool
	Lost                     []string // names of the hosts that are not alive, with AlarmStarted
}

// Apply takes changed records over. now is a time of this host only.
func (v *View) Apply(changes []Change, now time.Time) Delta {
	d := Delta{Damaged: map[string]string{}}
	for _, c := range changes {
		why := v.apply(c, now)
		if why == "" {
			delete(v.damaged, c.Key)
			continue
		}
		if v.damaged[c.Key] != why {
			d.Damaged[c.Key] = why
		}
		v.damaged[c.Key] = why
	}
	v.noteAlarm(&d, now)
	v.emit(&d)
	return d
}

// noteAlarm compares the number of lost hosts with the limit.
func (v *View) noteAlarm(d *Delta, now time.Time) {
	alarm := v.losses.alarm(v.alarmed, v.hosts, v.alive, now)
	if alarm == v.alarmed {
		return
	}
	v.alarmed = alarm
	d.AlarmStarted, d.AlarmEnded = alarm, !alarm
	for id, h := range v.hosts {
		if !v.alive[id] {
			v.overlay.hosts[id] = true
			d.Lost = append(d.Lost, h.GetName())
		}
	}
	slices.Sort(d.Lost)
}

// SetRemoved notes whether this host was removed from the fleet. A removed host has no networks. It
// reports whether that is a change.
func (v *View) SetRemoved(removed bool) (Delta, bool) {
	var d Delta
	if v.removed == removed {
		return d, false
	}
	v.removed = removed
	for id := range v.hosts {
		v.overlay.hosts[id] = true
	}
	for id := range v.networks {
		v.overlay.networks[id] = true
	}
	for p := range v.blocks {
		v.overlay.blocks[p] = true
	}
	for id := range v.endpoints {
		v.overlay.endpoints[id] = true
	}
	v.emit(&d)
	return d, true
}

// SetMark notes that this host has a network, or has it no more, before the store knows it.
func (v *View) SetMark(network string, up bool) Delta {
	v.mark(network, up)
	var d Delta
	v.emit(&d)
	return d
}

func (v *View) mark(network string, up bool) {
	if v.marks[network] == up {
		return
	}
	if v.marks[network] = up; !up {
		delete(v.marks, network)
	}
	for id := range v.endpoints {
		if id.Network == network {
			v.overlay.endpoints[id] = true
		}
	}
}

// Marked reports whether this host has a network.
func (v *View) Marked(network string) bool { return v.marks[network] }

// Hosts returns all hosts with their states. The records must not be modified.
func (v *View) Hosts() map[string]*fleetv1.Host { return v.hosts }

// Alive reports whether a host renews its lease.
func (v *View) Alive(host string) bool { return v.alive[host] }

// Seen returns the latest change of networks that a host has.
func (v *View) Seen(host string) int64 { return v.seen[host] }

// Pool returns the revision of the last change of the set of networks.
func (v *View) Pool() int64 { return v.pool }

// Deleted reports whether there is a deleted network that some host still has.
func (v *View) Deleted() bool {
	for _, n := range v.networks {
		if n.GetDeleted() {
			return true
		}
	}
	return false
}

// Network returns a network. The record must not be modified.
func (v *View) Network(id string) (*fleetv1.OverlayNetwork, bool) {
	n, ok := v.networks[id]
	return n, ok
}

// Block returns a block. The record must not be modified.
func (v *View) Block(p netip.Prefix) (*fleetv1.OverlayBlock, bool) {
	b, ok := v.blocks[p]
	return b, ok
}

// Blocks returns the blocks of a network, or of all networks if it is empty. The records must not be
// modified.
func (v *View) Blocks(network string) map[netip.Prefix]*fleetv1.OverlayBlock {
	if network == "" {
		return v.blocks
	}
	found := map[netip.Prefix]*fleetv1.OverlayBlock{}
	for p, b := range v.blocks {
		if b.GetNetworkId() == network {
			found[p] = b
		}
	}
	return found
}

// OnNetwork returns the endpoints of all hosts on a network, or on all networks if it is empty. The records must not
// be modified.
func (v *View) OnNetwork(network string) []*fleetv1.OverlayEndpoint {
	var found []*fleetv1.OverlayEndpoint
	for id, e := range v.endpoints {
		if (network == "" || id.Network == network) && v.hosts[id.Host] != nil {
			found = append(found, e)
		}
	}
	return found
}

// Usage returns what a host reported about its blocks.
func (v *View) Usage(host string) []*fleetv1.BlockUsage { return v.usages[host].GetBlocks() }

// Damaged returns the records that are set aside, by key.
func (v *View) Damaged() map[string]string { return maps.Clone(v.damaged) }

// UnderlayMTU returns the smallest MTU that a host has published, or 0.
func (v *View) UnderlayMTU() uint32 {
	least := uint32(0)
	for id, info := range v.infos {
		if mtu := info.GetUnderlayMtu(); v.hosts[id] != nil && mtu > 0 && (least == 0 || mtu < least) {
			least = mtu
		}
	}
	return least
}

// Generation returns the generation of the store.
func (v *View) Generation() uint64 { return v.generation }

// Networks returns all networks by ID, also those that are being deleted. They are not changed.
func (v *View) Networks() map[string]*fleetv1.OverlayNetwork { return v.networks }

// Info returns what a host has published, or nil.
func (v *View) Info(id string) *fleetv1.HostInfo { return v.infos[id] }
