package registration

import (
	"net/netip"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/dnsagent/internal/hostsfile"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvconf"
)

// SharedContents returns the three files of a container that shares the network of another. They
// are those of the other, with a line for its own hostname. If with is nil, the other is released,
// and only the loopback address remains.
func (r *Registration) SharedContents(with *Registration, host HostFiles, configured resolvconf.Conf) Contents {
	if with == nil {
		with = &Registration{Source: Generated}
	}

	c := with.Contents(host, configured)
	name := r.HostName(host.Name)
	c.Hostname = []byte(name + "\n")
	hosts := append([]byte(nil), c.Hosts...)
	if n := len(hosts); n > 0 && hosts[n-1] != '\n' {
		hosts = append(hosts, '\n')
	}

	for _, a := range with.reachable() {
		hosts = append(hosts, hostsfile.Record{Addr: a, Names: []string{name}}.Line()...)
	}

	c.Hosts = hosts
	return c
}

// reachable returns the addresses of the container's own hostname.
func (r *Registration) reachable() []netip.Addr {
	var usable []netip.Addr
	for _, a := range r.Addresses {
		if a.Is4() || !r.IPv6Disabled {
			usable = append(usable, a)
		}
	}
	if len(usable) == 0 {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	return usable
}

// validateShared returns an error for fields that come from the container whose network is shared.
func (r *Registration) validateShared() error {
	switch {
	case (r.SharesWith != "") != (r.Source == Shared):
		return r.invalid("shares_with", "requires source shared, and source shared requires it")
	case r.Source != Shared:
		return nil
	case !id.Valid(r.SharesWith) || r.SharesWith == r.Owner:
		return r.invalid("shares_with", "%q is not the UID of another container", r.SharesWith)
	case len(r.Addresses)+len(r.ExtraHosts)+len(r.Names.Servers)+len(r.Names.Search)+len(r.Names.Options) > 0:
		return r.invalid("shares_with", "addresses, hosts and name servers cannot be combined with a shared network")
	}
	return nil
}
