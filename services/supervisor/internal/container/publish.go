package container

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/agent/sources"
	"github.com/fairlead/fairlead/proto/fault"
)

// Published returns a copy that publishes additional ports and addresses.
func (c *Container) Published(ports []PortMapping, addresses []PublishedAddress) (*Container, error) {
	n := *c
	net := &n.Config.Network
	for _, p := range ports {
		if p.HostPort != 0 && slices.Contains(net.Publish, p) {
			return nil, fault.New(fault.Exists, c.Subject(), p.String()+" is already published",
				fault.WithField("publish"))
		}
	}

	for _, a := range addresses {
		if slices.ContainsFunc(net.Addresses, func(have PublishedAddress) bool { return have.HostIP == a.HostIP }) {
			return nil, fault.New(fault.Exists, c.Subject(), "address "+a.HostIP.String()+" is already published",
				fault.WithField("publish_address"))
		}
	}

	net.Publish = slices.Concat(net.Publish, ports)
	net.Addresses = slices.Concat(net.Addresses, addresses)
	n.Process.Exposed = uniquePorts(slices.Concat(c.Process.Exposed, publishedPorts(ports)))
	return &n, n.Config.Validate()
}

// Unpublished returns a copy without the selected ports and addresses, or without any if all is
// set. left holds the mappings of a running container that remain published.
func (c *Container) Unpublished(selections []PortMapping, addresses []netip.Addr, all bool) (out *Container,
	left []PortMapping, err error) {
	n := *c
	net := &n.Config.Network
	if all {
		net.Publish, net.Addresses, net.PublishAll = nil, nil, false
		return &n, nil, nil
	}

	live := c.liveMappings()
	var removed []PortMapping
	for _, s := range selections {
		chosen := slices.DeleteFunc(slices.Clone(net.Publish), func(m PortMapping) bool { return !s.selects(m, live) })
		if len(chosen) == 0 {
			return nil, nil, c.notPublished(s, live)
		}
		removed = append(removed, chosen...)
	}

	for _, a := range addresses {
		if !slices.ContainsFunc(net.Addresses, func(have PublishedAddress) bool { return have.HostIP == a }) {
			return nil, nil, fault.New(fault.NotFound, c.Subject(), "address "+a.String()+" is not published",
				fault.WithField("publish_address"))
		}
	}

	net.Publish = slices.DeleteFunc(slices.Clone(net.Publish),
		func(m PortMapping) bool { return slices.Contains(removed, m) })
	net.Addresses = slices.DeleteFunc(slices.Clone(net.Addresses),
		func(a PublishedAddress) bool { return slices.Contains(addresses, a.HostIP) })
	left = slices.DeleteFunc(live, func(m PortMapping) bool {
		within := func(wide PortMapping) bool { return wide.covers(m) }
		return slices.ContainsFunc(removed, within) && !slices.ContainsFunc(net.Publish, within)
	})

	return &n, left, nil
}

// notPublished returns the fault for a selection without a match.
func (c *Container) notPublished(s PortMapping, live []PortMapping) error {
	for _, m := range append(slices.Clone(c.Config.Network.Publish), live...) {
		if m.Protocol == s.Protocol && m.ContainerPort <= s.ContainerPort &&
			s.ContainerPort <= max(m.ContainerPort, m.ContainerPortEnd) {
			return fault.New(fault.NotFound, c.Subject(),
				s.String()+" is not published", fault.WithField("publish"),
				fault.WithHint("its port is published as %s; unpublish that", m))
		}
	}
	return fault.New(fault.NotFound, c.Subject(), s.String()+" is not published", fault.WithField("publish"),
		fault.WithHint("list published ports with 'fairlead port %s'", c.Config.Name))
}

// liveMappings returns the published mappings with their allocated host ports.
func (c *Container) liveMappings() []PortMapping {
	if c.Live == nil || len(c.Live.Bindings) == 0 {
		return nil
	}
	return c.Republished()
}

// selects reports whether the selection p matches the mapping m.
// The container ports must be equal; host address, host port and sources are compared if p sets
// them. An allocated ephemeral port in live matches too.
func (p PortMapping) selects(m PortMapping, live []PortMapping) bool {
	if p.Protocol != m.Protocol || p.ContainerPort != m.ContainerPort || p.lastPort() != m.lastPort() ||
		p.HostIP.IsValid() && p.HostIP != m.HostIP || p.Sources != "" && p.Sources != m.Sources {
		return false
	}
	if p.HostPort == 0 || p.HostPort == m.HostPort && max(p.HostPort, p.HostPortEnd) == max(m.HostPort, m.HostPortEnd) {
		return true
	}
	return slices.ContainsFunc(live, func(l PortMapping) bool { return m.covers(l) && l.HostPort == p.HostPort })
}

// covers reports whether the published mapping live can result from p.
func (p PortMapping) covers(live PortMapping) bool {
	if p.Protocol != live.Protocol || live.ContainerPort < p.ContainerPort || live.lastPort() > p.lastPort() ||
		p.HostIP != live.HostIP ||
		p.Sources != live.Sources {
		return false
	}
	return p.HostPort == 0 || p.HostPort <= live.HostPort && live.HostPort <= max(p.HostPort, p.HostPortEnd)
}

// sourcesOf returns the allowed sources of the mapping that b results from. The binding has only
// those of its own address family.
func (c *Container) sourcesOf(b Binding) sources.Set {
	addr, _ := netip.ParseAddr(b.HostIP)
	for _, m := range c.Config.Network.Publish {
		live := PortMapping{Protocol: b.Protocol, HostIP: m.HostIP, HostPort: b.HostPort,
			ContainerPort: b.ContainerPort, Sources: m.Sources}
		if left, _ := m.Sources.ForFamily(addr); left == b.Sources && m.covers(live) &&
			(!m.HostIP.IsValid() || m.HostIP == addr) {
			return m.Sources
		}
	}
	return b.Sources
}

func (p PortMapping) lastPort() uint16 { return max(p.ContainerPort, p.ContainerPortEnd) }

// String returns the mapping in the syntax of -p.
func (p PortMapping) String() string {
	s := span(p.ContainerPort, p.ContainerPortEnd) + "/" + string(p.Protocol)
	for _, from := range p.Sources.Strings() {
		s += ",from=" + from
	}

	if p.HostPort != 0 || p.HostIP.IsValid() {
		s = ":" + s
	}

	if p.HostPort != 0 {
		s = span(p.HostPort, p.HostPortEnd) + s
	}

	switch {
	case p.HostIP.Is6():
		return "[" + p.HostIP.String() + "]:" + s
	case p.HostIP.IsValid():
		return p.HostIP.String() + ":" + s
	}

	return s
}

func span(first, last uint16) string {
	if last <= first {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}
