package publication

import (
	"net/netip"

	"github.com/fairlead/fairlead/agent/sources"
	"github.com/fairlead/fairlead/proto/fault"
)

// Address asks for a whole address of the host: every protocol and port of it.
type Address struct {
	HostIP  string
	NoSNAT  bool        // only what comes in; what the container sends out leaves as the network has it
	Sources sources.Set `json:",omitempty"`
}

func (a Address) invalid(format string, args ...any) error {
	return fault.Invalidf("publish address "+a.HostIP, "publish_address", format, args...)
}

// parse checks an address by itself.
func (a Address) parse() (netip.Addr, error) {
	addr, err := netip.ParseAddr(a.HostIP)
	switch {
	case err != nil || addr.Zone() != "":
		return addr, a.invalid("invalid IP address: %s", a.HostIP)
	case addr.Unmap().IsUnspecified(), addr.IsLoopback(), addr.IsMulticast(), addr.IsLinkLocalUnicast() && addr.Is6():
		return addr, a.invalid("a whole address must be one that others reach this host at; to publish on all addresses, or on the loopback, name ports with -p")
	}
	return addr.Unmap(), nil
}

// addressRequests are the addresses that an owner asks for. Its outgoing traffic leaves as the first of each family.
func addressRequests(p *Publication) ([]PortRequest, error) {
	var out []PortRequest
	leaves := map[bool]bool{}
	seen := map[netip.Addr]bool{}
	for _, a := range p.Addresses {
		ip, err := a.parse()
		switch {
		case err != nil:
			return nil, err
		case seen[ip]:
			continue
		case ip.Is4() && !p.IPv4.IsValid():
			return nil, a.invalid("the container has no IPv4 address")
		case ip.Is6() && !p.IPv6.IsValid():
			return nil, a.invalid("the container has no IPv6 address")
		}
		if routed, at := p.ownOf(ip); routed {
			return nil, a.invalid("the container's network is routed, not translated: it is reached at %s, never at an address of the host", at)
		}
		from, ok := a.Sources.ForFamily(ip)
		if !ok {
			return nil, a.invalid("%s", noSource(ip, a.Sources))
		}
		seen[ip] = true
		outgoing := !a.NoSNAT && !leaves[ip.Is6()]
		leaves[ip.Is6()] = leaves[ip.Is6()] || outgoing
		out = append(out, PortRequest{Protocol: All, HostIPs: []netip.Addr{ip}, Outgoing: outgoing, Sources: from})
	}
	return out, nil
}

// noSource says that nobody could reach what is published on an address.
func noSource(ip netip.Addr, from sources.Set) string {
	family := "IPv4"
	if ip.Is6() {
		family = "IPv6"
	}
	return "nobody could reach it: it is published on " + family + ", and none of its sources is (" + string(from) + ")"
}
