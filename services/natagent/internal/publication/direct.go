package publication

import (
	"cmp"
	"net/netip"
	"slices"
)

// ownOf tells whether the container's network of an address's family is not translated, and the container's own address of it.
func (p *Publication) ownOf(family netip.Addr) (routed bool, at netip.Addr) {
	if family.Is6() {
		return p.Routed6 && p.IPv6.IsValid(), p.IPv6
	}
	return p.Routed4 && p.IPv4.IsValid(), p.IPv4
}

// isOwn tells whether an address is one of the container's own that others connect to.
func (p *Publication) isOwn(ip netip.Addr) bool {
	routed, at := p.ownOf(ip)
	return routed && ip == at
}

// hostAll is where others connect to the container over a family: at all of the host's addresses, or at the container's own.
func (p *Publication) hostAll(unspecified netip.Addr) netip.Addr {
	if routed, at := p.ownOf(unspecified); routed {
		return at
	}
	return unspecified
}

// directRequests are the wants of a mapping at the container's own addresses. What it says of the host's ports means nothing there.
func directRequests(m Mapping, ports span, own []netip.Addr) (wants []PortRequest) {
	for _, ip := range own {
		w := PortRequest{Mapping: m, Protocol: m.Protocol, HostIPs: []netip.Addr{ip}, Sources: m.Sources, Direct: true}
		if ports.len() >= MinRangeLen {
			w.First, w.Last, w.ContainerPort, w.Range = ports.first, ports.last, ports.first, true
			wants = append(wants, w)
			continue
		}
		for i := range ports.len() {
			w.First = ports.first + uint16(i)
			w.Last, w.ContainerPort = w.First, w.First
			wants = append(wants, w)
		}
	}
	return wants
}

// withoutCovered drops wants at the container's own addresses that others say too: two host ports of one container port are one there.
func withoutCovered(direct []PortRequest) ([]PortRequest, error) {
	slices.SortStableFunc(direct, func(a, b PortRequest) int { return cmp.Compare(b.Last-b.First, a.Last-a.First) })
	var out []PortRequest
next:
	for _, w := range direct {
		for _, o := range out {
			switch {
			case !w.conflictsWith(o):
			case o.First <= w.First && w.Last <= o.Last && o.Sources == w.Sources:
				continue next
			default:
				return nil, w.Mapping.invalid("port %d/%s of the container is opened twice, by %s too", max(w.First, o.First), w.Protocol, o.Mapping)
			}
		}
		out = append(out, w)
	}
	return out, nil
}

// WithDirect are the bindings, and those of the ports that they lead to as the container's own, for machines that have a route there. What
// is published on the host's loopback is for the host itself, and a whole address names no port.
func (p *Publication) WithDirect() []Binding {
	type at struct {
		proto Protocol
		ip    netip.Addr
	}
	var order []at
	led := map[at][]Binding{}
	for _, b := range p.Bindings {
		if b.Direct() || b.IsAddress() || b.HostIP.IsLoopback() {
			continue
		}
		k := at{b.Protocol, b.ContainerIP}
		if led[k] == nil {
			order = append(order, k)
		}
		led[k] = append(led[k], b)
	}
	out := slices.Clone(p.Bindings)
	for _, k := range order {
		out = append(out, distinctPorts(led[k])...)
	}
	return out
}

// lastContainerPort is the last port that a binding leads to.
func (b Binding) lastContainerPort() int { return int(b.ContainerPort) + int(b.LastPort()-b.HostPort) }

// distinctPorts are the ports of a container that some bindings of one protocol lead to, as its own, none of them twice: one to which several
// lead may be reached by whoever may reach any of those.
func distinctPorts(led []Binding) (out []Binding) {
	var edges []int // where something begins, or has ended
	for _, b := range led {
		edges = append(edges, int(b.ContainerPort), b.lastContainerPort()+1)
	}
	slices.Sort(edges)
	edges = slices.Compact(edges)
	for i, first := range edges[:len(edges)-1] {
		last := edges[i+1] - 1
		var own Binding
		for _, b := range led {
			switch {
			case first < int(b.ContainerPort) || b.lastContainerPort() < last:
			case own.Protocol == "":
				own = b.at(uint16(first), uint16(last))
			default:
				own.Sources = own.Sources.Union(b.Sources)
			}
		}
		if own.Protocol != "" {
			out = append(out, own)
		}
	}
	return out
}

// at is a binding of some ports that a binding leads to, as the container's own.
func (b Binding) at(first, last uint16) Binding {
	own := Binding{Protocol: b.Protocol, HostIP: b.ContainerIP, HostPort: first, ContainerIP: b.ContainerIP, ContainerPort: first,
		OwnerName: b.OwnerName, Sources: b.Sources}
	if last > first {
		own.HostPortEnd = last
	}
	return own
}
