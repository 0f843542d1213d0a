package explain

import (
	"context"
	"net"
	"net/netip"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/hostfirewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// Port is a port of the host.
type Port struct {
	Protocol port.Protocol
	Number   uint16
}

// Blocked is a port that the host firewall closes to other hosts.
type Blocked struct {
	Port
	From netip.Prefix // the hosts
	By   hostfirewall.Block
}

// Reason returns a human-readable description.
func (b Blocked) Reason() string {
	hosts := "other hosts"
	if b.From.Bits() > 0 {
		hosts = "hosts of " + b.From.String()
	}
	return "closed to " + hosts + ", " + b.By.String()
}

// BlockedPorts returns the ports of a host address that the host firewall certainly closes to the other hosts of its
// subnet, or to hosts outside if it has none.
func (e *Explainer) BlockedPorts(ctx context.Context, to netip.Addr, ports []Port) (all []Blocked, err error) {
	subnet, err := subnetOf(e.ns, to)
	if err != nil {
		return nil, err
	}
	from := neighbour(subnet, to)
	for _, p := range ports {
		if by, closed := e.input.Blocked(ctx, p.Protocol, netip.AddrPortFrom(to, p.Number), from); closed {
			all = append(all, Blocked{p, subnet, by})
		}
	}
	return all, nil
}

// subnetOf returns the subnet of a host address. It is all addresses if the address has none.
func subnetOf(ns hostns.NS, to netip.Addr) (subnet netip.Prefix, err error) {
	subnet = netip.PrefixFrom(to, 0).Masked()
	err = ns.Do(func() error {
		own, err := net.InterfaceAddrs()
		for _, a := range own {
			p, perr := netip.ParsePrefix(a.String())
			if perr == nil && p.Addr().Unmap() == to && p.Bits() > subnet.Bits() && p.Bits() < to.BitLen() {
				subnet = p
			}
		}
		return err
	})
	return subnet.Masked(), err
}

// neighbour returns another address of a subnet, which is not its first or last one if there are more.
func neighbour(subnet netip.Prefix, to netip.Addr) netip.Addr {
	if subnet.Bits() == 0 {
		return hostfirewall.ExternalAddr(to.Is4())
	}
	for _, other := range []netip.Addr{to.Next(), to.Prev()} {
		inner := subnet.Contains(other.Next()) && subnet.Contains(other.Prev())
		if subnet.Contains(other) && (inner || subnet.Bits() == to.BitLen()-1) {
			return other
		}
	}
	return hostfirewall.ExternalAddr(to.Is4())
}
