package endpoint

import (
	"net"
	"net/netip"
	"reflect"

	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Request is a request for a sandbox.
type Request struct {
	Owner     string
	OwnerName string // for messages; may be empty
	Mode      Mode
	External  string // path of the namespace of another program; empty: a new one
	Endpoints []Spec // one per interface, in the order of their numbers
}

// Spec is a request for an endpoint. Zero and empty fields were not given.
type Spec struct {
	Network   string // a name or id
	IPv4      netip.Addr
	IPv6      netip.Addr
	MAC       string // in the format of net.HardwareAddr
	Interface string // name in the container
	Priority  int    // gateway priority: the highest has the default route

	LinkLocal []netip.Addr `json:",omitempty"` // link-local addresses in addition to IPv4 and IPv6
	Sysctls   []string     `json:",omitempty"` // of the interface, see sysctlForm

	Allowed []netip.Prefix `json:",omitempty"` // source addresses in addition to its own

	Labels map[string]string `json:",omitempty"` // of the client

	Bandwidth bandwidth.Limit `json:",omitzero"`
}

// maxLabels is the total length of an endpoint's labels in bytes.
const maxLabels = 4096

// Equal reports whether two requests are equal.
func (s Spec) Equal(other Spec) bool { return reflect.DeepEqual(s, other) }

// HasStaticAddress reports whether the request has a static address.
func (s Spec) HasStaticAddress() bool { return s.IPv4.IsValid() || s.IPv6.IsValid() }

// On returns the request with the network's id instead of a reference, for comparison.
func (s Spec) On(networkID string) Spec {
	s.Network = networkID
	return s
}

// Validate checks the request without access to the store or the kernel.
func (s Spec) Validate(subject string) error {
	switch {
	case s.Network == "":
		return fault.Invalidf(subject, "endpoints", "an endpoint has no network")
	case s.IPv4.IsValid() && !s.IPv4.Is4():
		return fault.Invalidf(subject, "ip", "invalid IPv4 address: %s", s.IPv4)
	case s.IPv6.IsValid() && (!s.IPv6.Is6() || s.IPv6.Is4In6() || s.IPv6.Zone() != "" || s.IPv6.IsLinkLocalUnicast()):
		return fault.Invalidf(subject, "ip6", "invalid IPv6 address: %s", s.IPv6)
	case s.labelBytes() > maxLabels:
		return fault.Invalidf(subject, "labels", "labels have %d bytes, more than %d", s.labelBytes(), maxLabels)
	case s.Interface != "" && (!network.ValidLinkName(s.Interface) || s.Interface == "lo"):
		return fault.Invalidf(subject, "interface",
			"%q is not a valid interface name: 1 to %d characters, no spaces, slashes or colons, not lo",
			s.Interface, network.MaxLinkLen)
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

	if err := s.Bandwidth.Validate(); err != nil {
		return fault.Invalidf(subject, "bandwidth", "%s", err)
	}

	return s.validateMAC(subject)
}

func (s Spec) labelBytes() (sum int) {
	for key, value := range s.Labels {
		sum += len(key) + len(value)
	}
	return sum
}

func (s Spec) validateMAC(subject string) error {
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
		return fault.Invalidf("owner "+network.Quote(s), "owner", "must be %d lower-case hexadecimal digits", id.Len)
	}
	return nil
}
