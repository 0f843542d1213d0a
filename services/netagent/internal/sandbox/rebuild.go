package sandbox

import (
	"encoding/hex"
	"slices"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
)

// Unrecorded is the namespace of a running container without a record.
type Unrecorded struct{ Owner, Path string }

// Rebuild recreates the records of namespaces from the kernel: from the veth pairs between them and
// the bridges of networks.
//
// It returns the number of incomplete records: those with an interface on no known bridge. Call it
// after Recover and before AcceptRequests.
func (m *Manager) Rebuild(all []Unrecorded, links func() ([]kernel.Link, error)) (incomplete int, err error) {
	if len(all) == 0 {
		return 0, nil
	}

	have, err := links()
	if err != nil {
		return len(all), fault.Wrap(err, fault.Internal, "host links", "cannot be listed")
	}

	for _, u := range all {
		sb, whole, err := m.rebuild(u, have)
		if err != nil {
			m.log.Error("cannot rebuild the record of a running container", "owner", u.Owner, "error", err)
		}
		if err != nil || !whole {
			incomplete++
		}
		if err != nil {
			continue
		}
		if err := m.store.PutSandbox(sb); err != nil {
			return incomplete, err
		}
		m.addresses.Claim(sb)
		m.log.Warn("record of a running container lost, rebuilt from the kernel", "owner", u.Owner,
			"endpoints", len(sb.Endpoints), "all", whole)
	}

	return incomplete, nil
}

// rebuild recreates one record. whole is false if it lacks an interface.
func (m *Manager) rebuild(u Unrecorded, links []kernel.Link) (sb endpoint.Sandbox, whole bool, err error) {
	sb = endpoint.Sandbox{Owner: u.Owner, Mode: endpoint.Private, NetnsPath: u.Path, CreatedAt: time.Now().UTC()}
	var pairs []kernel.Found
	if err := m.namespaces.Within(u.Path, func(ns namespace.Namespace) (err error) {
		pairs,
			err = ns.Pairs()
		return err
	}); err != nil {
		return sb, false, fault.Wrap(err, fault.Internal, endpoint.SandboxSubject(u.Owner), "cannot be read")
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

// endpointOf returns the endpoint of a veth pair whose host end is a port of a network's bridge.
func (m *Manager) endpointOf(p kernel.Found, links []kernel.Link) (e endpoint.Endpoint, ok bool) {
	host := slices.IndexFunc(links, func(l kernel.Link) bool { return l.Index == p.Peer && l.Kind == "veth" })
	if host < 0 {
		return e, false
	}

	bridge := slices.IndexFunc(links, func(l kernel.Link) bool {
		return l.Index == links[host].Master &&
			l.Kind == "bridge"
	})

	if bridge < 0 || !endpoint.IsHostEnd(links[host].Name, links[host].MAC) {
		return e, false
	}

	for _, n := range m.store.Networks() {
		if n.Status.Deleting || n.Bridge().Device != links[bridge].Name {
			continue
		}
		// The name and the MAC address of the host end start with the digits of the endpoint ID.
		digits := hex.EncodeToString(links[host].MAC[1:])
		e = endpoint.Endpoint{ID: digits + id.New()[len(digits):], NetworkID: n.ID, NetworkName: n.Name,
			Driver: n.Driver, Interface: p.Name,
			HostInterface: links[host].Name, Bridge: n.Bridge().Device, MAC: p.MAC, HostBinding: n.Bridge().HostBinding,
			Internal: n.Spec.Internal, DNS: n.Spec.DNS, Egress: n.Spec.Egress, Limits: n.Spec.Limits,
			Spec: endpoint.Spec{Network: n.ID}}
		return addressed(e, p), true
	}

	return e, false
}

// addressed returns the endpoint with the addresses and gateways of its interface.
func addressed(e endpoint.Endpoint, p kernel.Found) endpoint.Endpoint {
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
