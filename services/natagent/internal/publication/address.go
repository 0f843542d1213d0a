package publication

import (
	"net/netip"

	"github.com/fairlead/fairlead/agent/sources"
	"github.com/fairlead/fairlead/proto/fault"
)

// Address requests a published address: all protocols and ports of a host IP.
type Address struct {
	HostIP  string
	NoSNAT  bool        // egress keeps the network's source translation
	Sources sources.Set `json:",omitempty"`
}

func (a Address) invalid(format string, args ...any) error {
	return fault.Invalidf("publish address "+a.HostIP, "publish_address", format, args...)
}

// parse validates the address on its own.
func (a Address) parse() (netip.Addr, error) {
	addr, err := netip.ParseAddr(a.HostIP)
	switch {
	case err != nil || addr.Zone() != "":
		return addr, a.invalid("invalid IP address: %s", a.HostIP)
	case addr.Unmap().IsUnspecified(), addr.IsLoopback(), addr.IsMulticast(), addr.IsLinkLocalUnicast() && addr.Is6():
		return addr, a.invalid("not a usable host address; use -p for loopback or all addresses")
	}
	return addr.Unmap(), nil
}

// addressRequests returns the requests for the published addresses. The first address of each
// family with SNAT is the source of the container's egress.
func addressRequests(p *Publication) ([]PortRequest, error) {
	var out []PortRequest
	hasSNAT := map[bool]bool{}
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
			return nil, a.invalid("the container's gateway mode is routed; connect to %s", at)
		}
		from, ok := a.Sources.ForFamily(ip)
		if !ok {
			return nil, a.invalid("%s", noSource(ip, a.Sources))
		}
		seen[ip] = true
		outgoing := !a.NoSNAT && !hasSNAT[ip.Is6()]
		hasSNAT[ip.Is6()] = hasSNAT[ip.Is6()] || outgoing
		out = append(out, PortRequest{Protocol: All, HostIPs: []netip.Addr{ip}, Outgoing: outgoing, Sources: from})
	}

	return out, nil
}

// noSource returns the message for an address that no allowed source can reach.
func noSource(ip netip.Addr, from sources.Set) string {
	family := "IPv4"
	if ip.Is6() {
		family = "IPv6"
	}
	return "no allowed source (" + string(from) + ") is an " + family + " network"
}
