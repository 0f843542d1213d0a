package policy

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/egress"
)

// point is a protocol with a port. Port 0 is for protocols without ports, an empty protocol for those that
// no rule can name.
type point struct {
	protocol egress.Protocol
	port     uint16
}

// String returns a point as text: "tcp port 22".
func (p point) String() string {
	switch {
	case p.port != 0:
		return fmt.Sprintf("%s port %d", p.protocol, p.port)
	case p.protocol == "":
		return "other protocols"
	}
	return string(p.protocol)
}

// maxPort is the highest port.
const maxPort = 1<<16 - 1

// points returns points that stand for all of a peer: one for each protocol and part into which the ports
// of rules divide its ports.
func points(rules egress.Policy, peer egress.Ports) (all []point) {
	protocols := []egress.Protocol{egress.TCP, egress.UDP, egress.SCTP, egress.ICMP, ""}
	switch {
	case peer.Protocol != "":
		protocols = []egress.Protocol{peer.Protocol}
	case peer.First != 0:
		protocols = []egress.Protocol{egress.TCP, egress.UDP} // as in rules
	}

	ports := starts(rules, peer)
	for _, p := range protocols {
		if p == egress.ICMP || p == "" {
			all = append(all, point{protocol: p})
			continue
		}
		for _, port := range ports {
			all = append(all, point{p, port})
		}
	}
	return all
}

// starts returns the first port of each part.
func starts(rules egress.Policy, peer egress.Ports) []uint16 {
	first, last := int(max(peer.First, 1)), int(peer.Last)
	if last == 0 {
		last = maxPort
	}
	all := []uint16{uint16(first)}
	add := func(port int) {
		if port > first && port <= last {
			all = append(all, uint16(port))
		}
	}
	for _, port := range append(egress.DNSPorts(), egress.PortTLS) {
		add(int(port))
		add(int(port) + 1)
	}
	for _, r := range rules {
		if r.Ports.First != 0 {
			add(int(r.Ports.First))
			add(int(r.Ports.Last) + 1)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// orOne returns addresses, or another one if there are none.
func orOne(all []netip.Addr, other netip.Addr) []netip.Addr {
	if len(all) == 0 {
		return []netip.Addr{other}
	}
	return all
}

// isMetadata reports whether an address is one of a metadata service.
func isMetadata(a netip.Addr) bool {
	return slices.ContainsFunc(egress.MetadataAddresses(), func(p netip.Prefix) bool { return p.Contains(a) })
}

// lastOf returns the highest address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	bytes := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(bytes); bit++ {
		bytes[bit/8] |= 1 << (7 - bit%8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}
