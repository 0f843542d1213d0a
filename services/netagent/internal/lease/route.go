package lease

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

const (
	// maxRoutes is how many routes are taken of what a server tells.
	maxRoutes = 64
	// experimental begins what no machine can have of IPv4.
	experimental = 240
)

// Route is a way to a part of the world, beside the default route.
type Route struct {
	To  netip.Prefix // without host bits
	Via netip.Addr   // not valid: it is on the link itself
}

// String is the route as people write it.
func (r Route) String() string {
	if !r.Via.IsValid() {
		return r.To.String()
	}
	return r.To.String() + " via " + r.Via.String()
}

// WithRoutes takes the routes that a server tells, the default route among them, in the order in which it does (RFC 3442). What the client cannot
// reach, and where no route can lead, is left out, as whoever tells it may be anybody.
func (t Terms) WithRoutes(told []Route) Terms {
	t.Router, t.Routes = netip.Addr{}, nil
	for _, r := range told {
		switch {
		case r.Via.IsValid() && !t.reaches(r.Via):
		case r.To.Bits() == 0:
			if !t.Router.IsValid() {
				t.Router = r.Via
			}
		case len(t.Routes) < maxRoutes && t.mayLead(r.To):
			t.Routes = append(t.Routes, r)
		}
	}
	return t
}

// reaches tells whether a router can be on the link: in the subnet, or where a route before it says that the link goes on.
func (t Terms) reaches(via netip.Addr) bool {
	if via == t.Address.Addr() {
		return false
	}
	if t.Address.Contains(via) {
		return !isNetworkOrBroadcast(netip.PrefixFrom(via, t.Address.Bits()))
	}
	return slices.ContainsFunc(t.Routes, func(r Route) bool { return !r.Via.IsValid() && r.To.Contains(via) })
}

// mayLead leaves out what nobody can have, and what the client has anyhow or has been told before.
func (t Terms) mayLead(to netip.Prefix) bool {
	a := to.Addr()
	if !a.Is4() || a.IsLoopback() || a.IsMulticast() || a.As4()[0] >= experimental || to == t.Address.Masked() {
		return false
	}
	return !slices.ContainsFunc(t.Routes, func(o Route) bool { return o.To == to })
}

// isNetworkOrBroadcast tells whether an IPv4 address is the first or the last of its subnet, which no machine has.
func isNetworkOrBroadcast(p netip.Prefix) bool {
	const leastEnds = 31 // from there on there are none (RFC 3021)
	if p.Bits() >= leastEnds {
		return false
	}
	a, host := p.Addr().As4(), uint32(1)<<(32-p.Bits())-1
	in := binary.BigEndian.Uint32(a[:]) & host
	return in == 0 || in == host
}
