package ledger

import (
	"fmt"
	"net/netip"
	"regexp"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/proto/tunnel"
	"github.com/fairlead/fairlead/services/fleetagent/internal/blocks"
)

// Limits of MTUs.
const (
	usualUnderlay = 1500
	minMTU        = 68
	minMTU6       = 1280
)

// Limits of subnets. Larger IPv6 subnets have no use, and smaller subnets no address.
const (
	minBits4, maxBits4 = 8, 30
	minBits6, maxBits6 = 64, 126
)

func subject(n *fleetv1.OverlayNetwork) string { return "network " + n.GetName() }

func invalid(n *fleetv1.OverlayNetwork, field, format string, args ...any) error {
	return fault.Invalidf(subject(n), field, format, args...)
}

// check refuses a network that could not be used, and fills in gateways.
func check(n *fleetv1.OverlayNetwork) error {
	switch {
	case !id.Valid(n.GetId()):
		return invalid(n, "id", "%q is not 64 hexadecimal digits", n.GetId())
	case !validName(n.GetName()):
		return invalid(n, "name", "%q is not a valid name", n.GetName())
	case len(n.GetPools()) > 2 || len(n.GetPools()) == 2 && is6(n.GetPools()[0]) == is6(n.GetPools()[1]):
		return invalid(n, "pools", "has several subnets of one address family")
	}
	for _, text := range n.GetDns() {
		if _, err := netip.ParseAddr(text); err != nil {
			return invalid(n, "dns", "%q is not an IP address", text)
		}
	}
	for _, p := range n.GetPools() {
		if err := checkPool(n, p); err != nil {
			return err
		}
	}
	return nil
}

var namePattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)

func validName(name string) bool { return namePattern.MatchString(name) }

func is6(p *fleetv1.OverlayPool) bool {
	s, err := netip.ParsePrefix(p.GetSubnet())
	return err == nil && s.Addr().Is6()
}

func checkPool(n *fleetv1.OverlayNetwork, p *fleetv1.OverlayPool) error {
	subnet, err := netip.ParsePrefix(p.GetSubnet())
	if err != nil || subnet.Addr().Is4In6() {
		return invalid(n, "subnet", "%q is not a subnet such as 10.1.0.0/20", p.GetSubnet())
	}
	least, most := minBits4, maxBits4
	if subnet.Addr().Is6() {
		least, most = minBits6, maxBits6
	}
	switch {
	case subnet != subnet.Masked():
		return invalid(n, "subnet", "%s has host bits; use %s", subnet, subnet.Masked())
	case subnet.Bits() < least || subnet.Bits() > most:
		return invalid(n, "subnet", "%s: use a prefix length from %d to %d", subnet, least, most)
	}
	if p.GetGateway() == "" {
		p.Gateway = subnet.Addr().Next().String()
	}
	return checkAddresses(n, p, subnet)
}

// checkAddresses checks gateway, range and auxiliary addresses of a pool.
func checkAddresses(n *fleetv1.OverlayNetwork, p *fleetv1.OverlayPool, subnet netip.Prefix) error {
	usable := func(text string) bool {
		a, err := netip.ParseAddr(text)
		return err == nil && subnet.Contains(a) && a != subnet.Addr() && (a.Is6() || a != blocks.Last(subnet))
	}
	if !usable(p.GetGateway()) {
		return invalid(n, "gateway", "%s is not an address of %s", p.GetGateway(), subnet)
	}
	for name, text := range p.GetAuxAddresses() {
		if !usable(text) {
			return invalid(n, "aux-address", "%s=%s is not an address of %s", name, text, subnet)
		}
	}
	if p.GetIpRange() == "" {
		return nil
	}
	r, err := netip.ParsePrefix(p.GetIpRange())
	if err != nil || r != r.Masked() || r.Bits() < subnet.Bits() || !subnet.Contains(r.Addr()) {
		return invalid(n, "ip-range", "%s is not a part of %s", p.GetIpRange(), subnet)
	}
	return nil
}

// reserved returns the addresses of a pool that no container gets.
func reserved(p *fleetv1.OverlayPool, subnet netip.Prefix) []netip.Addr {
	all := []netip.Addr{subnet.Addr()}
	if subnet.Addr().Is4() {
		all = append(all, blocks.Last(subnet))
	}
	texts := []string{p.GetGateway()}
	for _, text := range p.GetAuxAddresses() {
		texts = append(texts, text)
	}
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil {
			all = append(all, a)
		}
	}
	return all
}

// fitMTU sets the MTU of a network to the largest that fits all hosts, or checks the given one.
func fitMTU(n *fleetv1.OverlayNetwork, hosts map[string]*fleetv1.Host, infos map[string]*fleetv1.HostInfo) error {
	underlay, who, over6 := uint32(usualUnderlay), "", false
	for key, h := range hosts {
		if a, err := netip.ParseAddr(h.GetAddress()); err == nil && a.Is6() {
			over6 = true
		}
		if mtu := infos[key].GetUnderlayMtu(); mtu > 0 && (who == "" || mtu < underlay) {
			underlay, who = mtu, h.GetName()
		}
	}
	most := underlay - min(underlay, uint32(tunnel.Overhead(n.GetEncrypted(), over6)))
	if n.GetMtu() == 0 {
		n.Mtu = most
	}

	least := uint32(minMTU)
	for _, p := range n.GetPools() {
		if is6(p) {
			least = minMTU6
		}
	}
	switch {
	case n.GetMtu() > most:
		return invalid(n, "mtu", "%d is too large: the MTU between hosts is %d%s, which leaves %d", n.GetMtu(),
			underlay, of(who), most)
	case n.GetMtu() < least:
		return invalid(n, "mtu", "%d is too small: the network needs %d; the MTU between hosts is %d%s", n.GetMtu(),
			least, underlay, of(who))
	}
	return nil
}

func of(host string) string {
	if host == "" {
		return ""
	}
	return fmt.Sprintf(" (host %s)", host)
}
