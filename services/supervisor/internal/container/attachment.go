package container

import (
	"net"
	"net/netip"
	"regexp"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Attachment is a network that a container connects to, with the options of the endpoint. Zero and
// empty fields were not requested.
type Attachment struct {
	Network   string // as the user wrote it; a name once resolved
	IPv4      netip.Addr
	IPv6      netip.Addr
	MAC       string
	Aliases   []string
	Priority  int // the endpoint with the highest gateway priority has the default route
	Interface string
	LinkLocal []netip.Addr // additional addresses of the interface
	Sysctls   []string     // of the interface, as net.ipv4.conf.IFNAME.NAME=VALUE
	Links     []Link       // link aliases on this network

	Allowed []netip.Prefix // source subnets it may send from, besides its own addresses
}

// Fixed reports whether the attachment requests a static address.
func (a Attachment) Fixed() bool { return a.IPv4.IsValid() || a.IPv6.IsValid() }

// hasOptions reports whether any option of the attachment is set.
func (a Attachment) hasOptions() bool {
	return a.Fixed() || a.MAC != "" || len(a.Aliases) > 0 || a.Priority != 0 || a.Interface != "" ||
		len(a.LinkLocal)+len(a.Sysctls)+len(a.Links)+len(a.Allowed) > 0
}

// rejectOptions returns the fault for options of a network without an interface of the container's
// own: host, none or container:ID.
func (a Attachment) rejectOptions(subject string) error {
	switch {
	case a.Fixed():
		return fixedOn(subject, a.Network)
	case len(a.Aliases) > 0:
		return aliased(subject)
	case a.MAC != "":
		return fault.New(fault.Invalid, subject, "conflicting options: mac-address and the network mode",
			fault.WithField("mac-address"))
	}
	return fault.New(fault.Invalid, subject,
		"network "+a.Network+" does not support options: the container has no interface of its own on it",
		fault.WithField("network"))
}

func fixedOn(subject, network string) error {
	return fault.New(fault.Invalid, subject, "invalid config for network "+network+": invalid endpoint settings: "+
		"user-specified IP address is supported on user-defined networks only", fault.WithField("ip"))
}

func aliased(subject string) error {
	return fault.New(fault.Invalid, subject, "network-scoped aliases are only supported for user-defined networks",
		fault.WithField("network-alias"))
}

// interfaceSysctl matches a kernel parameter of one interface, with IFNAME instead of the name.
var interfaceSysctl = regexp.MustCompile(`^net\.(ipv4|ipv6|mpls)\.[a-z0-9_]+\.IFNAME\.[a-zA-Z0-9_]+=[^\n\x00]+$`)

// Validate checks the attachment alone, without the network it refers to.
func (a Attachment) Validate(subject string) error {
	switch {
	case a.Network == "":
		return fault.Invalidf(subject, "network", "the network of an attachment is missing")
	case a.IPv4.IsValid() && !a.IPv4.Is4():
		return fault.Invalidf(subject, "ip", "invalid IPv4 address: %s", a.IPv4)
	case a.IPv6.IsValid() && !a.IPv6.Is6():
		return fault.Invalidf(subject, "ip6", "invalid IPv6 address: %s", a.IPv6)
	case a.Network == string(ModeBridge) && (a.IPv4.IsValid() || a.IPv6.IsValid()):
		return fixedOn(subject, a.Network)
	case a.Network == string(ModeBridge) && len(a.Aliases) > 0:
		return aliased(subject)
	case a.Network == string(ModeBridge) && len(a.Links) > 0:
		return linkWithoutNetwork(subject)
	}

	if err := validLinks(subject, a.Links); err != nil {
		return err
	}

	for _, alias := range a.Aliases {
		if alias == "" || strings.ContainsAny(alias, " \t\n\x00") {
			return fault.Invalidf(subject, "network-alias", "%q is not a valid name", alias)
		}
	}

	for _, ip := range a.LinkLocal {
		if !ip.IsLinkLocalUnicast() || ip.Zone() != "" {
			return fault.New(fault.Invalid, subject, "invalid link-local IP address: "+ip.String(),
				fault.WithField("link-local-ip"),
				fault.WithHint("use an address of 169.254.0.0/16 or fe80::/10"))
		}
	}

	for _, s := range a.Sysctls {
		if !interfaceSysctl.MatchString(s) {
			return fault.Invalidf(subject, "driver-opt", "unrecognised network interface sysctl '%s'; "+
				"represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'", s)
		}
	}

	if mac, err := net.ParseMAC(a.MAC); a.MAC != "" && (err != nil || len(mac) != 6) {
		return fault.Invalidf(subject, "mac-address", "%s is not a valid mac address", a.MAC)
	}

	return nil
}
