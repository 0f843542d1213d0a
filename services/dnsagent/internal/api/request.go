package api

import (
	"net/netip"

	"github.com/fairlead/fairlead/proto/fault"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvconf"
)

// hostGateway is the keyword for the address of the host.
const hostGateway = "host-gateway"

// registrationOf converts and validates a request.
func registrationOf(req *dnsv1.RegisterRequest) (r registration.Registration, err error) {
	if err := registration.CheckOwner(req.GetOwner()); err != nil {
		return r, err // first, since other faults name the owner
	}

	r = registration.Registration{
		Owner:        req.GetOwner(),
		Source:       registration.FileSource(req.GetFileSource()),
		Hostname:     req.GetHostname(),
		Domainname:   req.GetDomainname(),
		Names:        resolvconf.Conf{Search: req.GetSearch(), Options: req.GetOptions()},
		IPv6Disabled: req.GetIpv6Disabled(),
		SharesWith:   req.GetSharesWith(),
	}

	if r.Addresses, err = addressesOf(r.Owner, "addresses", req.GetAddresses()); err != nil {
		return r, err
	}

	if r.HostGateways, err = addressesOf(r.Owner, "host_gateways", req.GetHostGateways()); err != nil {
		return r, err
	}

	if r.ExtraHosts, err = extraHostsOf(r.Owner, req.GetExtraHosts()); err != nil {
		return r, err
	}

	if r.Networks, err = networksOf(r.Owner, req.GetNetworks()); err != nil {
		return r, err
	}

	r.Aliases = aliasesOf(req.GetLinkAliases())
	for _, s := range req.GetServers() {
		addr, ok := resolvconf.ParseServer(s)
		if !ok {
			return r, fault.Invalidf(registration.Subject(r.Owner), "dns",
				"IP address is not correctly formatted: %s", registration.QuoteValue(s))
		}
		r.Names.Servers = append(r.Names.Servers, addr)
	}

	return r, r.Validate()
}

// updateOf converts an update request.
func updateOf(req *dnsv1.UpdateRequest) (u Update, err error) {
	if err := registration.CheckOwner(req.GetOwner()); err != nil {
		return u, err
	}
	if u.Addresses, err = addressesOf(req.GetOwner(), "addresses", req.GetAddresses()); err != nil {
		return u, err
	}
	if u.HostGateways, err = addressesOf(req.GetOwner(), "host_gateways", req.GetHostGateways()); err != nil {
		return u, err
	}
	u.Networks, err = networksOf(req.GetOwner(), req.GetNetworks())
	u.Aliases = aliasesOf(req.GetLinkAliases())
	return u, err
}

func networksOf(owner string, in []*dnsv1.NetworkRegistration) ([]registration.Network, error) {
	var out []registration.Network
	for _, n := range in {
		addresses, err := addressesOf(owner, "networks", n.GetAddresses())
		if err != nil {
			return nil, err
		}
		servers, err := addressesOf(owner, "networks", n.GetServers())
		if err != nil {
			return nil, err
		}
		out = append(out, registration.Network{ID: n.GetNetworkId(), Name: n.GetNetworkName(),
			Addresses: addresses, Names: n.GetNames(), Internal: n.GetInternal(),
			Servers: servers, Search: n.GetSearch()})
	}

	return out, nil
}

func aliasesOf(in []*dnsv1.LinkAlias) []registration.Alias {
	var out []registration.Alias
	for _, a := range in {
		out = append(out, registration.Alias{Alias: a.GetAlias(), Name: a.GetName()})
	}
	return out
}

func addressesOf(owner, field string, texts []string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for _, s := range texts {
		addr, ok := parseAddr(s)
		if !ok {
			return nil, fault.Invalidf(registration.Subject(owner), field, "%q is not an IP address", s)
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

func extraHostsOf(owner string, records []*dnsv1.ExtraHost) ([]registration.ExtraHost, error) {
	var hosts []registration.ExtraHost
	for _, rec := range records {
		e := registration.ExtraHost{Name: rec.GetName()}
		addr, ok := parseAddr(rec.GetAddress())
		switch {
		case e.Name == "" || rec.GetAddress() == "":
			return nil, fault.Invalidf(registration.Subject(owner), "add-host", "bad format for add-host: %q",
				e.Name+rec.GetAddress())
		case rec.GetAddress() == hostGateway:
			e.Gateway = true
		case ok:
			e.Addr = addr
		default:
			return nil, fault.Invalidf(registration.Subject(owner), "add-host",
				"invalid IP address in add-host: %q", rec.GetAddress())
		}
		hosts = append(hosts, e)
	}

	return hosts, nil
}

// parseAddr parses an address without a zone, which has no meaning in the hosts file of a
// container.
func parseAddr(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(s)
	return addr.Unmap(), err == nil && addr.Zone() == ""
}
