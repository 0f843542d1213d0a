package network

import (
	"net"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
)

// Mode says what network namespace a container gets.
type Mode string

// The modes.
const (
	Private Mode = "private" // its own: lo, and one interface an endpoint
	Host    Mode = "host"    // the host's
)

// ReleaseKeep is what a release leaves.
type ReleaseKeep struct {
	Namespace bool // with lo only, for those who share it
	Addresses bool // those that were asked for by number, for the owner
}

// Request asks for a sandbox.
type Request struct {
	Owner     string
	OwnerName string // for messages; may be empty
	Mode      Mode
	Endpoints []EndpointSpec // one for each interface, in the order of their numbers
}

// EndpointSpec asks for one interface. What is not valid, or empty, was not given.
type EndpointSpec struct {
	Network   string // a reference
	IPv4      netip.Addr
	IPv6      netip.Addr
	MAC       string // as net.HardwareAddr writes it
	Interface string // the name inside
	Priority  int    // of several the highest has the default route

	LinkLocal []netip.Addr `json:",omitempty"` // further addresses
	Sysctls   []string     `json:",omitempty"` // of the interface, as sysctlForm

	Allowed []netip.Prefix `json:",omitempty"` // addresses that it may send from, beside its own
}

// Equal tells whether two requests are the same.
func (s EndpointSpec) Equal(other EndpointSpec) bool { return reflect.DeepEqual(s, other) }

// HasStaticAddress tells whether an address was asked for by number.
func (s EndpointSpec) HasStaticAddress() bool { return s.IPv4.IsValid() || s.IPv6.IsValid() }

// On gives the same request with the network's id for the reference, so that requests can be compared.
func (s EndpointSpec) On(networkID string) EndpointSpec {
	s.Network = networkID
	return s
}

// Validate tells what is wrong with it by itself.
func (s EndpointSpec) Validate(subject string) error {
	switch {
	case s.Network == "":
		return fault.Invalidf(subject, "endpoints", "an endpoint names no network")
	case s.IPv4.IsValid() && !s.IPv4.Is4():
		return fault.Invalidf(subject, "ip", "invalid IPv4 address: %s", s.IPv4)
	case s.IPv6.IsValid() && (!s.IPv6.Is6() || s.IPv6.Is4In6() || s.IPv6.Zone() != "" || s.IPv6.IsLinkLocalUnicast()):
		return fault.Invalidf(subject, "ip6", "invalid IPv6 address: %s", s.IPv6)
	case s.Interface != "" && (!validLinkName(s.Interface) || s.Interface == "lo"):
		return fault.Invalidf(subject, "interface", "%q is no name for an interface: 1 to %d characters, no spaces, slashes or colons, not lo",
			s.Interface, maxLinkLen)
	}
	for _, a := range s.LinkLocal {
		if err := validateLinkLocal(subject, a); err != nil {
			return err
		}
	}
	for _, text := range s.Sysctls {
		if err := validateSysctl(subject, text); err != nil {
			return err
		}
	}
	for _, p := range s.Allowed {
		if !p.IsValid() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			return fault.Invalidf(subject, "allowed-addresses", "invalid subnet %s in allowed-addresses", p)
		}
	}
	return s.validateMAC(subject)
}

func (s EndpointSpec) validateMAC(subject string) error {
	if s.MAC == "" {
		return nil
	}
	mac, err := net.ParseMAC(s.MAC)
	if err != nil || len(mac) != 6 {
		return fault.Invalidf(subject, "mac-address", "%s is not a valid mac address", s.MAC)
	}
	if mac[0]&1 != 0 || mac.String() == "00:00:00:00:00:00" {
		return fault.Invalidf(subject, "mac-address", "%s is not the address of one device: it is a multicast address, or all zeros", s.MAC)
	}
	return nil
}

// Validate tells what is wrong with a request without looking at anything else.
func (r Request) Validate() error {
	if err := ValidateOwner(r.Owner); err != nil {
		return err
	}
	subject := "sandbox of " + id.Short(r.Owner)
	switch r.Mode {
	case Host:
		if len(r.Endpoints) > 0 {
			return fault.Invalidf(subject, "endpoints", "the host's namespace takes no endpoints, but %d were given", len(r.Endpoints))
		}
	case Private:
		names := map[string]bool{}
		for _, e := range r.Endpoints {
			if err := e.Validate(subject); err != nil {
				return err
			}
			if e.Interface != "" && names[e.Interface] {
				return fault.Invalidf(subject, "interface", "two interfaces cannot both be %s", e.Interface)
			}
			names[e.Interface] = true
		}
	default:
		return fault.Invalidf(subject, "mode", "no mode was given; it is private or host")
	}
	return nil
}

// ValidateOwner tells whether s can own a sandbox.
func ValidateOwner(s string) error {
	if !id.Valid(s) {
		return fault.Invalidf("owner "+quoteShort(s), "owner", "must be %d lower-case hexadecimal digits", id.Len)
	}
	return nil
}

func quoteShort(s string) string {
	const most = 80
	if len(s) > most {
		s = s[:most] + "…"
	}
	return `"` + s + `"`
}

// Sandbox is one container's network namespace and what is plugged into it.
type Sandbox struct {
	Owner     string
	Mode      Mode
	NetnsPath string // empty for the host's
	Endpoints []Endpoint
	CreatedAt time.Time
	OwnerName string // for messages; may be empty
	NetnsOnly bool   // released but for its namespace, which others share
}

// Matches tells whether the sandbox is what was asked for. The specs name networks by id.
func (s Sandbox) Matches(mode Mode, specs []EndpointSpec) bool {
	return s.Mode == mode && slices.EqualFunc(s.Endpoints, specs, func(e Endpoint, want EndpointSpec) bool { return e.Spec.Equal(want) })
}

// Interfaces are the names of its interfaces.
func (s Sandbox) Interfaces() map[string]bool {
	out := map[string]bool{}
	for _, e := range s.Endpoints {
		out[e.Interface] = true
	}
	return out
}

// Endpoint is one attachment of a sandbox to a network.
type Endpoint struct {
	ID            string
	NetworkID     string
	NetworkName   string
	Driver        string // the network's
	Interface     string // inside: eth0
	HostInterface string // outside: veth1c0ffee
	Bridge        string
	MAC           net.HardwareAddr
	IPv4          netip.Prefix // not valid without IPv4
	IPv6          netip.Prefix
	Gateway4      netip.Addr // not valid without a default route
	Gateway6      netip.Addr
	HostBinding   netip.Addr   // the network's; not valid means on all
	Internal      bool         // the network is
	Spec          EndpointSpec // what was asked for, the network by its id

	Lease4 *lease.Terms `json:",omitempty"` // where addresses come from the LAN: what it has granted, nil while there is nothing
	Lease6 *lease.Terms `json:",omitempty"`

	DNS    []netip.Addr  // the network's
	Routes []lease.Route `json:",omitempty"` // that the LAN tells, beside the default route
	// LeaseUnapplied is true while its interface is not yet as it is to be after what the LAN grants has changed.
	LeaseUnapplied bool `json:",omitempty"`

	// Renumbering is true while names and ports do not lead to all of its addresses yet, and Former are those that it had before.
	Renumbering bool
	Former      []netip.Prefix
}

// Gateways are where the endpoint's default routes lead, IPv4 first.
func (e Endpoint) Gateways() []netip.Addr {
	var out []netip.Addr
	for _, gw := range []netip.Addr{e.Gateway4, e.Gateway6} {
		if gw.IsValid() {
			out = append(out, gw)
		}
	}
	return out
}

// Addresses are the endpoint's addresses, IPv4 first.
func (e Endpoint) Addresses() []netip.Prefix {
	var out []netip.Prefix
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if p.IsValid() {
			out = append(out, p)
		}
	}
	return out
}

// AllAddresses are the endpoint's addresses, and those that it had before and still holds.
func (e Endpoint) AllAddresses() []netip.Prefix { return append(e.Addresses(), e.Former...) }

// addressOf is the endpoint's address of a family; not valid without one.
func (e Endpoint) addressOf(ipv6 bool) netip.Prefix {
	if ipv6 {
		return e.IPv6
	}
	return e.IPv4
}

// DisplayName is how a sandbox's container is called in messages.
func (s Sandbox) DisplayName() string {
	if s.OwnerName != "" {
		return s.OwnerName
	}
	return id.Short(s.Owner)
}
