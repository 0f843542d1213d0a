package container

import (
	"net"
	"net/netip"
	"regexp"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Attachment is a network with what a container wants of it. What is not valid, or empty, was not given.
type Attachment struct {
	Network   string // as the user wrote it
	IPv4      netip.Addr
	IPv6      netip.Addr
	MAC       string
	Aliases   []string
	Priority  int // of several networks the one with the highest has the default route
	Interface string
	LinkLocal []netip.Addr // further addresses of the interface
	Sysctls   []string     // of the interface, as net.ipv4.conf.IFNAME.NAME=VALUE
	Links     []Link       // to others on this network

	Allowed []netip.Prefix // subnets that it may send from in addition to its own addresses
}

// Fixed tells whether an address is asked for by number.
func (a Attachment) Fixed() bool { return a.IPv4.IsValid() || a.IPv6.IsValid() }

// asks tells whether anything but the network is given.
func (a Attachment) asks() bool {
	return a.Fixed() || a.MAC != "" || len(a.Aliases) > 0 || a.Priority != 0 || a.Interface != "" ||
		len(a.LinkLocal)+len(a.Sysctls)+len(a.Links)+len(a.Allowed) > 0
}

// rejectOptions refuses what somebody wants of a network that gives nothing: host, none, or that of another container.
func (a Attachment) rejectOptions(subject string) error {
	switch {
	case a.Fixed():
		return fixedOn(subject, a.Network)
	case len(a.Aliases) > 0:
		return aliased(subject)
	case a.MAC != "":
		return fault.New(fault.Invalid, subject, "conflicting options: mac-address and the network mode", fault.WithField("mac-address"))
	}
	return fault.New(fault.Invalid, subject, "network "+a.Network+" takes no options: it has no interface of the container's own", fault.WithField("network"))
}

func fixedOn(subject, network string) error {
	return fault.New(fault.Invalid, subject, "invalid config for network "+network+": invalid endpoint settings: "+
		"user-specified IP address is supported on user-defined networks only", fault.WithField("ip"))
}

func aliased(subject string) error {
	return fault.New(fault.Invalid, subject, "network-scoped aliases are only supported for user-defined networks", fault.WithField("network-alias"))
}

// interfaceSysctl is how a kernel parameter of one interface is written.
var interfaceSysctl = regexp.MustCompile(`^net\.(ipv4|ipv6|mpls)\.[a-z0-9_]+\.IFNAME\.[a-zA-Z0-9_]+=[^\n\x00]+$`)

// Validate tells what is wrong with an attachment by itself.
func (a Attachment) Validate(subject string) error {
	switch {
	case a.Network == "":
		return fault.Invalidf(subject, "network", "an attachment names no network")
	case a.IPv4.IsValid() && !a.IPv4.Is4():
		return fault.Invalidf(subject, "ip", "invalid IPv4 address: %s", a.IPv4)
	case a.IPv6.IsValid() && !a.IPv6.Is6():
		return fault.Invalidf(subject, "ip6", "invalid IPv6 address: %s", a.IPv6)
	case a.Network == string(ModeBridge) && (a.IPv4.IsValid() || a.IPv6.IsValid()):
		return fixedOn(subject, a.Network)
	case a.Network == string(ModeBridge) && len(a.Aliases) > 0:
		return aliased(subject)
	case a.Network == string(ModeBridge) && len(a.Links) > 0:
		return nowhereToLink(subject)
	}
	if err := validLinks(subject, a.Links); err != nil {
		return err
	}
	for _, alias := range a.Aliases {
		if alias == "" || strings.ContainsAny(alias, " \t\n\x00") {
			return fault.Invalidf(subject, "network-alias", "%q is no name", alias)
		}
	}
	for _, ip := range a.LinkLocal {
		if !ip.IsLinkLocalUnicast() || ip.Zone() != "" {
			return fault.New(fault.Invalid, subject, "invalid link-local IP address: "+ip.String(), fault.WithField("link-local-ip"),
				fault.WithHint("it is of 169.254.0.0/16 or of fe80::/10"))
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
