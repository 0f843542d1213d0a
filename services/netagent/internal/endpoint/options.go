package endpoint

import (
	"net/netip"
	"regexp"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// ifname is the placeholder for the interface name in endpoint sysctls.
const ifname = "IFNAME"

// sysctlForm is NAME=VALUE of a sysctl of one interface. The name cannot escape the interface's
// directory.
var sysctlForm = regexp.MustCompile(`^net\.(ipv4|ipv6|mpls)\.([a-z0-9_]+)\.` + ifname + `\.([a-zA-Z0-9_]+)=([^\n\x00]+)$`)

// Sysctl is a kernel parameter, by its path below /proc/sys, with its desired value.
type Sysctl struct{ Path, Value string }

// InterfaceSysctls returns the sysctls that the endpoint requests for its interface.
func (e Endpoint) InterfaceSysctls() []Sysctl {
	var out []Sysctl
	for _, s := range e.Spec.Sysctls {
		if part := sysctlForm.FindStringSubmatch(s); part != nil { // otherwise the request was not validated
			out = append(out, Sysctl{strings.Join([]string{"net", part[1], part[2], e.Interface, part[3]}, "/"),
				part[4]})
		}
	}
	return out
}

func validateSysctl(subject, s string) error {
	if sysctlForm.MatchString(s) {
		return nil
	}
	return fault.New(fault.Invalid, subject, "unrecognised network interface sysctl '"+s+
		"'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'",
		fault.WithField("driver-opt"))
}

func validateLinkLocal(subject string, a netip.Addr) error {
	if a.IsLinkLocalUnicast() && a.Zone() == "" && !a.Is4In6() {
		return nil
	}
	return fault.New(fault.Invalid, subject, "invalid link-local IP address: "+a.String(),
		fault.WithField("link-local-ip"),
		fault.WithHint("it is of 169.254.0.0/16 or of fe80::/10"))
}

// The prefix lengths of the link-local subnets.
const (
	linkLocalBits4 = 16
	linkLocalBits6 = 64
)

// LinkLocals returns the endpoint's link-local addresses. They belong to no pool, so only the user
// prevents duplicates.
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
