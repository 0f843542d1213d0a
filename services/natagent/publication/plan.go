package publication

import (
	"net/netip"

	"github.com/fairlead/fairlead/agent/fault"
)

// Want is one container port, and the host ports that would do for it.
type Want struct {
	Mapping       Mapping // where it comes from, for messages
	Protocol      Protocol
	HostIPs       []netip.Addr // one, or one of each family; all get the same port
	First, Last   uint16       // the host ports that will do; both 0: any dynamic one
	ContainerPort uint16
}

// Fixed tells whether just one host port will do.
func (w Want) Fixed() bool { return w.First != 0 && w.First == w.Last }

// Bindings are what the want comes to when it gets a host port.
func (w Want) Bindings(p *Publication, hostPort uint16) []Binding {
	out := make([]Binding, 0, len(w.HostIPs))
	for _, ip := range w.HostIPs {
		target := p.IPv4
		if ip.Is6() {
			target = p.IPv6
		}
		out = append(out, Binding{w.Protocol, ip, hostPort, target, w.ContainerPort, p.OwnerName})
	}
	return out
}

// Plan checks all that an owner asks for and breaks it down to single container ports. hostIPv6 tells whether the host has
// IPv6 at all. The order is that of the mappings, fixed host ports first, so that no dynamic port takes one of them.
func Plan(p *Publication, hostIPv6 bool) ([]Want, error) {
	if p.IPv4.IsValid() && !p.IPv4.Is4() || p.IPv6.IsValid() && !p.IPv6.Is6() {
		return nil, fault.Invalidf("container "+p.OwnerName, "ipv4_address",
			"IPv4 address %s and IPv6 address %s are not of these families", p.IPv4, p.IPv6)
	}
	var fixed, open []Want
	for _, m := range p.Mappings {
		wants, err := expand(p, m, hostIPv6)
		if err != nil {
			return nil, err
		}
		for _, w := range wants {
			if !w.Fixed() {
				open = append(open, w)
				continue
			}
			fixed = append(fixed, w)
		}
	}
	fixed, err := withoutTwins(fixed)
	return append(fixed, open...), err
}

func expand(p *Publication, m Mapping, hostIPv6 bool) ([]Want, error) {
	good, err := m.parse()
	if err != nil {
		return nil, err
	}
	ips, err := hostIPs(p, m, good.host, hostIPv6)
	if err != nil {
		return nil, err
	}
	if good.ctrPorts.len() == 1 {
		return []Want{{m, m.Protocol, ips, good.hostPorts.first, good.hostPorts.last, good.ctrPorts.first}}, nil
	}
	wants := make([]Want, 0, good.ctrPorts.len())
	for i := range good.ctrPorts.len() {
		w := Want{Mapping: m, Protocol: m.Protocol, HostIPs: ips, ContainerPort: good.ctrPorts.first + uint16(i)}
		if good.hostPorts.first != 0 {
			w.First = good.hostPorts.first + uint16(i)
			w.Last = w.First
		}
		wants = append(wants, w)
	}
	return wants, nil
}

// hostIPs says on which host addresses a mapping is published: the given one, or all of the families that the container has.
func hostIPs(p *Publication, m Mapping, given netip.Addr, hostIPv6 bool) ([]netip.Addr, error) {
	if given.IsValid() {
		if given.Is4() && !p.IPv4.IsValid() {
			return nil, m.invalid("the container has no IPv4 address")
		}
		if given.Is6() && !p.IPv6.IsValid() {
			return nil, m.invalid("the container has no IPv6 address")
		}
		return []netip.Addr{given}, nil
	}
	var ips []netip.Addr
	if p.IPv4.IsValid() {
		ips = append(ips, netip.IPv4Unspecified())
	}
	if p.IPv6.IsValid() && hostIPv6 {
		ips = append(ips, netip.IPv6Unspecified())
	}
	if len(ips) == 0 {
		return nil, m.invalid("the container has no address that the host can reach it at")
	}
	return ips, nil
}

// withoutTwins drops wants that say the same twice, and refuses those that want one host port for two things.
func withoutTwins(fixed []Want) ([]Want, error) {
	type key struct {
		proto Protocol
		port  uint16
	}
	seen := map[key][]Want{}
	out := fixed[:0:0]
next:
	for _, w := range fixed {
		k := key{w.Protocol, w.First}
		for _, o := range seen[k] {
			if !anyOverlap(w.HostIPs, o.HostIPs) {
				continue
			}
			if w.ContainerPort == o.ContainerPort && w.HostIPs[0] == o.HostIPs[0] && len(w.HostIPs) == len(o.HostIPs) {
				continue next
			}
			return nil, w.Mapping.invalid("host port %d/%s is asked for twice, by %s too", w.First, w.Protocol, o.Mapping)
		}
		seen[k] = append(seen[k], w)
		out = append(out, w)
	}
	return out, nil
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
