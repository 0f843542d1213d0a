package publication

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/agent/sources"
	"github.com/fairlead/fairlead/proto/fault"
)

// MinRangeLen is how many ports a range must have to be led as one run. A shorter one is led port by port, each held by a socket
// as any single port is; for a long one that would cost a socket and a rule for each port.
const MinRangeLen = 64

// PortRequest is one container port and the host ports that would do for it, a run of ports, or a whole address.
type PortRequest struct {
	Mapping       Mapping // where it comes from, for messages
	Protocol      Protocol
	HostIPs       []netip.Addr // one, or one of each family; all get the same port
	First, Last   uint16       // the host ports that will do; both 0: any dynamic one
	ContainerPort uint16
	Range         bool        // all of First to Last, each leads to the container's port of its number
	Outgoing      bool        // see Binding; only of a whole address
	Sources       sources.Set // of all families of HostIPs
	Direct        bool        // the host's address is the container's own; see Binding
}

// Whole tells whether a whole address is wanted.
func (w PortRequest) Whole() bool { return w.Protocol == All }

// Fixed tells whether just one host port, or run of them, will do.
func (w PortRequest) Fixed() bool { return w.Range || w.First != 0 && w.First == w.Last }

// Bindings are what the want comes to when it gets a host port.
func (w PortRequest) Bindings(p *Publication, hostPort uint16) []Binding {
	out := make([]Binding, 0, len(w.HostIPs))
	for _, ip := range w.HostIPs {
		target := p.IPv4
		if ip.Is6() {
			target = p.IPv6
		}
		b := Binding{Protocol: w.Protocol, HostIP: ip, HostPort: hostPort, ContainerIP: target, ContainerPort: w.ContainerPort,
			SNAT: w.Outgoing, OwnerName: p.OwnerName}
		b.Sources, _ = w.Sources.ForFamily(ip) // there are some: else ip were not among HostIPs
		if w.Range {
			b.HostPortEnd = w.Last
		}
		out = append(out, b)
	}
	return out
}

// Resolve checks all that an owner asks for and breaks it down to single container ports. hostIPv6 tells whether the host has
// IPv6 at all. The order is that of the mappings, fixed host ports first, so that no dynamic port takes one of them, and whole
// addresses last, as single ports of them may lead elsewhere in the same container.
func Resolve(p *Publication, hostIPv6 bool) ([]PortRequest, error) {
	if p.IPv4.IsValid() && !p.IPv4.Is4() || p.IPv6.IsValid() && !p.IPv6.Is6() {
		return nil, fault.Invalidf("container "+p.OwnerName, "ipv4_address",
			"IPv4 address %s and IPv6 address %s are not of these families", p.IPv4, p.IPv6)
	}
	var fixed, open, direct []PortRequest
	for _, m := range p.Mappings {
		wants, err := expand(p, m, hostIPv6)
		if err != nil {
			return nil, err
		}
		for _, w := range wants {
			switch {
			case w.Direct:
				direct = append(direct, w)
			case !w.Fixed():
				open = append(open, w)
			default:
				fixed = append(fixed, w)
			}
		}
	}
	fixed, err := withoutTwins(fixed)
	if err != nil {
		return nil, err
	}
	if direct, err = withoutCovered(direct); err != nil {
		return nil, err
	}
	addresses, err := addressRequests(p)
	return slices.Concat(fixed, direct, open, addresses), err
}

func expand(p *Publication, m Mapping, hostIPv6 bool) ([]PortRequest, error) {
	good, err := m.parse()
	if err != nil {
		return nil, err
	}
	ips, err := hostIPs(p, m, good.host, hostIPv6)
	if err != nil {
		return nil, err
	}
	own := slices.DeleteFunc(slices.Clone(ips), func(ip netip.Addr) bool { return !p.isOwn(ip) })
	ips = slices.DeleteFunc(ips, p.isOwn)
	wants := directRequests(m, good.ctrPorts, own)
	if len(ips) == 0 {
		return wants, nil
	}
	if good.ctrPorts.len() == 1 {
		return append(wants, PortRequest{Mapping: m, Protocol: m.Protocol, HostIPs: ips, First: good.hostPorts.first, Last: good.hostPorts.last,
			ContainerPort: good.ctrPorts.first, Sources: m.Sources}), nil
	}
	if good.hostPorts == good.ctrPorts && good.ctrPorts.len() >= MinRangeLen {
		return append(wants, PortRequest{Mapping: m, Protocol: m.Protocol, HostIPs: ips, First: good.hostPorts.first, Last: good.hostPorts.last,
			ContainerPort: good.ctrPorts.first, Range: true, Sources: m.Sources}), nil
	}
	for i := range good.ctrPorts.len() {
		w := PortRequest{Mapping: m, Protocol: m.Protocol, HostIPs: ips, ContainerPort: good.ctrPorts.first + uint16(i), Sources: m.Sources}
		if good.hostPorts.first != 0 {
			w.First = good.hostPorts.first + uint16(i)
			w.Last = w.First
		}
		wants = append(wants, w)
	}
	return wants, nil
}

// hostIPs says on which host addresses a mapping is published: the given one, or all of the families that the container has and that it may
// be reached by.
func hostIPs(p *Publication, m Mapping, given netip.Addr, hostIPv6 bool) ([]netip.Addr, error) {
	if given.IsValid() {
		if routed, at := p.ownOf(given); routed {
			if !given.IsUnspecified() {
				return nil, m.invalid("the container's network is routed, not translated: its ports are open at %s, not at an address of the host; leave that out", at)
			}
			given = at
		}
		if given.Is4() && !p.IPv4.IsValid() {
			return nil, m.invalid("the container has no IPv4 address")
		}
		if given.Is6() && !p.IPv6.IsValid() {
			return nil, m.invalid("the container has no IPv6 address; give its network one with 'fairlead network edit --ipv6 NAME'")
		}
		if _, ok := m.Sources.ForFamily(given); !ok {
			return nil, m.invalid("%s", noSource(given, m.Sources))
		}
		return []netip.Addr{given}, nil
	}
	var ips []netip.Addr
	if p.IPv4.IsValid() {
		ips = append(ips, p.hostAll(netip.IPv4Unspecified()))
	}
	if p.IPv6.IsValid() && (hostIPv6 || p.Routed6) {
		ips = append(ips, p.hostAll(netip.IPv6Unspecified()))
	}
	if len(ips) == 0 {
		return nil, m.invalid("the container has no address that the host can reach it at")
	}
	first := ips[0]
	ips = slices.DeleteFunc(ips, func(ip netip.Addr) bool {
		_, ok := m.Sources.ForFamily(ip)
		return !ok
	})
	if len(ips) == 0 {
		return nil, m.invalid("%s", noSource(first, m.Sources))
	}
	return ips, nil
}

// withoutTwins drops wants that say the same twice, and refuses those that want one host port for two things.
func withoutTwins(fixed []PortRequest) ([]PortRequest, error) {
	type key struct {
		proto Protocol
		port  uint16
	}
	seen := map[key][]PortRequest{}
	var runs []PortRequest
	out := fixed[:0:0]
next:
	for _, w := range fixed {
		k := key{w.Protocol, w.First}
		others := slices.Concat(seen[k], runs)
		if w.Range {
			others = out
			runs = append(runs, w)
		}
		for _, o := range others {
			if !w.conflictsWith(o) {
				continue
			}
			if w.same(o) {
				continue next
			}
			return nil, w.Mapping.invalid("host port %d/%s is asked for twice, by %s too", max(w.First, o.First), w.Protocol, o.Mapping)
		}
		seen[k] = append(seen[k], w)
		out = append(out, w)
	}
	return out, nil
}

// conflictsWith tells whether two wants with fixed ports want one of them both.
func (w PortRequest) conflictsWith(o PortRequest) bool {
	return w.Protocol == o.Protocol && w.First <= o.Last && o.First <= w.Last && anyOverlap(w.HostIPs, o.HostIPs)
}

// same tells whether two wants say the same.
func (w PortRequest) same(o PortRequest) bool {
	return w.First == o.First && w.Last == o.Last && w.ContainerPort == o.ContainerPort && w.HostIPs[0] == o.HostIPs[0] &&
		len(w.HostIPs) == len(o.HostIPs) && w.Sources == o.Sources
}

func anyOverlap(a, b []netip.Addr) bool {
	for _, x := range a {
		for _, y := range b {
			if Overlap(x, y) {
				return true
			}
		}
	}
	return false
}
