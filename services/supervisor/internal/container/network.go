package container

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Mode is how a container is on the network: one of those below, container:ID, or the name of its first network.
type Mode string

// The modes.
const (
	ModeBridge Mode = "bridge"
	ModeNone   Mode = "none"
	ModeHost   Mode = "host"

	joinPrefix = "container:"
)

// ModeJoin is the mode of a container that shares another one's namespace.
func ModeJoin(uid string) Mode { return Mode(joinPrefix + uid) }

// Joined answers the container whose namespace is shared; false if it is none's.
func (m Mode) Joined() (ref string, ok bool) { return strings.CutPrefix(string(m), joinPrefix) }

// Network is how a container is on the network.
type Network struct {
	Mode        Mode
	Attachments []Attachment // in the order of the interfaces
	Publish     []PortMapping
	PublishAll  bool
	Expose      []ExposedPort
	Addresses   []PublishedAddress
	Links       []Link
	DropSharers bool // who shares the namespace is left behind in it when the container ends
}

// Link is a further name of another container, for this one alone.
type Link struct {
	Container string // its id, once that is known
	Alias     string
}

// publishes tells whether any port or address of the host is asked for.
func (n *Network) publishes() bool { return len(n.Publish) > 0 || n.PublishAll || len(n.Addresses) > 0 }

// Normalized gives the same with mode and attachments both filled in: a network alone is attached to, and the first attachment is
// the mode.
func (n Network) Normalized() Network {
	if n.Mode == "default" {
		n.Mode = ModeBridge
	}
	n.Attachments = slices.Clone(n.Attachments)
	for i := range n.Attachments {
		if n.Attachments[i].Network == "default" {
			n.Attachments[i].Network = string(ModeBridge)
		}
	}
	if n.Mode == "" {
		n.Mode = ModeBridge
		if len(n.Attachments) > 0 {
			n.Mode = Mode(n.Attachments[0].Network)
		}
	}
	if n.Mode.isExclusive() {
		if len(n.Attachments) == 1 && n.Attachments[0].Network == string(n.Mode) && !n.Attachments[0].asks() {
			n.Attachments = nil // the mode, written as a network
		}
		return n
	}
	if len(n.Attachments) == 0 {
		n.Attachments = []Attachment{{Network: string(n.Mode)}}
	}
	return n
}

// isExclusive tells whether a mode goes with no network.
func (m Mode) isExclusive() bool {
	_, joined := m.Joined()
	return joined || m == ModeNone || m == ModeHost
}

// Fixed tells whether any attachment asks for an address by number.
func (n Network) Fixed() bool { return slices.ContainsFunc(n.Attachments, Attachment.Fixed) }

func (c *Config) validateNetwork() error {
	n := &c.Network
	if ref, ok := n.Mode.Joined(); ok {
		return c.validateJoin(ref)
	}
	if err := c.validateLinks(); err != nil {
		return err
	}
	switch n.Mode {
	case ModeNone, ModeHost:
		if len(n.Attachments) == 1 && n.Attachments[0].Network == string(n.Mode) {
			return n.Attachments[0].rejectOptions(c.subject())
		}
		if len(n.Attachments) > 0 {
			return c.mixed()
		}
		if n.publishes() {
			return fault.New(fault.Invalid, c.subject(), "ports cannot be published with --network "+string(n.Mode),
				fault.WithField("publish"), fault.WithHint("%s", publishHint[n.Mode]))
		}
		return nil
	}
	seen := map[string]bool{}
	for _, a := range n.Attachments {
		if Mode(a.Network).isExclusive() {
			return c.mixed()
		}
		if seen[a.Network] {
			return fault.Invalidf(c.subject(), "network", "network %q is specified multiple times", a.Network)
		}
		seen[a.Network] = true
		if err := a.Validate(c.subject()); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) mixed() error {
	return fault.New(fault.Invalid, c.subject(), "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
		fault.WithField("network"), fault.WithHint("host, none and container:NAME take no other network and no network's options"))
}

// validateJoin refuses what belongs to the namespace that is shared, and can only be its owner's.
func (c *Config) validateJoin(ref string) error {
	if ref == "" {
		return fault.Invalidf(c.subject(), "network", "invalid network mode: invalid container format container:<name|id>")
	}
	n, d := &c.Network, &c.DNS
	if len(n.Attachments) == 1 && n.Attachments[0].Network == string(n.Mode) {
		return n.Attachments[0].rejectOptions(c.subject())
	}
	for _, clash := range []struct {
		given       bool
		field, text string
	}{
		{len(n.Attachments) > 0, "network", "container type network cannot be combined with other networks"},
		{d.Hostname != "" || d.Domainname != "", "hostname", "hostname and the network mode"},
		{n.publishes(), "publish", "port publishing and the container type network mode"},
		{len(n.Expose) > 0, "expose", "port exposing and the container type network mode"},
		{len(d.Servers)+len(d.Search)+len(d.Options) > 0, "dns", "dns and the network mode"},
		{len(d.ExtraHosts) > 0, "add-host", "custom host-to-IP mapping and the network mode"},
		{len(n.Links) > 0, "link", "container type network can't be used with links. This would result in undefined behavior"},
	} {
		if clash.given {
			return fault.New(fault.Invalid, c.subject(), "conflicting options: "+clash.text, fault.WithField(clash.field),
				fault.WithHint("give it to the container whose network is shared"))
		}
	}
	return nil
}

var publishHint = map[Mode]string{
	ModeHost: "the container uses the host's ports directly: leave out -p, or give --publish-ignored=warn",
	ModeNone: "the container has no network: leave out -p, or use --network bridge",
}

// Connected gives a copy that is on one more network.
func (c *Container) Connected(a Attachment, live *RunState) *Container {
	n := *c
	n.Config.Network.Attachments = append(slices.Clone(c.Config.Network.Attachments), a)
	n.Live, n.Change = live, nil
	return &n
}

// Disconnected gives a copy that is off a network.
func (c *Container) Disconnected(network string, live *RunState) *Container {
	n := *c
	n.Config.Network.Attachments = slices.DeleteFunc(slices.Clone(c.Config.Network.Attachments),
		func(a Attachment) bool { return a.Network == network })
	n.Live, n.Change = live, nil
	return &n
}

// Republished are the mappings that lead the same host ports to another address of the container. A port of all addresses of one
// family becomes one of all there are, unless it was asked for so, as the other family may be there now or no longer. What was
// published nowhere is published as it was asked for.
func (c *Container) Republished() []PortMapping {
	if len(c.Live.Bindings) == 0 {
		return c.Config.Mappings(c.Process.Exposed)
	}
	var out []PortMapping
	for _, b := range c.Live.Bindings {
		if b.Protocol == AllProtocols {
			continue // it comes from the configuration
		}
		if b.HostPort == 0 {
			if m, ok := c.opened(b); ok && !slices.Contains(out, m) {
				out = append(out, m)
			}
			continue
		}
		addr, _ := netip.ParseAddr(b.HostIP) // natagent wrote it; what is not valid means all addresses
		asked := slices.ContainsFunc(c.Config.Network.Publish, func(m PortMapping) bool { return m.HostIP == addr })
		if addr.IsUnspecified() && !asked {
			addr = netip.Addr{}
		}
		m := PortMapping{Protocol: b.Protocol, HostIP: addr, HostPort: b.HostPort, ContainerPort: b.ContainerPort, Sources: c.sourcesOf(b)}
		if b.HostPortEnd != 0 {
			m.HostPortEnd, m.ContainerPortEnd = b.HostPortEnd, b.ContainerPort+b.HostPortEnd-b.HostPort
		}
		if !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}

// opened is the mapping that a port which is open at the container's own address was asked for by; false if that is led to over the other
// family too, as then its host port is known.
func (c *Container) opened(b Binding) (PortMapping, bool) {
	covers := func(proto Protocol, first, last uint16) bool {
		return proto == b.Protocol && first <= b.ContainerPort && b.ContainerPort <= max(first, last)
	}
	if slices.ContainsFunc(c.Live.Bindings, func(o Binding) bool {
		return o.HostPort != 0 && covers(o.Protocol, o.ContainerPort, o.ContainerPort+max(o.HostPort, o.HostPortEnd)-o.HostPort)
	}) {
		return PortMapping{}, false
	}
	for _, m := range c.Config.Network.Publish {
		if covers(m.Protocol, m.ContainerPort, m.ContainerPortEnd) {
			return m, true
		}
	}
	return PortMapping{Protocol: b.Protocol, ContainerPort: b.ContainerPort, ContainerPortEnd: b.ContainerPortEnd}, true
}

// PublishEndpoints are the endpoints where published ports lead: of those on bridges of networks that are not internal, by which IPv4 and IPv6 leave;
// nil if there is none. Without a default route it is the first interface with an address.
func (l *RunState) PublishEndpoints() (ipv4, ipv6 *Endpoint) {
	for i := range l.Endpoints {
		e := &l.Endpoints[i]
		if e.Bridge == "" || e.Internal {
			continue // it is on a LAN of others, or nobody else may reach it
		}
		if e.IPv4 != "" && (ipv4 == nil || ipv4.IPv4Gateway == "" && e.IPv4Gateway != "") {
			ipv4 = e
		}
		if e.IPv6 != "" && (ipv6 == nil || ipv6.IPv6Gateway == "" && e.IPv6Gateway != "") {
			ipv6 = e
		}
	}
	return ipv4, ipv6
}
