package egress

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/egress"
)

// group is the rules of one kind with the same ports. The addresses of a group are in sets, so that a
// chain has few rules, however many addresses there are.
type group struct {
	deny     bool
	kind     egress.Kind // Prefix also stands for Domain
	ports    egress.Ports
	prefixes []netip.Prefix // sorted, none within another
	domains  bool           // it has a set of learned addresses
	text     string         // the rules as they are written, for comments
}

// plan returns the groups of a policy: those that deny first.
func plan(p egress.Policy) (groups []group) {
	for _, r := range p {
		kind := r.Kind
		if kind == egress.Domain {
			kind = egress.Prefix
		}
		if kind == egress.DNS {
			continue
		}

		at := slices.IndexFunc(groups, func(g group) bool {
			return g.deny == r.Deny && g.kind == kind && g.ports == r.Ports
		})
		if at < 0 {
			at = len(groups)
			groups = append(groups, group{deny: r.Deny, kind: kind, ports: r.Ports})
		}
		groups[at].add(r)
	}

	slices.SortStableFunc(groups, func(a, b group) int { return order(a) - order(b) })
	for i := range groups {
		groups[i].prefixes = merged(groups[i].prefixes)
	}

	return groups
}

// order returns the position of a group: metadata that is allowed, what is denied, what is allowed.
func order(g group) int {
	switch {
	case g.deny:
		return 1
	case g.kind == egress.Metadata:
		return 0
	}
	return 2
}

func (g *group) add(r egress.Rule) {
	switch r.Kind {
	case egress.Domain:
		g.domains = true
	case egress.Prefix:
		g.prefixes = append(g.prefixes, r.Prefix)
	}
	if g.text != "" {
		g.text += ","
	}
	g.text += r.String()
}

// merged returns sorted prefixes without those within another.
func merged(all []netip.Prefix) (out []netip.Prefix) {
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	for _, p := range sorted {
		if n := len(out); n > 0 && out[n-1].Overlaps(p) {
			continue
		}
		out = append(out, p)
	}
	return out
}

// groupOf returns the index of the group of a domain rule.
func groupOf(groups []group, r egress.Rule) int {
	return slices.IndexFunc(groups, func(g group) bool {
		return g.kind == egress.Prefix && g.deny == r.Deny && g.ports == r.Ports
	})
}

// denies reports whether a policy denies a connection to an address. learned reports whether an
// address was answered for a domain of a group. It decides as the rules in the kernel do.
func denies(p egress.Policy, to destination, learned func(group int, a netip.Addr) bool) bool {
	if !p.Restricts() {
		return false
	}

	groups := plan(p)
	isMetadata := slices.ContainsFunc(egress.MetadataAddresses(),
		func(m netip.Prefix) bool { return m.Contains(to.addr) })
	if slices.ContainsFunc(groups, func(g group) bool { return order(g) == 0 && isMetadata && g.hasPort(to) }) {
		return false
	}
	if isMetadata && !allowsMetadata(p) || p.HasDomains() && to.isDNS() {
		return true
	}

	for i, g := range groups {
		if g.hasPort(to) && g.hasAddress(to, i, learned) {
			return g.deny
		}
	}

	return true
}

// allowsMetadata reports whether metadata services are not denied by themselves.
func allowsMetadata(p egress.Policy) bool {
	return slices.ContainsFunc(p, func(r egress.Rule) bool {
		return !r.Deny && (r.Kind == egress.All || r.Kind == egress.Observe)
	})
}

// destination is the destination of a connection after DNAT.
type destination struct {
	addr     netip.Addr
	protocol uint8
	port     uint16
	local    bool // to the host itself
}

func (d destination) isDNS() bool {
	return (d.protocol == protoTCP || d.protocol == protoUDP) && slices.Contains(dnsPorts(), d.port)
}

// dnsPorts returns the ports of name servers.
func dnsPorts() []uint16 { return []uint16{53, 853} }

func (g group) hasPort(d destination) bool {
	for _, p := range g.protocols(d.addr.Is6()) {
		if p.number == 0 || p.number == d.protocol &&
			(g.ports.First == 0 || g.ports.First <= d.port && d.port <= g.ports.Last) {
			return true
		}
	}
	return false
}

func (g group) hasAddress(d destination, index int, learned func(int, netip.Addr) bool) bool {
	in := func(p netip.Prefix) bool { return p.Contains(d.addr) }
	private := slices.ContainsFunc(egress.PrivateRanges(), in)
	switch g.kind {
	case egress.All, egress.Observe:
		return true
	case egress.Host:
		return d.local
	case egress.Metadata:
		return slices.ContainsFunc(egress.MetadataAddresses(), in)
	case egress.LAN:
		return !d.local && private
	case egress.Internet:
		return !d.local && !private && !slices.ContainsFunc(egress.SpecialRanges(), in)
	}
	return slices.ContainsFunc(g.prefixes, in) || g.domains && learned(index, d.addr)
}

// protocol is an IP protocol number; 0 stands for all.
type protocol struct{ number uint8 }

// Protocol numbers.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
	protoSCTP   = 132
)

// protocols returns the protocols of a group.
func (g group) protocols(v6 bool) []protocol {
	switch g.ports.Protocol {
	case egress.TCP:
		return []protocol{{protoTCP}}
	case egress.UDP:
		return []protocol{{protoUDP}}
	case egress.SCTP:
		return []protocol{{protoSCTP}}
	case egress.ICMP:
		if v6 {
			return []protocol{{protoICMPv6}}
		}
		return []protocol{{protoICMP}}
	}
	if g.ports.First != 0 {
		return []protocol{{protoTCP}, {protoUDP}}
	}
	return []protocol{{}}
}

// setName returns the name of a set of a container. generation makes the names of a new policy differ
// from those it replaces.
func setName(short string, generation uint64, group int, learned, v6 bool) string {
	kind, family := "static", 4
	if learned {
		kind = "names"
	}
	if v6 {
		family = 6
	}
	return fmt.Sprintf("%s_%d_%s%d_%d", short, generation, kind, group, family)
}
