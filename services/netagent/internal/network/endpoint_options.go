package network

import (
	"net/netip"
	"regexp"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// ifname stands for the interface's name in the sysctls of an endpoint.
const ifname = "IFNAME"

// sysctlForm is NAME=VALUE of a kernel parameter of one interface. No part of the name leads out of the interface's folder.
var sysctlForm = regexp.MustCompile(`^net\.(ipv4|ipv6|mpls)\.([a-z0-9_]+)\.` + ifname + `\.([a-zA-Z0-9_]+)=([^\n\x00]+)$`)

// Sysctl is a kernel parameter by its path under /proc/sys, and the value that it is to have.
type Sysctl struct{ Path, Value string }

// InterfaceSysctls are the kernel parameters that an endpoint asks for, for its interface.
func (e Endpoint) InterfaceSysctls() []Sysctl {
	var out []Sysctl
	for _, s := range e.Spec.Sysctls {
		if part := sysctlForm.FindStringSubmatch(s); part != nil { // else the request was not validated
			out = append(out, Sysctl{strings.Join([]string{"net", part[1], part[2], e.Interface, part[3]}, "/"), part[4]})
		}
	}
	return out
}

func validateSysctl(subject, s string) error {
	if sysctlForm.MatchString(s) {
		return nil
	}
	return fault.New(fault.Invalid, subject, "unrecognised network interface sysctl '"+s+
		"'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'", fault.WithField("driver-opt"))
}

func validateLinkLocal(subject string, a netip.Addr) error {
	if a.IsLinkLocalUnicast() && a.Zone() == "" && !a.Is4In6() {
		return nil
	}
	return fault.New(fault.Invalid, subject, "invalid link-local IP address: "+a.String(), fault.WithField("link-local-ip"),
		fault.WithHint("it is of 169.254.0.0/16 or of fe80::/10"))
}

// The lengths of the link-local subnets.
const (
	linkLocalBits4 = 16
	linkLocalBits6 = 64
)

// LinkLocals are the endpoint's link-local addresses. They come from no pool: nobody but its maker sees to it that nobody else has them.
func (e Endpoint) LinkLocals() []netip.Prefix {
	var out []netip.Prefix
	for _, a := range e.Spec.LinkLocal {
		bits := linkLocalBits4
		if a.Is6() {
			bits = linkLocalBits6
		}
		out = append(out, netip.PrefixFrom(a, bits))
	}
	return out
}
