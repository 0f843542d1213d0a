package resolvconf

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// stub is the address of systemd-resolved on a host.
var stub = netip.AddrFrom4([4]byte{127, 0, 0, 53})

// IsStub reports whether systemd-resolved is the only server. Its upstream servers are in another
// file.
func (c Conf) IsStub() bool {
	return len(c.Servers) > 0 && !slices.ContainsFunc(c.Servers, func(s netip.Addr) bool { return s != stub })
}

// ForContainer returns the host settings that work in another network namespace. Loopback servers
// and those with a zone are unreachable there, and IPv6 ones need an IPv6 address.
//
// If no server remains, it uses public servers, without the host's options, which belong to the
// host's servers.
func (c Conf) ForContainer(ipv6 bool) Conf {
	usable := func(s netip.Addr) bool {
		return !s.IsLoopback() && s.Zone() == "" && (s.Is4() || ipv6)
	}

	out := Conf{Search: c.Search, Options: c.Options}
	for _, s := range c.Servers {
		if usable(s) {
			out.Servers = append(out.Servers, s)
		}
	}

	if len(out.Servers) == 0 {
		out.Servers, out.Options = publicServers(ipv6), nil
	}

	return out
}

// resolver is the address of the embedded resolver in containers.
var resolver = netip.AddrFrom4([4]byte{127, 0, 0, 11})

// ForResolver returns settings with the embedded resolver as the only server. Unless ndots is set,
// it is 0, since names of other containers have no dots.
func (c Conf) ForResolver() Conf {
	out := Conf{Search: c.Search, Servers: []netip.Addr{resolver}, Options: slices.Clone(c.Options)}
	out.Options = slices.DeleteFunc(out.Options, func(o string) bool {
		return strings.HasPrefix(o, ndots) &&
			!validNdots(o)
	})
	if !slices.ContainsFunc(out.Options, validNdots) {
		out.Options = append(out.Options, "ndots:0")
	}
	return out
}

const ndots = "ndots:"

// validNdots reports whether an option is a valid ndots setting.
func validNdots(option string) bool {
	count, found := strings.CutPrefix(option, ndots)
	_, err := strconv.ParseUint(count, 10, 31)
	return found && err == nil
}

// WithoutResolver removes the address of the embedded resolver, which would query itself.
func WithoutResolver(servers []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(servers), func(s netip.Addr) bool { return s == resolver })
}

// publicServers returns the servers that Docker uses if the host has no usable ones.
func publicServers(ipv6 bool) []netip.Addr {
	servers := []netip.Addr{netip.AddrFrom4([4]byte{8, 8, 8, 8}), netip.AddrFrom4([4]byte{8, 8, 4, 4})}
	if ipv6 {
		servers = append(servers, netip.MustParseAddr("2001:4860:4860::8888"),
			netip.MustParseAddr("2001:4860:4860::8844"))
	}
	return servers
}

// Merge replaces each empty list of c by that of next.
func (c Conf) Merge(next Conf) Conf {
	return Conf{
		Search:  either(c.Search, next.Search),
		Servers: either(c.Servers, next.Servers),
		Options: either(c.Options, next.Options),
	}
}

// MergeHost replaces empty lists of c by the host's. The host's options apply only to its own
// servers, for example "trust-ad". A search list of only "." becomes empty.
func (c Conf) MergeHost(host Conf) Conf {
	if len(c.Servers) > 0 {
		host.Options = nil
	}
	out := c.Merge(host)
	out.Search = slices.DeleteFunc(slices.Clone(out.Search), func(s string) bool { return s == "." })
	return out
}

func either[T any](a, b []T) []T {
	if len(a) > 0 {
		return a
	}
	return b
}
