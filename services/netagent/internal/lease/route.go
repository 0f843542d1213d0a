package lease

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

const (
	// maxRoutes limits the routes accepted from a server.
	maxRoutes = 64
	// experimental is the first octet of reserved IPv4 addresses (240.0.0.0/4).
	experimental = 240
)

// Route is a route in addition to the default route.
type Route struct {
	To  netip.Prefix // without host bits
	Via netip.Addr   // zero: on-link
}

// String formats the route as in ip route.
func (r Route) String() string {
	if !r.Via.IsValid() {
		return r.To.String()
	}
	return r.To.String() + " via " + r.Via.String()
}

// WithRoutes returns the lease with the routes of a server, including the default route (RFC 3442).
// It drops routes with unreachable gateways or invalid destinations, because any host on the LAN
// can send them.
func (t Terms) WithRoutes(received []Route) Terms {
	t.Router, t.Routes = netip.Addr{}, nil
	for _, r := range received {
		switch {
		case r.Via.IsValid() && !t.reaches(r.Via):
		case r.To.Bits() == 0:
			if !t.Router.IsValid() {
				t.Router = r.Via
			}
		case len(t.Routes) < maxRoutes && t.acceptable(r.To):
			t.Routes = append(t.Routes, r)
		}
	}

	return t
}

// reaches reports whether a gateway can be on the link: in the subnet, or in an earlier on-link
// route.
func (t Terms) reaches(via netip.Addr) bool {
	if via == t.Address.Addr() {
		return false
	}
	if t.Address.Contains(via) {
		return !isNetworkOrBroadcast(netip.PrefixFrom(via, t.Address.Bits()))
	}
	return slices.ContainsFunc(t.Routes, func(r Route) bool { return !r.Via.IsValid() && r.To.Contains(via) })
}

// acceptable reports whether to is a unicast destination, and neither the subnet nor a duplicate.
func (t Terms) acceptable(to netip.Prefix) bool {
	a := to.Addr()
	if !a.Is4() || a.IsLoopback() || a.IsMulticast() || a.As4()[0] >= experimental || to == t.Address.Masked() {
		return false
	}
	return !slices.ContainsFunc(t.Routes, func(o Route) bool { return o.To == to })
}

// isNetworkOrBroadcast reports whether an IPv4 address is the first or last of its subnet.
func isNetworkOrBroadcast(p netip.Prefix) bool {
	const pointToPoint = 31 // longer prefixes have neither (RFC 3021)
	if p.Bits() >= pointToPoint {
		return false
	}
	a, host := p.Addr().As4(), uint32(1)<<(32-p.Bits())-1
	in := binary.BigEndian.Uint32(a[:]) & host
	return in == 0 || in == host
}
