package container

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
)

// Mode is a network mode: one of the constants, container:ID, or the name of the first network.
type Mode string

// Network modes.
const (
	ModeBridge Mode = "bridge"
	ModeNone   Mode = "none"
	ModeHost   Mode = "host"

	joinPrefix = "container:"
)

// ModeJoin returns the mode of a container that joins the network namespace of the container uid.
func ModeJoin(uid string) Mode { return Mode(joinPrefix + uid) }

// Joined returns the container whose network namespace is joined; ok is false in other modes.
func (m Mode) Joined() (ref string, ok bool) { return strings.CutPrefix(string(m), joinPrefix) }

// Network is the network configuration of a container.
type Network struct {
	Mode        Mode
	Attachments []Attachment // in interface order
	Publish     []port.Mapping
	PublishAll  bool
	Expose      []port.Exposed
	Addresses   []port.Address
	Links       []Link
	DropSharers bool // when the container exits, joined containers keep the namespace

	Egress  []string `json:",omitempty"` // what the container may reach, one rule per element; nil: everything
	Ingress []string `json:",omitempty"` // what may reach the container; nil: everything

	Bandwidth bandwidth.Limit `json:",omitzero"` // of each endpoint
	Limits    egress.Limits   `json:",omitzero"` // of all endpoints together
}

// Link is an additional name of another container, visible only to the container with the link.
type Link struct {
	Container string // container ID once resolved
	Alias     string
}

// publishes reports whether any port or address is to be published.
func (n *Network) publishes() bool { return len(n.Publish) > 0 || n.PublishAll || len(n.Addresses) > 0 }

// Normalized returns a copy with both the mode and the attachments set.
// Without attachments the mode becomes the only one; without a mode the first attachment sets it.
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
		if len(n.Attachments) == 1 && n.Attachments[0].Network == string(n.Mode) && !n.Attachments[0].hasOptions() {
			n.Attachments = nil // --network host is the mode host
		}
		return n
	}

	if len(n.Attachments) == 0 {
		n.Attachments = []Attachment{{Network: string(n.Mode)}}
	}

	return n
}

// isExclusive reports whether the mode excludes attachments.
func (m Mode) isExclusive() bool {
	_, joined := m.Joined()
	return joined || m == ModeNone || m == ModeHost
}

// Fixed reports whether any attachment requests a static address.
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
	return fault.New(fault.Invalid, c.subject(),
		"conflicting options: cannot attach both user-defined and non-user-defined network-modes",
		fault.WithField("network"),
		fault.WithHint("use host, none or container:NAME without other networks and network options"))
}

// validateJoin rejects options that only the owner of the network namespace can set.
func (c *Config) validateJoin(ref string) error {
	if ref == "" {
		return fault.Invalidf(c.subject(), "network",
			"invalid network mode: invalid container format container:<name|id>")
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
		{len(n.Links) > 0, "link",
			"container type network can't be used with links. This would result in undefined behavior"},
	} {
		if clash.given {
			return fault.New(fault.Invalid, c.subject(), "conflicting options: "+clash.text,
				fault.WithField(clash.field),
				fault.WithHint("set it on the container whose network is shared"))
		}
	}

	return nil
}

var publishHint = map[Mode]string{
	ModeHost: "omit -p, as the container uses the host's ports directly, or add --publish-ignored=warn",
	ModeNone: "omit -p, as the container has no network, or use --network bridge",
}

// Connected returns a copy with an additional attachment.
func (c *Container) Connected(a Attachment, live *RunState) *Container {
	n := *c
	n.Config.Network.Attachments = append(slices.Clone(c.Config.Network.Attachments), a)
	n.Live, n.Change = live, nil
	return &n
}

// Disconnected returns a copy without the attachment to a network.
func (c *Container) Disconnected(network string, live *RunState) *Container {
	n := *c
	n.Config.Network.Attachments = slices.DeleteFunc(slices.Clone(c.Config.Network.Attachments),
		func(a Attachment) bool { return a.Network == network })
	n.Live, n.Change = live, nil
	return &n
}

// Republished returns the mappings that publish the same host ports at other addresses of the
// container. A binding at the unspecified address is published for both families, unless the user
// requested that address, since the set of families may have changed. Without bindings it returns
// the requested mappings.
func (c *Container) Republished() []port.Mapping {
	if len(c.Live.Bindings) == 0 {
		return c.Config.Mappings(c.Process.Exposed)
	}

	var out []port.Mapping
	for _, b := range c.Live.Bindings {
		if b.IsAddress() {
			continue // published from the configuration
		}
		if b.Direct() {
			if m, ok := c.directMapping(b); ok && !slices.Contains(out, m) {
				out = append(out, m)
			}
			continue
		}
		addr := b.HostIP
		requested := slices.ContainsFunc(c.Config.Network.Publish,
			func(m port.Mapping) bool { return m.HostIP == addr })
		if addr.IsUnspecified() && !requested {
			addr = netip.Addr{}
		}
		m := port.Mapping{Protocol: b.Protocol, HostIP: addr, Host: b.Host, Container: b.Container,
			Sources: c.sourcesOf(b)}
		if !slices.Contains(out, m) {
			out = append(out, m)
		}
	}

	return out
}

// directMapping returns the mapping that requested direct access to the port of b.
// ok is false if the port also has a host port.
func (c *Container) directMapping(b port.Binding) (m port.Mapping, ok bool) {
	covers := func(proto port.Protocol, ports port.Range) bool {
		return proto == b.Protocol && ports.Has(b.Container.First)
	}

	if slices.ContainsFunc(c.Live.Bindings, func(o port.Binding) bool {
		return !o.Direct() && covers(o.Protocol, o.Container)
	}) {
		return port.Mapping{}, false
	}

	for _, m := range c.Config.Network.Publish {
		if covers(m.Protocol, m.Container) {
			return m, true
		}
	}

	return port.Mapping{Protocol: b.Protocol, Container: b.Container}, true
}

// PublishEndpoints returns the endpoints that published ports are forwarded to, nil if there is
// none. Only bridge networks that are not internal qualify. The endpoint with the default route is
// preferred, then the first with an address.
func (l *RunState) PublishEndpoints() (ipv4, ipv6 *Endpoint) {
	for i := range l.Endpoints {
		e := &l.Endpoints[i]
		if e.Bridge == "" || e.Internal {
			continue // not reachable through the host
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

// Addresses returns the endpoint's addresses without prefix lengths.
func (e *Endpoint) Addresses() []string {
	var out []string
	for _, cidr := range []string{e.IPv4, e.IPv6} {
		if addr, _, ok := strings.Cut(cidr, "/"); ok {
			out = append(out, addr)
		}
	}
	return out
}

// PublishTarget holds the addresses that published ports are forwarded to, empty for a family
// without one.
type PublishTarget struct {
	IPv4, IPv6  string
	HostBinding string // host address of mappings without one
}

// PublishTarget returns the addresses that published ports are forwarded to.
func (l *RunState) PublishTarget() PublishTarget {
	var t PublishTarget
	ipv4, ipv6 := l.PublishEndpoints()
	if ipv6 != nil {
		t.IPv6, _, _ = strings.Cut(ipv6.IPv6, "/")
		t.HostBinding = ipv6.HostBinding
	}
	if ipv4 != nil {
		t.IPv4, _, _ = strings.Cut(ipv4.IPv4, "/")
		t.HostBinding = ipv4.HostBinding
	}
	return t
}
