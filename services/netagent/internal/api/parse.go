package api

import (
	"net/netip"

	"github.com/fairlead/fairlead/proto/egress/limitpb"
	"github.com/fairlead/fairlead/proto/fault"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

func wantedIn(req *networkv1.CreateNetworkRequest) (network.Draft, error) {
	out := network.Draft{ID: req.GetId(), Name: req.GetName(), Driver: req.GetDriver(), Internal: req.GetInternal(),
		IPv4: req.Ipv4,
		IPv6: req.Ipv6, Labels: req.GetLabels(), Options: req.GetOptions(), Egress: req.GetEgress(),
		Limits:     limitpb.FromProto(req.GetLimits()),
		ConfigOnly: req.GetConfigOnly(), ConfigFrom: req.GetConfigFrom(), IPAM: req.GetIpamDriver(),
		Attachable: req.GetAttachable(), IPAMOptions: req.GetIpamOptions()}
	for _, p := range req.GetPools() {
		pool, err := poolIn("network "+req.GetName(), p)
		if err != nil {
			return out, err
		}
		out.Pools = append(out.Pools, pool)
	}

	var err error
	out.DNS, err = addrsIn("network "+req.GetName(), "dns", req.GetDns())
	return out, err
}

func poolIn(subject string, p *networkv1.PoolSpec) (out network.PoolSpec, err error) {
	if out.Subnet, err = prefixIn(subject, "subnet", p.GetSubnet()); err != nil {
		return out, err
	}

	if out.Range, err = prefixIn(subject, "ip-range", p.GetIpRange()); err != nil {
		return out, err
	}

	if out.Gateway, err = addrIn(subject, "gateway", p.GetGateway()); err != nil {
		return out, err
	}

	for name, text := range p.GetAuxAddresses() {
		addr, err := addrIn(subject, "aux-address", text)
		if err != nil {
			return out, err
		}
		if out.Aux == nil {
			out.Aux = map[string]netip.Addr{}
		}
		out.Aux[name] = addr
	}

	return out, nil
}

// addrIn parses an address; empty is zero.
func addrIn(subject, field, text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return addr, fault.Invalidf(subject, field, "invalid IP address: %s", text)
	}
	return addr, nil
}

// addrsIn parses a list of addresses.
func addrsIn(subject, field string, texts []string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, text := range texts {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fault.Invalidf(subject, field, "IP address is not correctly formatted: %s", text)
		}
		out = append(out, addr.Unmap())
	}
	return out, nil
}

// prefixIn parses a prefix; empty is zero.
func prefixIn(subject, field, text string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return prefix, fault.Invalidf(subject, field, "invalid CIDR block: %s", text)
	}
	return prefix, nil
}
