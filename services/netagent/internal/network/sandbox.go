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

// Mode selects the network namespace of a container.
type Mode string

// The namespace modes.
const (
	Private Mode = "private" // a namespace of its own, with lo and one interface per endpoint
	Host    Mode = "host"    // the host's namespace
)

// ReleaseKeep selects the resources that a release keeps.
type ReleaseKeep struct {
	Namespace bool // with lo only, for containers that share it
	Addresses bool // static addresses, as reservations of the owner
}

// Request is a request for a sandbox.
type Request struct {
	Owner     string
	OwnerName string // for messages; may be empty
	Mode      Mode
	Endpoints []EndpointSpec // one per interface, in the order of their numbers
}

// EndpointSpec is a request for an endpoint. Zero and empty fields were not given.
type EndpointSpec struct {
	Network   string // a name or id
	IPv4      netip.Addr
	IPv6      netip.Addr
	MAC       string // in the format of net.HardwareAddr
	Interface string // name in the container
	Priority  int    // gateway priority: the highest has the default route

	LinkLocal []netip.Addr `json:",omitempty"` // link-local addresses in addition to IPv4 and IPv6
	Sysctls   []string     `json:",omitempty"` // of the interface, see sysctlForm

	Allowed []netip.Prefix `json:",omitempty"` // source addresses in addition to its own
}

// Equal reports whether two requests are equal.
func (s EndpointSpec) Equal(other EndpointSpec) bool { return reflect.DeepEqual(s, other) }

// HasStaticAddress reports whether the request has a static address.
func (s EndpointSpec) HasStaticAddress() bool { return s.IPv4.IsValid() || s.IPv6.IsValid() }

// On returns the request with the network's id instead of a reference, for comparison.
func (s EndpointSpec) On(networkID string) EndpointSpec {
	s.Network = networkID
	return s
}

// Validate checks the request without access to the store or the kernel.
func (s EndpointSpec) Validate(subject string) error {
	switch {
	case s.Network == "":
		return fault.Invalidf(subject, "endpoints", "an endpoint has no network")
	case s.IPv4.IsValid() && !s.IPv4.Is4():
		return fault.Invalidf(subject, "ip", "invalid IPv4 address: %s", s.IPv4)
	case s.IPv6.IsValid() && (!s.IPv6.Is6() || s.IPv6.Is4In6() || s.IPv6.Zone() != "" || s.IPv6.IsLinkLocalUnicast()):
		return fault.Invalidf(subject, "ip6", "invalid IPv6 address: %s", s.IPv6)
	case s.Interface != "" && (!validLinkName(s.Interface) || s.Interface == "lo"):
		return fault.Invalidf(subject, "interface",
			"%q is not a valid interface name: 1 to %d characters, no spaces, slashes or colons, not lo",
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
		return fault.Invalidf(subject, "mac-address", "%s is not a unicast MAC address", s.MAC)
	}

	return nil
}

// Validate checks the request without access to the store or the kernel.
func (r Request) Validate() error {
	if err := ValidateOwner(r.Owner); err != nil {
		return err
	}

	subject := "sandbox of " + id.Short(r.Owner)
	switch r.Mode {
	case Host:
		if len(r.Endpoints) > 0 {
			return fault.Invalidf(subject, "endpoints", "mode host does not allow endpoints, got %d", len(r.Endpoints))
		}
	case Private:
		names := map[string]bool{}
		for _, e := range r.Endpoints {
			if err := e.Validate(subject); err != nil {
				return err
			}
			if e.Interface != "" && names[e.Interface] {
				return fault.Invalidf(subject, "interface", "interface name %s is used twice", e.Interface)
			}
			names[e.Interface] = true
		}
	default:
		return fault.Invalidf(subject, "mode", "mode must be private or host")
	}

	return nil
}

// ValidateOwner returns an error if s is not a valid owner.
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

// Sandbox is a container's network namespace with its endpoints.
type Sandbox struct {
	Owner     string
	Mode      Mode
	NetnsPath string // empty in mode host
	Endpoints []Endpoint
	CreatedAt time.Time
	OwnerName string // for messages; may be empty
	NetnsOnly bool   // released except for the namespace, which other containers share
}

// Matches reports whether the sandbox fulfills a request. The specs must have network ids.
func (s Sandbox) Matches(mode Mode, specs []EndpointSpec) bool {
	return s.Mode == mode && slices.EqualFunc(s.Endpoints, specs, func(e Endpoint, want EndpointSpec) bool {
		return e.Spec.Equal(want)
	})
}

// Interfaces returns the set of interface names.
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
	Driver        string // of the network
	Interface     string // container end, such as eth0
	HostInterface string // host end, such as veth1c0ffee
	Bridge        string
	MAC           net.HardwareAddr
	IPv4          netip.Prefix // zero: none
	IPv6          netip.Prefix
	Gateway4      netip.Addr // zero: no default route
	Gateway6      netip.Addr
	HostBinding   netip.Addr   // of the network; zero: all addresses
	Internal      bool         // of the network
	Spec          EndpointSpec // the request, with the network's id

	Lease4 *lease.Terms `json:",omitempty"` // on DHCP networks; nil: not acquired
	Lease6 *lease.Terms `json:",omitempty"`

	DNS    []netip.Addr  // of the network
	Routes []lease.Route `json:",omitempty"` // from the leases, in addition to the default route
	// LeaseUnapplied is true while a changed lease is not applied to the interface.
	LeaseUnapplied bool `json:",omitempty"`

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

// DisplayName returns the container's name in messages.
func (s Sandbox) DisplayName() string {
	if s.OwnerName != "" {
		return s.OwnerName
	}
	return id.Short(s.Owner)
}

// Subject returns the name of the sandbox in faults.
func (s Sandbox) Subject() string { return SandboxSubject(s.Owner) }

// SandboxSubject returns the name of an owner's sandbox in faults.
func SandboxSubject(owner string) string { return "sandbox of " + id.Short(owner) }

// EndpointOn returns the endpoint on a network. ok is false if there is none.
func (s Sandbox) EndpointOn(networkID string) (e Endpoint, ok bool) {
	i := slices.IndexFunc(s.Endpoints, func(e Endpoint) bool { return e.NetworkID == networkID })
	if i < 0 {
		return Endpoint{}, false
	}
	return s.Endpoints[i], true
}

// NetworkIDs returns the IDs of the endpoints' networks.
func (s Sandbox) NetworkIDs() []string {
	var out []string
	for _, e := range s.Endpoints {
		out = append(out, e.NetworkID)
	}
	return out
}

// ReplaceEndpoint returns a copy of the endpoints in which the one with the ID of now is replaced.
func ReplaceEndpoint(all []Endpoint, now Endpoint) []Endpoint {
	out := slices.Clone(all)
	for i := range out {
		if out[i].ID == now.ID {
			out[i] = now
		}
	}
	return out
}

// WithoutRoutes returns the endpoint without gateways and routes.
func (e Endpoint) WithoutRoutes() Endpoint {
	e.Gateway4, e.Gateway6, e.Routes = netip.Addr{}, netip.Addr{}, nil
	return e
}
