package network

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/agent/id"
)

// Mode says what network namespace a container gets.
type Mode string

// The modes.
const (
	Private Mode = "private" // its own: lo, and one interface an endpoint
	Host    Mode = "host"    // the host's
)

// Request asks for a sandbox.
type Request struct {
	Owner    string
	Mode     Mode
	Networks []string // references, one for each interface
}

// Validate tells what is wrong with a request without looking at anything else.
func (r Request) Validate() error {
	if err := ValidateOwner(r.Owner); err != nil {
		return err
	}
	subject := "sandbox of " + id.Short(r.Owner)
	switch r.Mode {
	case Host:
		if len(r.Networks) > 0 {
			return fault.Invalidf(subject, "endpoints", "the host's namespace takes no endpoints, but %d were given", len(r.Networks))
		}
	case Private:
		for _, ref := range r.Networks {
			if ref == "" {
				return fault.Invalidf(subject, "endpoints", "an endpoint names no network")
			}
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
}

// On tells whether the sandbox is plugged into exactly these networks, in this order, in this mode.
func (s Sandbox) On(mode Mode, networkIDs []string) bool {
	return s.Mode == mode && slices.EqualFunc(s.Endpoints, networkIDs, func(e Endpoint, id string) bool { return e.NetworkID == id })
}

// Endpoint is one attachment of a sandbox to a network.
type Endpoint struct {
	ID            string
	NetworkID     string
	NetworkName   string
	Interface     string // inside: eth0
	HostInterface string // outside: veth1c0ffee
	Bridge        string
	MAC           net.HardwareAddr
	IPv4          netip.Prefix // not valid without IPv4
	IPv6          netip.Prefix
	Gateway4      netip.Addr // not valid without a default route
	Gateway6      netip.Addr
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
