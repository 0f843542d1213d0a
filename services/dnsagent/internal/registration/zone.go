package registration

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvconf"
	"github.com/fairlead/fairlead/services/dnsagent/internal/zone"
)

// ZoneContainer is what others on its networks may know of the container.
func (r *Registration) ZoneContainer() zone.Container {
	c := zone.Container{Owner: r.Owner, Addresses: r.Addresses}
	for _, n := range r.Networks {
		c.Members = append(c.Members, zone.Member{Network: n.ID, NetworkName: n.Name, Addresses: n.Addresses, Names: n.Names})
	}
	if len(r.Aliases) > 0 {
		c.Aliases = map[string][]string{}
	}
	for _, a := range r.Aliases {
		c.Aliases[a.Alias] = append(c.Aliases[a.Alias], a.Name)
	}
	return c
}

// Upstream says who is asked for the container what it asks and nobody here knows.
type Upstream struct {
	Servers []netip.Addr // asked from the container's network
	Host    bool         // in place of them those that the host uses, asked from the host's network
}

// Upstream is the container's. Its own servers win over those of its networks, these over the configured ones, and these over the host's.
// The host's are of no use to one that must not reach out of the host.
func (r *Registration) Upstream(configured resolvconf.Conf) Upstream {
	servers := r.Names.Servers
	if len(servers) == 0 {
		servers = r.networkServers()
	}
	if len(servers) == 0 {
		servers = configured.Servers
	}
	return Upstream{Servers: resolvconf.WithoutResolver(servers), Host: len(servers) == 0 && r.hasExternalNetwork()}
}

// networkServers are the name servers of all its networks, each once.
func (r *Registration) networkServers() []netip.Addr {
	var out []netip.Addr
	for _, n := range r.Networks {
		for _, s := range n.Servers {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

// NetworkSearch are the search domains of all its networks, each once. The container has them unless it has its own.
func (r *Registration) NetworkSearch() []string {
	var out []string
	for _, n := range r.Networks {
		for _, s := range n.Search {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

// hasExternalNetwork tells whether the container is on a network that leads out of the host. One of its addresses that is on none of the user
// networks is on the default network, which does.
func (r *Registration) hasExternalNetwork() bool {
	onUserNetworks := map[netip.Addr]bool{}
	for _, n := range r.Networks {
		if !n.Internal {
			return true
		}
		for _, a := range n.Addresses {
			onUserNetworks[a] = true
		}
	}
	return slices.ContainsFunc(r.Addresses, func(a netip.Addr) bool { return !onUserNetworks[a] })
}
