package view

import (
	"net/netip"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
	"github.com/fairlead/fairlead/services/fleetagent/internal/space"
)

// touched holds what may have changed since the last message.
type touched struct {
	hosts, networks map[string]bool
	blocks          map[netip.Prefix]bool
	endpoints       map[EndpointID]bool
}

func newTouched() touched {
	return touched{map[string]bool{}, map[string]bool{}, map[netip.Prefix]bool{}, map[EndpointID]bool{}}
}

// apply takes one record over. It returns why the record cannot be used, or "".
func (v *View) apply(c Change, now time.Time) string {
	parts := v.keys.Split(c.Key)
	if len(parts) < 1 {
		return ""
	}
	switch kind, rest := parts[0], parts[1:]; {
	case kind == "h" && len(rest) == 1:
		return v.applyHost(c, rest[0])
	case kind == "live" && len(rest) == 1:
		v.applyAlive(rest[0], !c.Deleted, now)
	case kind == "i" && len(rest) == 1:
		why := set(v.infos, rest[0], c, nil)
		v.overlay.hosts[rest[0]] = true
		return why
	case kind == "use" && len(rest) == 1:
		return set(v.usages, rest[0], c, nil)
	case kind == "seen" && len(rest) == 1:
		return v.applySeen(c, rest[0])
	case kind == "pool" && len(rest) == 0:
		v.pool = c.Revision
	case kind == "settings" && len(rest) == 0:
		return v.applySettings(c)
	case kind == "up" && len(rest) == 2 && rest[0] == v.host:
		v.mark(rest[1], !c.Deleted)
	case kind == "n" && len(rest) == 1:
		v.overlay.networks[rest[0]] = true
		return set(v.networks, rest[0], c, func(n *fleetv1.OverlayNetwork) string {
			return checkNetwork(n, rest[0])
		})
	case kind == "b" && len(rest) == 2:
		return v.applyBlock(c, rest[0], rest[1])
	case kind == "e" && len(rest) == 3:
		return v.applyEndpoint(c, EndpointID{rest[0], rest[1], rest[2]})
	case kind == "w" && len(rest) == 2:
		return v.applyWish(c, rest[0], rest[1])
	}
	return ""
}

// set stores, or deletes, a record in a table. A record that cannot be read or fails a check leaves
// the table unchanged.
func set[K comparable, T any, P interface {
	*T
	proto.Message
}](table map[K]P, key K, c Change, check func(P) string) string {
	if c.Deleted {
		delete(table, key)
		return ""
	}
	m := P(new(T))
	if err := record.Decode(c.Key, c.Data, m); err != nil {
		return err.Error()
	}
	if check != nil {
		if why := check(m); why != "" {
			return "record " + c.Key + ": " + why
		}
	}
	table[key] = m
	return ""
}

func (v *View) applyHost(c Change, id string) string {
	v.overlay.hosts[id] = true
	_, before := v.hosts[id]
	why := set(v.hosts, id, c, func(h *fleetv1.Host) string {
		if h.GetId() != id {
			return "is of host " + h.GetId()
		}
		if a, err := netip.ParseAddr(h.GetAddress()); err != nil || !a.IsValid() {
			return "has no address"
		}
		return ""
	})
	if _, after := v.hosts[id]; before == after {
		return why
	}
	// What the host has is shown while its record exists, and no longer.
	for p, b := range v.blocks {
		if b.GetHostId() == id {
			v.overlay.blocks[p] = true
		}
	}
	for e := range v.endpoints {
		if e.Host == id {
			v.overlay.endpoints[e] = true
		}
	}
	return why
}

func (v *View) applyAlive(id string, alive bool, now time.Time) {
	v.overlay.hosts[id] = true
	if alive {
		v.alive[id] = true
		delete(v.losses, id)
		return
	}
	if v.alive[id] {
		v.losses[id] = now
	}
	delete(v.alive, id)
}

func (v *View) applySeen(c Change, id string) string {
	if c.Deleted {
		delete(v.seen, id)
		return ""
	}
	revision, ok := record.ParseRevision(c.Data)
	if !ok {
		return "record " + c.Key + ": is not a revision"
	}
	v.seen[id] = revision
	return ""
}

func (v *View) applySettings(c Change) string {
	if c.Deleted {
		v.space = space.Default(v.fleet)
		return ""
	}
	m := &fleetv1.FleetSettings{}
	if err := record.Decode(c.Key, c.Data, m); err != nil {
		return err.Error()
	}
	all, err := space.Parse(m.GetAddressSpace())
	if err != nil {
		return "record " + c.Key + ": " + err.Error()
	}
	v.space, v.generation = all, m.GetGeneration()
	return ""
}

func (v *View) applyBlock(c Change, network, name string) string {
	p, ok := record.ParsePrefixName(name)
	if !ok {
		return "record " + c.Key + ": its key is not a prefix"
	}
	if b := v.blocks[p]; c.Deleted && b != nil && b.GetNetworkId() != network {
		return "" // the prefix is a block of another network meanwhile
	}
	v.overlay.blocks[p] = true
	return set(v.blocks, p, c, func(b *fleetv1.OverlayBlock) string {
		if b.GetPrefix() != p.String() || b.GetNetworkId() != network {
			return "is of block " + b.GetPrefix() + " of network " + b.GetNetworkId()
		}
		return ""
	})
}

func (v *View) applyEndpoint(c Change, id EndpointID) string {
	v.overlay.endpoints[id] = true
	return set(v.endpoints, id, c, func(e *fleetv1.OverlayEndpoint) string {
		if e.GetHostId() != id.Host || e.GetNetworkId() != id.Network || e.GetOwner() != id.Owner {
			return "is of another endpoint"
		}
		for _, a := range e.GetAddresses() {
			if _, err := netip.ParseAddr(a); err != nil {
				return "has the address " + a
			}
		}
		return ""
	})
}

// applyWish passes a wish for a block of this host on to the services. It expires by itself.
func (v *View) applyWish(c Change, host, network string) string {
	if c.Deleted {
		return ""
	}
	m := &fleetv1.BlockWish{}
	if err := record.Decode(c.Key, c.Data, m); err != nil {
		return err.Error()
	}
	p, err := netip.ParsePrefix(m.GetPrefix())
	if err != nil {
		return "record " + c.Key + ": has no prefix"
	}
	if _, err := netip.ParseAddr(m.GetAddress()); m.GetAddress() != "" && err != nil {
		return "record " + c.Key + ": has the address " + m.GetAddress()
	}
	if m.GetFromHostId() == v.host {
		v.requests = append(v.requests, &fleetv1.BlockRequest{NetworkId: network, Prefix: p.String(), ToHostId: host,
			Address: m.GetAddress()})
	}
	return ""
}

// checkNetwork returns why a network cannot be used, or "".
func checkNetwork(n *fleetv1.OverlayNetwork, id string) string {
	if n.GetId() != id || n.GetName() == "" || strings.ContainsAny(n.GetName(), "/ ") {
		return "is of network " + n.GetId() + " with name " + n.GetName()
	}
	if len(n.GetPools()) == 0 {
		return "has no subnet"
	}
	for _, pool := range n.GetPools() {
		p, err := netip.ParsePrefix(pool.GetSubnet())
		if err != nil || p != p.Masked() {
			return "has the subnet " + pool.GetSubnet()
		}
		if g, err := netip.ParseAddr(pool.GetGateway()); err != nil || !p.Contains(g) {
			return "has the gateway " + pool.GetGateway()
		}
		if pool.GetIpRange() == "" {
			continue
		}
		if r, err := netip.ParsePrefix(pool.GetIpRange()); err != nil || !p.Contains(r.Addr()) || r.Bits() < p.Bits() {
			return "has the range " + pool.GetIpRange()
		}
	}
	return ""
}
