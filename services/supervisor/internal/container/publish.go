package container

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
)

// Published returns a copy that publishes additional ports and addresses.
func (c *Container) Published(ports []port.Mapping, addresses []port.Address) (*Container, error) {
	n := *c
	net := &n.Config.Network
	for _, p := range ports {
		if !p.Host.IsZero() && slices.Contains(net.Publish, p) {
			return nil, fault.New(fault.Exists, c.Subject(), p.String()+" is already published",
				fault.WithField("publish"))
		}
	}

	for _, a := range addresses {
		if slices.ContainsFunc(net.Addresses, func(have port.Address) bool { return have.HostIP == a.HostIP }) {
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
func (c *Container) Unpublished(selections []port.Mapping, addresses []netip.Addr, all bool) (out *Container,
	left []port.Mapping, err error) {
	n := *c
	net := &n.Config.Network
	if all {
		net.Publish, net.Addresses, net.PublishAll = nil, nil, false
		return &n, nil, nil
	}

	live := c.liveMappings()
	var removed []port.Mapping
	for _, s := range selections {
		chosen := slices.DeleteFunc(slices.Clone(net.Publish),
			func(m port.Mapping) bool { return !selects(s, m, live) })
		if len(chosen) == 0 {
			return nil, nil, c.notPublished(s, live)
		}
		removed = append(removed, chosen...)
	}

	for _, a := range addresses {
		if !slices.ContainsFunc(net.Addresses, func(have port.Address) bool { return have.HostIP == a }) {
			return nil, nil, fault.New(fault.NotFound, c.Subject(), "address "+a.String()+" is not published",
				fault.WithField("publish_address"))
		}
	}

	net.Publish = slices.DeleteFunc(slices.Clone(net.Publish),
		func(m port.Mapping) bool { return slices.Contains(removed, m) })
	net.Addresses = slices.DeleteFunc(slices.Clone(net.Addresses),
		func(a port.Address) bool { return slices.Contains(addresses, a.HostIP) })
	left = slices.DeleteFunc(live, func(m port.Mapping) bool {
		within := func(wide port.Mapping) bool { return covers(wide, m) }
		return slices.ContainsFunc(removed, within) && !slices.ContainsFunc(net.Publish, within)
	})

	return &n, left, nil
}

// notPublished returns the fault for a selection without a match.
func (c *Container) notPublished(s port.Mapping, live []port.Mapping) error {
	for _, m := range append(slices.Clone(c.Config.Network.Publish), live...) {
		if m.Protocol == s.Protocol && m.Container.Has(s.Container.First) {
			return fault.New(fault.NotFound, c.Subject(),
				s.String()+" is not published", fault.WithField("publish"),
				fault.WithHint("its port is published as %s; unpublish that", m))
		}
	}
	return fault.New(fault.NotFound, c.Subject(), s.String()+" is not published", fault.WithField("publish"),
		fault.WithHint("list published ports with 'fairlead port %s'", c.Config.Name))
}

// liveMappings returns the published mappings with their allocated host ports.
func (c *Container) liveMappings() []port.Mapping {
	if c.Live == nil || len(c.Live.Bindings) == 0 {
		return nil
	}
	return c.Republished()
}

// selects reports whether the selection s matches the mapping m.
// The container ports must be equal; host address, host port and sources are compared if s sets
// them. An allocated ephemeral port in live matches too.
func selects(s, m port.Mapping, live []port.Mapping) bool {
	if s.Protocol != m.Protocol || s.Container != m.Container || s.HostIP.IsValid() && s.HostIP != m.HostIP ||
		s.Sources != "" && s.Sources != m.Sources {
		return false
	}
	if s.Host.IsZero() || s.Host == m.Host {
		return true
	}
	return slices.ContainsFunc(live, func(l port.Mapping) bool {
		return covers(m, l) && l.Host.First == s.Host.First
	})
}

// covers reports whether the published mapping live can result from m.
func covers(m, live port.Mapping) bool {
	if m.Protocol != live.Protocol || !m.Container.Contains(live.Container) || m.HostIP != live.HostIP ||
		m.Sources != live.Sources {
		return false
	}
	return m.Host.IsZero() || m.Host.Has(live.Host.First)
}

// sourcesOf returns the allowed sources of the mapping that b results from. The binding has only
// those of its own address family.
func (c *Container) sourcesOf(b port.Binding) port.Sources {
	for _, m := range c.Config.Network.Publish {
		live := port.Mapping{Protocol: b.Protocol, HostIP: m.HostIP, Host: b.Host, Container: b.Container,
			Sources: m.Sources}
		if left, _ := m.Sources.ForFamily(b.HostIP); left == b.Sources && covers(m, live) &&
			(!m.HostIP.IsValid() || m.HostIP == b.HostIP) {
			return m.Sources
		}
	}
	return b.Sources
}
