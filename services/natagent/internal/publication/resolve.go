package publication

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
)

// MinRangeLen is the minimum length of a range that is published as one binding. A shorter range is
// published port by port, each with a port socket. For a long range, the sockets and rules would
// cost too much memory.
const MinRangeLen = 64

// PortRequest requests host ports for one container port, a port range, or a published address.
type PortRequest struct {
	Mapping       port.Mapping // its origin, for messages
	Protocol      port.Protocol
	HostIPs       []netip.Addr // one, or one of each family with the same port
	Host          port.Range   // acceptable host ports; zero: an ephemeral port
	ContainerPort uint16
	Range         bool         // publish all of Host, with equal container ports
	SNAT          bool         // Binding.SNAT; published addresses only
	Sources       port.Sources // for all families of HostIPs
	Direct        bool         // the host address is the container's own; see port.Binding
}

// Whole reports whether a published address is requested.
func (w PortRequest) Whole() bool { return w.Protocol == port.All }

// Fixed reports whether exactly one host port or range is acceptable.
func (w PortRequest) Fixed() bool { return w.Range || w.Host.Len() == 1 }

// Bindings returns the bindings of the request once hostPort is allocated.
func (w PortRequest) Bindings(p *Publication, hostPort uint16) []port.Binding {
	host, container := port.Single(hostPort), port.Single(w.ContainerPort)
	if w.Range {
		host, container = w.Host, w.Host
	}

	out := make([]port.Binding, 0, len(w.HostIPs))
	for _, ip := range w.HostIPs {
		target := p.IPv4
		if ip.Is6() {
			target = p.IPv6
		}
		b := port.Binding{Protocol: w.Protocol, HostIP: ip, Host: host, ContainerIP: target, Container: container,
			SNAT: w.SNAT, OwnerName: p.OwnerName}
		b.Sources, _ = w.Sources.ForFamily(ip) // not empty: HostIPs has no address without allowed sources
		out = append(out, b)
	}

	return out
}

// Resolve validates the requests of an owner and splits them into single container ports. hostIPv6
// means that the host supports IPv6.
// The result has fixed host ports first, so that no ephemeral port takes one of them. Published
// addresses are last: single ports of them can have other bindings in the same container.
func Resolve(p *Publication, hostIPv6 bool) ([]PortRequest, error) {
	if p.IPv4.IsValid() && !p.IPv4.Is4() || p.IPv6.IsValid() && !p.IPv6.Is6() {
		return nil, fault.Invalidf("container "+p.OwnerName, "ipv4_address",
			"IPv4 address %s or IPv6 address %s has the wrong family", p.IPv4, p.IPv6)
	}

	var fixed, open, direct []PortRequest
	for _, m := range p.Mappings {
		requests, err := expand(p, m, hostIPv6)
		if err != nil {
			return nil, err
		}
		for _, w := range requests {
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

func expand(p *Publication, m port.Mapping, hostIPv6 bool) ([]PortRequest, error) {
	if err := m.Validate(); err != nil {
		return nil, invalid(m, "%s", err)
	}

	ips, err := hostIPs(p, m, hostIPv6)
	if err != nil {
		return nil, err
	}

	own := slices.DeleteFunc(slices.Clone(ips), func(ip netip.Addr) bool { return !p.isOwn(ip) })
	ips = slices.DeleteFunc(ips, p.isOwn)
	requests := directRequests(m, own)
	if len(ips) == 0 {
		return requests, nil
	}

	w := PortRequest{Mapping: m, Protocol: m.Protocol, HostIPs: ips, Host: m.Host, ContainerPort: m.Container.First,
		Sources: m.Sources}
	if m.Container.Len() == 1 {
		return append(requests, w), nil
	}

	if w.Range = m.Host == m.Container && m.Container.Len() >= MinRangeLen; w.Range {
		return append(requests, w), nil
	}

	for i := range m.Container.Len() {
		w.ContainerPort = m.Container.First + uint16(i)
		if !m.Host.IsZero() {
			w.Host = port.Single(m.Host.First + uint16(i))
		}
		requests = append(requests, w)
	}

	return requests, nil
}

// hostIPs returns the host addresses that a mapping is published on. Without a given address, these
// are all addresses of the container's families.
func hostIPs(p *Publication, m port.Mapping, hostIPv6 bool) ([]netip.Addr, error) {
	if given := m.HostIP; given.IsValid() {
		if routed, at := p.ownOf(given); routed {
			if !given.IsUnspecified() {
				return nil, invalid(m,
					"the container's gateway mode is routed; omit the host address and connect to %s", at)
			}
			given = at
		}
		if given.Is4() && !p.IPv4.IsValid() {
			return nil, invalid(m, "the container has no IPv4 address")
		}
		if given.Is6() && !p.IPv6.IsValid() {
			return nil, invalid(m,
				"the container has no IPv6 address; enable it with 'fairlead network update --ipv6 NAME'")
		}
		if _, ok := m.Sources.ForFamily(given); !ok {
			return nil, invalid(m, "%s", noSource(given, m.Sources))
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
		return nil, invalid(m, "the container has no address that is reachable from the host")
	}

	first := ips[0]
	ips = slices.DeleteFunc(ips, func(ip netip.Addr) bool {
		_, ok := m.Sources.ForFamily(ip)
		return !ok
	})

	if len(ips) == 0 {
		return nil, invalid(m, "%s", noSource(first, m.Sources))
	}

	return ips, nil
}

// withoutTwins removes duplicate requests and rejects those that conflict on a host port.
func withoutTwins(fixed []PortRequest) ([]PortRequest, error) {
	type key struct {
		proto port.Protocol
		port  uint16
	}

	seen := map[key][]PortRequest{}
	var ranges []PortRequest
	out := fixed[:0:0]
next:
	for _, w := range fixed {
		k := key{w.Protocol, w.Host.First}
		others := slices.Concat(seen[k], ranges)
		if w.Range {
			others = out
			ranges = append(ranges, w)
		}
		for _, o := range others {
			if !w.conflictsWith(o) {
				continue
			}
			if w.same(o) {
				continue next
			}
			return nil, invalid(w.Mapping, "host port %d/%s is requested twice, also by %s",
				max(w.Host.First, o.Host.First), w.Protocol, o.Mapping)
		}
		seen[k] = append(seen[k], w)
		out = append(out, w)
	}

	return out, nil
}

// conflictsWith reports whether two requests for fixed ports have a port in common.
func (w PortRequest) conflictsWith(o PortRequest) bool {
	return w.Protocol == o.Protocol && w.Host.Overlaps(o.Host) && anyOverlap(w.HostIPs, o.HostIPs)
}

// same reports whether two requests are equal, apart from their mappings.
func (w PortRequest) same(o PortRequest) bool {
	return w.Host == o.Host && w.ContainerPort == o.ContainerPort && slices.Equal(w.HostIPs, o.HostIPs) &&
		w.Sources == o.Sources
}

func anyOverlap(a, b []netip.Addr) bool {
	for _, x := range a {
		for _, y := range b {
			if port.Overlap(x, y) {
				return true
			}
		}
	}
	return false
}
