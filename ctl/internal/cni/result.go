package cni

import (
	"net"
	"net/netip"
	"strconv"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/fairlead/fairlead/proto/fault"
)

// Result returns the result of ADD in the newest version.
func Result(a Attachment, c Config, added Added) (*types100.Result, error) {
	e := added.Endpoint
	out := &types100.Result{CNIVersion: types100.ImplementedSpecVersion, DNS: c.dns()}
	if added.Named {
		out.DNS.Nameservers = []string{resolverAddress}
	}
	if e.GetHostInterface() != "" {
		out.Interfaces = append(out.Interfaces, &types100.Interface{Name: e.GetHostInterface()})
	}
	inside := len(out.Interfaces)
	out.Interfaces = append(out.Interfaces, &types100.Interface{Name: e.GetInterfaceName(), Mac: e.GetMacAddress(),
		Sandbox: a.Namespace})

	for _, family := range []struct{ address, gateway, all string }{
		{e.GetIpv4Address(), e.GetIpv4Gateway(), "0.0.0.0/0"}, {e.GetIpv6Address(), e.GetIpv6Gateway(), "::/0"},
	} {
		if family.address == "" {
			continue
		}
		address, err := ipNet(family.address)
		if err != nil {
			return nil, err
		}
		ip := &types100.IPConfig{Interface: types100.Int(inside), Address: *address}
		if gateway := net.ParseIP(family.gateway); gateway != nil {
			ip.Gateway = gateway
			all, _ := ipNet(family.all)
			out.Routes = append(out.Routes, &types.Route{Dst: *all, GW: gateway})
		}
		out.IPs = append(out.IPs, ip)
	}
	return out, nil
}

// ipNet converts an address with a prefix length.
func ipNet(text string) (*net.IPNet, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, fault.New(fault.Internal, "address "+text, "is not an address with a prefix length")
	}
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}, nil
}

// dns returns the DNS settings of the runtime, or else of the configuration.
func (c Config) dns() types.DNS {
	if r := c.Runtime.DNS; len(r.Servers)+len(r.Searches)+len(r.Options) > 0 {
		return types.DNS{Nameservers: r.Servers, Search: r.Searches, Options: r.Options}
	}
	return *c.DNS.Copy()
}

func portText(port uint32) string { return strconv.FormatUint(uint64(port), 10) }
