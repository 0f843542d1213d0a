package publication

import (
	"net/netip"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
)

// invalidAddress returns the fault for a published address.
func invalidAddress(a port.Address, format string, args ...any) error {
	return fault.Invalidf("publish address "+a.HostIP.String(), "publish_address", format, args...)
}

// addressRequests returns the requests for the published addresses. The first address of each
// family with SNAT is the source of the container's egress.
func addressRequests(p *Publication) ([]PortRequest, error) {
	var out []PortRequest
	hasSNAT := map[bool]bool{}
	seen := map[netip.Addr]bool{}
	for _, a := range p.Addresses {
		ip, err := a.HostIP, a.Validate()
		switch {
		case err != nil:
			return nil, invalidAddress(a, "%s", err)
		case seen[ip]:
			continue
		case ip.Is4() && !p.IPv4.IsValid():
			return nil, invalidAddress(a, "the container has no IPv4 address")
		case ip.Is6() && !p.IPv6.IsValid():
			return nil, invalidAddress(a, "the container has no IPv6 address")
		}
		if routed, at := p.ownOf(ip); routed {
			return nil, invalidAddress(a, "the container's gateway mode is routed; connect to %s", at)
		}
		from, ok := a.Sources.ForFamily(ip)
		if !ok {
			return nil, invalidAddress(a, "%s", noSource(ip, a.Sources))
		}
		seen[ip] = true
		snat := !a.NoSNAT && !hasSNAT[ip.Is6()]
		hasSNAT[ip.Is6()] = hasSNAT[ip.Is6()] || snat
		out = append(out, PortRequest{Protocol: port.All, HostIPs: []netip.Addr{ip}, SNAT: snat, Sources: from})
	}

	return out, nil
}

// noSource returns the message for an address that no allowed source can reach.
func noSource(ip netip.Addr, from port.Sources) string {
	family := "IPv4"
	if ip.Is6() {
		family = "IPv6"
	}
	return "no allowed source (" + string(from) + ") is an " + family + " network"
}
