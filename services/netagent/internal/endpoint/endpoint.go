// Package endpoint defines sandboxes and their endpoints on networks: requests and their validation,
// addresses, default routes, renumbering and the names of links. It performs no I/O. All packages of
// netagent that attach containers use it; package network does not know it.
package endpoint

import (
	"net"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Endpoint is one attachment of a sandbox to a network.
type Endpoint struct {
	ID            string
	NetworkID     string
	NetworkName   string
	Driver        string // of the network
	Interface     string // container end, such as eth0
	HostInterface string // host end, such as veth1c0ffee
	Bridge        string
	MAC           net.HardwareAddr
	IPv4          netip.Prefix // zero: none
	IPv6          netip.Prefix
	Gateway4      netip.Addr // zero: no default route
	Gateway6      netip.Addr
	HostBinding   netip.Addr // of the network; zero: all addresses
	Internal      bool       // of the network
	Spec          Spec       // the request, with the network's id

	Lease4 *lease.Terms `json:",omitempty"` // on DHCP networks; nil: not acquired
	Lease6 *lease.Terms `json:",omitempty"`

	DNS    []netip.Addr  // of the network
	Egress []string      `json:",omitempty"` // rules of the network, which the supervisor puts in force
	Routes []lease.Route `json:",omitempty"` // from the leases, in addition to the default route

	// Limits are those of the network, for what the container has no limits of its own. DefaultLimits are those of
	// the configuration when the endpoint was created, for what the network has none.
	Limits        egress.Defaults `json:",omitzero"`
	DefaultLimits egress.Defaults `json:",omitzero"`
	// LeaseUnapplied is true while a changed lease is not applied to the interface.
	LeaseUnapplied bool `json:",omitempty"`

	// Limited is true since a bandwidth limit was set, also after it was removed: the kernel is compared.
	Limited bool `json:",omitempty"`

	// Renumbering is true until DNS and ports use the new addresses. Former holds the former ones.
	Renumbering bool
	Former      []netip.Prefix
}

// Gateways returns the next hops of the endpoint's default routes, IPv4 first.
func (e Endpoint) Gateways() []netip.Addr {
	var out []netip.Addr
	for _, gw := range []netip.Addr{e.Gateway4, e.Gateway6} {
		if gw.IsValid() {
			out = append(out, gw)
		}
	}
	return out
}

// Addresses returns the endpoint's current addresses, IPv4 first.
func (e Endpoint) Addresses() []netip.Prefix {
	var out []netip.Prefix
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if p.IsValid() {
			out = append(out, p)
		}
	}
	return out
}

// AllAddresses returns the endpoint's current and former addresses.
func (e Endpoint) AllAddresses() []netip.Prefix { return append(e.Addresses(), e.Former...) }

// addressOf returns the endpoint's address of a family, or zero.
func (e Endpoint) addressOf(ipv6 bool) netip.Prefix {
	if ipv6 {
		return e.IPv6
	}
	return e.IPv4
}

// Replace returns a copy of the endpoints in which the one with the ID of now is replaced.
func Replace(all []Endpoint, now Endpoint) []Endpoint {
	out := slices.Clone(all)
	for i := range out {
		if out[i].ID == now.ID {
			out[i] = now
		}
	}
	return out
}

// Bandwidth returns the limit that applies: of the container, the network or the configuration, in this order.
func (e Endpoint) Bandwidth() bandwidth.Limit {
	return e.Spec.Bandwidth.Or(e.Limits.Bandwidth).Or(e.DefaultLimits.Bandwidth)
}

// IsLimited reports whether the kernel has a bandwidth limit for the endpoint, or can still have one.
func (e Endpoint) IsLimited() bool { return e.Limited || e.Bandwidth().IsLimited() }

// WithLimits returns the endpoint with the limits of its network. Changed ones start a renumbering, which updates the
// firewall.
func (e Endpoint) WithLimits(n network.Network) Endpoint {
	if e.Limits != n.Spec.Limits {
		e.Limited = e.IsLimited()
		e.Limits, e.Renumbering = n.Spec.Limits, true
	}
	return e
}

// CheckBandwidth returns an error if the driver of the network does not enforce the limit that applies.
func (e Endpoint) CheckBandwidth() error {
	if !e.Bandwidth().IsLimited() || network.CanLimit(e.Driver) {
		return nil
	}
	subject := "network " + e.NetworkName
	if e.Spec.Bandwidth.IsGiven() {
		return fault.New(fault.Invalid, subject, "option bandwidth is not supported by driver "+e.Driver,
			fault.WithField("bandwidth"), fault.WithHint("use a bridge network"))
	}
	return fault.New(fault.Invalid, subject, "default-bandwidth of the configuration is not supported by driver "+
		e.Driver, fault.WithField("bandwidth"),
		fault.WithHint("use a bridge network, or lift the limit: fairlead network update --bandwidth none %s",
			e.NetworkName))
}

// WithoutRoutes returns the endpoint without gateways and routes.
func (e Endpoint) WithoutRoutes() Endpoint {
	e.Gateway4, e.Gateway6, e.Routes = netip.Addr{}, netip.Addr{}, nil
	return e
}

// WithLeases returns the endpoint with the given leases and their addresses. Nil: no lease.
func (e Endpoint) WithLeases(four, six *lease.Terms) Endpoint {
	e.Lease4, e.Lease6 = four, six
	e.IPv4, e.IPv6 = netip.Prefix{}, netip.Prefix{}
	if four != nil {
		e.IPv4 = four.Address
	}
	if six != nil {
		e.IPv6 = six.Address
	}
	return e
}

// Leases returns the endpoint's leases, IPv4 first.
func (e Endpoint) Leases() []lease.Terms {
	var out []lease.Terms
	for _, t := range []*lease.Terms{e.Lease4, e.Lease6} {
		if t != nil {
			out = append(out, *t)
		}
	}
	return out
}

// MTU returns the lowest MTU that the leases announce; 0 if they announce none.
func (e Endpoint) MTU() int {
	lowest := 0
	for _, t := range e.Leases() {
		if t.MTU > 0 && (lowest == 0 || t.MTU < lowest) {
			lowest = t.MTU
		}
	}
	return lowest
}

// Search returns the valid search domains of the leases.
func (e Endpoint) Search() []string {
	var domains []string
	for _, t := range e.Leases() {
		domains = append(domains, t.Search...)
	}
	return lease.FilterSearch(domains)
}

// NameServers returns the endpoint's name servers: those of the network, or else those of its
// leases.
func (e Endpoint) NameServers(n network.Network) []netip.Addr {
	if len(n.Spec.DNS) > 0 {
		return n.Spec.DNS
	}
	var out []netip.Addr
	for _, t := range e.Leases() {
		out = append(out, t.Servers...)
	}
	return out
}
