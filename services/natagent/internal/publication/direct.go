package publication

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/port"
)

// ownOf reports whether the container's network is routed for the given family, and returns the
// container's address in it.
func (p *Publication) ownOf(family netip.Addr) (routed bool, at netip.Addr) {
	if family.Is6() {
		return p.Routed6 && p.IPv6.IsValid(), p.IPv6
	}
	return p.Routed4 && p.IPv4.IsValid(), p.IPv4
}

// isOwn reports whether ip is the container's own address on a routed network.
func (p *Publication) isOwn(ip netip.Addr) bool {
	routed, at := p.ownOf(ip)
	return routed && ip == at
}

// hostAll returns the address that publishes on all host addresses of a family. On a routed network
// it is the container's own address.
func (p *Publication) hostAll(unspecified netip.Addr) netip.Addr {
	if routed, at := p.ownOf(unspecified); routed {
		return at
	}
	return unspecified
}

// directRequests returns the requests of m at the container's own addresses. The host ports of m
// are ignored there.
func directRequests(m port.Mapping, own []netip.Addr) (requests []PortRequest) {
	for _, ip := range own {
		w := PortRequest{Mapping: m, Protocol: m.Protocol, HostIPs: []netip.Addr{ip}, Sources: m.Sources, Direct: true}
		if m.Container.Len() >= MinRangeLen {
			w.Host, w.ContainerPort, w.Range = m.Container, m.Container.First, true
			requests = append(requests, w)
			continue
		}
		for i := range m.Container.Len() {
			w.ContainerPort = m.Container.First + uint16(i)
			w.Host = port.Single(w.ContainerPort)
			requests = append(requests, w)
		}
	}

	return requests
}

// withoutCovered removes requests for direct access that another request includes. Two host ports
// of one container port are a single port at the container's own address.
func withoutCovered(direct []PortRequest) ([]PortRequest, error) {
	slices.SortStableFunc(direct, func(a, b PortRequest) int { return cmp.Compare(b.Host.Len(), a.Host.Len()) })
	var out []PortRequest
next:
	for _, w := range direct {
		for _, o := range out {
			switch {
			case !w.conflictsWith(o):
			case o.Host.Contains(w.Host) && o.Sources == w.Sources:
				continue next
			default:
				return nil, invalid(w.Mapping, "container port %d/%s is published twice, also by %s",
					max(w.Host.First, o.Host.First), w.Protocol, o.Mapping)
			}
		}
		out = append(out, w)
	}

	return out, nil
}

// WithDirect returns the bindings, plus bindings for direct access to their container ports.
// Clients with a route to the container network use the latter. Bindings on loopback serve the host
// only and add none; neither do published addresses.
func (p *Publication) WithDirect() []port.Binding {
	type at struct {
		proto port.Protocol
		ip    netip.Addr
	}

	var order []at
	byTarget := map[at][]port.Binding{}
	for _, b := range p.Bindings {
		if b.Direct() || b.IsAddress() || b.HostIP.IsLoopback() {
			continue
		}
		k := at{b.Protocol, b.ContainerIP}
		if byTarget[k] == nil {
			order = append(order, k)
		}
		byTarget[k] = append(byTarget[k], b)
	}

	out := slices.Clone(p.Bindings)
	for _, k := range order {
		out = append(out, distinctPorts(byTarget[k])...)
	}

	return out
}

// distinctPorts returns bindings for direct access to the container ports of the given bindings,
// without duplicates. The bindings must have one protocol and container address. A port that
// several bindings cover accepts the allowed sources of all of them.
func distinctPorts(bindings []port.Binding) (out []port.Binding) {
	var edges []int // first ports of ranges, and ports after their ends
	for _, b := range bindings {
		edges = append(edges, int(b.Container.First), int(b.Container.Last)+1)
	}

	slices.Sort(edges)
	edges = slices.Compact(edges)
	for i, first := range edges[:len(edges)-1] {
		ports := port.Range{First: uint16(first), Last: uint16(edges[i+1] - 1)}
		var own port.Binding
		for _, b := range bindings {
			switch {
			case !b.Container.Contains(ports):
			case own.Protocol == "":
				own = directBinding(b, ports)
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

// directBinding returns a binding for direct access to container ports of b.
func directBinding(b port.Binding, ports port.Range) port.Binding {
	return port.Binding{Protocol: b.Protocol, HostIP: b.ContainerIP, Host: ports, ContainerIP: b.ContainerIP,
		Container: ports, OwnerName: b.OwnerName, Sources: b.Sources}
}
