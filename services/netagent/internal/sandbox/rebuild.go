package sandbox

import (
	"encoding/hex"
	"slices"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Unrecorded is the namespace of a container that runs and has no record.
type Unrecorded struct{ Owner, Path string }

// Rebuild makes the records of namespaces again from what the kernel has: the pairs that lead from them to the bridges of networks. It
// returns how many it cannot make, as one of their interfaces is on no known bridge. It comes after Recover and before Open.
func (m *Manager) Rebuild(all []Unrecorded, links func() ([]kernel.Link, error)) (left int, err error) {
	if len(all) == 0 {
		return 0, nil
	}
	have, err := links()
	if err != nil {
		return len(all), fault.Wrap(err, fault.Internal, "links of the host", "cannot be listed")
	}
	for _, u := range all {
		sb, whole, err := m.rebuild(u, have)
		if err != nil {
			m.Log.Error("record of a running container cannot be rebuilt", "owner", u.Owner, "error", err)
		}
		if err != nil || !whole {
			left++
		}
		if err != nil {
			continue
		}
		if err := m.store.PutSandbox(sb); err != nil {
			return left, err
		}
		m.markAllocated(sb)
		m.Log.Warn("record of a running container was lost, rebuilt from the kernel", "owner", u.Owner, "endpoints", len(sb.Endpoints), "all", whole)
	}
	return left, nil
}

// rebuild makes one record; whole is false if an interface is left out.
func (m *Manager) rebuild(u Unrecorded, links []kernel.Link) (sb network.Sandbox, whole bool, err error) {
	sb = network.Sandbox{Owner: u.Owner, Mode: network.Private, NetnsPath: u.Path, CreatedAt: time.Now().UTC()}
	var pairs []kernel.Found
	if err := kernel.WithPinned(u.Path, func(ns *kernel.Namespace) (err error) { pairs, err = ns.Pairs(); return err }); err != nil {
		return sb, false, fault.Wrap(err, fault.Internal, subject(u.Owner), "cannot be read")
	}
	whole = true
	for _, p := range pairs {
		e, ok := m.endpointOf(p, links)
		if !ok {
			whole = false
			continue
		}
		sb.Endpoints = append(sb.Endpoints, e)
	}
	return sb, whole, nil
}

// endpointOf makes an endpoint of a pair that leads to the bridge of a network.
func (m *Manager) endpointOf(p kernel.Found, links []kernel.Link) (e network.Endpoint, ok bool) {
	host := slices.IndexFunc(links, func(l kernel.Link) bool { return l.Index == p.Peer && l.Kind == "veth" })
	if host < 0 {
		return e, false
	}
	bridge := slices.IndexFunc(links, func(l kernel.Link) bool { return l.Index == links[host].Master && l.Kind == "bridge" })
	if bridge < 0 || !network.IsHostEnd(links[host].Name, links[host].MAC) {
		return e, false
	}
	for _, n := range m.store.Networks() {
		if n.Deleting || n.Bridge != links[bridge].Name {
			continue
		}
		// The name and the hardware address of the host end begin with the digits of the endpoint's id.
		digits := hex.EncodeToString(links[host].MAC[1:])
		e = network.Endpoint{ID: digits + id.New()[len(digits):], NetworkID: n.ID, NetworkName: n.Name, Driver: n.Driver, Interface: p.Name,
			HostInterface: links[host].Name, Bridge: n.Bridge, MAC: p.MAC, HostBinding: n.HostBinding, Internal: n.Internal, DNS: n.DNS,
			Spec: network.EndpointSpec{Network: n.ID}}
		return addressed(e, p), true
	}
	return e, false
}

// addressed gives an endpoint the addresses and gateways that its interface has.
func addressed(e network.Endpoint, p kernel.Found) network.Endpoint {
	for _, a := range p.Addresses {
		switch {
		case a.Addr().Is4() && !e.IPv4.IsValid():
			e.IPv4 = a
		case a.Addr().Is6() && !e.IPv6.IsValid():
			e.IPv6 = a
		}
	}
	for _, gw := range p.Gateways {
		if gw.Is4() {
			e.Gateway4 = gw
		} else {
			e.Gateway6 = gw
		}
	}
	return e
}
