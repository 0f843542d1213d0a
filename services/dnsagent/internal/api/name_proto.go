package api

import (
	"net/netip"

	"github.com/fairlead/fairlead/proto/fault"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	"github.com/fairlead/fairlead/services/dnsagent/internal/names"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvconf"
)

// hostGateway is the keyword for the address of the host.
const hostGateway = "host-gateway"

// registrationFromProto converts and validates a request.
func registrationFromProto(req *dnsv1.RegisterRequest) (r registration.Registration, err error) {
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
		Egress:       req.GetEgress(),
	}

	if r.Addresses, err = addressesFromProto(r.Owner, "addresses", req.GetAddresses()); err != nil {
		return r, err
	}

	if r.HostGateways, err = addressesFromProto(r.Owner, "host_gateways", req.GetHostGateways()); err != nil {
		return r, err
	}

	if r.ExtraHosts, err = extraHostsFromProto(r.Owner, req.GetExtraHosts()); err != nil {
		return r, err
	}

	if r.Networks, err = networksFromProto(r.Owner, req.GetNetworks()); err != nil {
		return r, err
	}

	r.Aliases = aliasesFromProto(req.GetLinkAliases())
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

// updateFromProto converts an update request.
func updateFromProto(req *dnsv1.UpdateRequest) (u names.Update, err error) {
	if err := registration.CheckOwner(req.GetOwner()); err != nil {
		return u, err
	}
	if u.Addresses, err = addressesFromProto(req.GetOwner(), "addresses", req.GetAddresses()); err != nil {
		return u, err
	}
	if u.HostGateways, err = addressesFromProto(req.GetOwner(), "host_gateways", req.GetHostGateways()); err != nil {
		return u, err
	}
	u.Networks, err = networksFromProto(req.GetOwner(), req.GetNetworks())
	u.Aliases, u.Egress = aliasesFromProto(req.GetLinkAliases()), req.GetEgress()
	return u, err
}

// registeredToProto converts the result of a registration.
func registeredToProto(r names.Registered) *dnsv1.NameFiles {
	return &dnsv1.NameFiles{Owner: r.Owner, HostnamePath: r.Paths.Hostname, HostsPath: r.Paths.Hosts,
		ResolvConfPath: r.Paths.ResolvConf, Hostname: r.Hostname}
}

func networksFromProto(owner string, in []*dnsv1.NetworkRegistration) ([]registration.Network, error) {
	var out []registration.Network
	for _, n := range in {
		addresses, err := addressesFromProto(owner, "networks", n.GetAddresses())
		if err != nil {
			return nil, err
		}
		servers, err := addressesFromProto(owner, "networks", n.GetServers())
		if err != nil {
			return nil, err
		}
		out = append(out, registration.Network{ID: n.GetNetworkId(), Name: n.GetNetworkName(),
			Addresses: addresses, Names: n.GetNames(), Internal: n.GetInternal(),
			Servers: servers, Search: n.GetSearch(), Labels: n.GetLabels()})
	}

	return out, nil
}

func aliasesFromProto(in []*dnsv1.LinkAlias) []registration.Alias {
	var out []registration.Alias
	for _, a := range in {
		out = append(out, registration.Alias{Alias: a.GetAlias(), Name: a.GetName()})
	}
	return out
}

func addressesFromProto(owner, field string, texts []string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for _, s := range texts {
		addr, ok := addrFromProto(s)
		if !ok {
			return nil, fault.Invalidf(registration.Subject(owner), field, "%q is not an IP address", s)
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

func extraHostsFromProto(owner string, records []*dnsv1.ExtraHost) ([]registration.ExtraHost, error) {
	var hosts []registration.ExtraHost
	for _, rec := range records {
		e := registration.ExtraHost{Name: rec.GetName()}
		addr, ok := addrFromProto(rec.GetAddress())
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

// addrFromProto parses an address without a zone, which has no meaning in the hosts file of a
// container.
func addrFromProto(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(s)
	return addr.Unmap(), err == nil && addr.Zone() == ""
}
