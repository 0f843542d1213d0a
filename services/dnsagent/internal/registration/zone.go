package registration

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvconf"
	"github.com/fairlead/fairlead/services/dnsagent/internal/zone"
)

// ZoneContainer returns the names and addresses of the container for the zone.
func (r *Registration) ZoneContainer() zone.Container {
	c := zone.Container{Owner: r.Owner, Addresses: r.Addresses}
	for _, n := range r.Networks {
		c.Members = append(c.Members, zone.Member{Network: n.ID, NetworkName: n.Name, Addresses: n.Addresses,
			Names: n.Names})
	}
	if len(r.Aliases) > 0 {
		c.Aliases = map[string][]string{}
	}
	for _, a := range r.Aliases {
		c.Aliases[a.Alias] = append(c.Aliases[a.Alias], a.Name)
	}
	return c
}

// Upstream holds what determines the answers to a container about other names than those of containers.
type Upstream struct {
	Servers []netip.Addr // reached from the container's network
	Host    bool         // use the host's servers, from the host network

	Networks []string // names of its user networks, in lookup order
	External bool     // it is not on internal networks only
}

// Upstream returns the upstreams of the container: its own servers, else those of its networks,
// else the configured ones, else the host's. A container on internal networks only does not use the
// host's.
func (r *Registration) Upstream(configured resolvconf.Conf) Upstream {
	servers := r.Names.Servers
	if len(servers) == 0 {
		servers = r.networkServers()
	}
	if len(servers) == 0 {
		servers = configured.Servers
	}
	up := Upstream{Servers: resolvconf.WithoutResolver(servers), External: r.hasExternalNetwork()}
	up.Host = len(servers) == 0 && up.External
	for _, n := range r.Networks {
		up.Networks = append(up.Networks, n.Name)
	}
	return up
}

// networkServers returns the name servers of all its networks, without duplicates.
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

// NetworkSearch returns the search domains of all its networks, without duplicates. The container's
// own ones take precedence.
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

// hasExternalNetwork reports whether the container is on a network that is not internal. An address
// on none of the user networks belongs to the default network.
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
