package resolvconf

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// stub is where systemd-resolved listens on a host.
var stub = netip.AddrFrom4([4]byte{127, 0, 0, 53})

// IsStub tells whether the only server is systemd-resolved's own, so that the real ones are to be read from its other file.
func (c Conf) IsStub() bool {
	return len(c.Servers) > 0 && !slices.ContainsFunc(c.Servers, func(s netip.Addr) bool { return s != stub })
}

// ForContainer keeps of a host's settings what works in a network namespace of its own. Loopback servers are out of reach there,
// servers with a zone name an interface of the host, and IPv6 ones need an IPv6 address. If none is left, the well-known public
// ones take their place, without the host's options, as those were meant for the host's servers.
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

// resolver is where the embedded resolver is in every container that has one.
var resolver = netip.AddrFrom4([4]byte{127, 0, 0, 11})

// ForResolver leaves the embedded resolver as the only server. The others are for it to ask. Names without a dot are asked for as they
// are first, unless somebody wants it otherwise: they are those of other containers.
func (c Conf) ForResolver() Conf {
	out := Conf{Search: c.Search, Servers: []netip.Addr{resolver}, Options: slices.Clone(c.Options)}
	out.Options = slices.DeleteFunc(out.Options, func(o string) bool { return strings.HasPrefix(o, ndots) && !validNdots(o) })
	if !slices.ContainsFunc(out.Options, validNdots) {
		out.Options = append(out.Options, "ndots:0")
	}
	return out
}

const ndots = "ndots:"

// validNdots tells whether an option says how many dots a name must have to be asked for as it is first.
func validNdots(option string) bool {
	count, found := strings.CutPrefix(option, ndots)
	_, err := strconv.ParseUint(count, 10, 31)
	return found && err == nil
}

// WithoutResolver leaves out the embedded resolver's own address, which would ask itself.
func WithoutResolver(servers []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(servers), func(s netip.Addr) bool { return s == resolver })
}

// publicServers are the ones that Docker takes where the host has none to offer.
func publicServers(ipv6 bool) []netip.Addr {
	servers := []netip.Addr{netip.AddrFrom4([4]byte{8, 8, 8, 8}), netip.AddrFrom4([4]byte{8, 8, 4, 4})}
	if ipv6 {
		servers = append(servers, netip.MustParseAddr("2001:4860:4860::8888"), netip.MustParseAddr("2001:4860:4860::8844"))
	}
	return servers
}

// Merge fills what c leaves empty from next, each list for itself.
func (c Conf) Merge(next Conf) Conf {
	return Conf{
		Search:  either(c.Search, next.Search),
		Servers: either(c.Servers, next.Servers),
		Options: either(c.Options, next.Options),
	}
}

// MergeHost fills what c leaves empty from the host's settings. The host's options come with the host's servers only: "trust-ad",
// for one, would be a lie about any other. A search list of "." alone means none.
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
