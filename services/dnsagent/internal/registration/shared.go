package registration

import (
	"net/netip"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/dnsagent/internal/hostsfile"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvconf"
)

// SharedContents returns the three files of a container that shares the network of another one: the other's, with a line for its
// own host name at the other's addresses. Nil means that the other is gone, and with it all addresses but the loopback one.
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

// reachable are the addresses that the container's own name has.
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

// validateShared refuses what a container has of the one whose network it shares.
func (r *Registration) validateShared() error {
	switch {
	case (r.SharesWith != "") != (r.Source == Shared):
		return r.invalid("shares_with", "the container whose network is shared is given with source shared, and only then")
	case r.Source != Shared:
		return nil
	case !id.Valid(r.SharesWith) || r.SharesWith == r.Owner:
		return r.invalid("shares_with", "%q is not the UID of another container", r.SharesWith)
	case len(r.Addresses)+len(r.ExtraHosts)+len(r.Names.Servers)+len(r.Names.Search)+len(r.Names.Options) > 0:
		return r.invalid("shares_with", "addresses, hosts and name servers are those of the container whose network is shared")
	}
	return nil
}
