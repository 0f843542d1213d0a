package netagent

import (
	"bytes"
	"fmt"
	"net/netip"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// fallbackBridge is the default bridge on a host where the usual one is another engine's.
const fallbackBridge = "fairlead0"

// avoidForeignBridge keeps the default bridge away from that of another engine, Docker's as a rule, that has the same name and is up; one that is down
// is nobody's, and ours to put right. Unless the configuration
// names it, it gets another name, and a subnet that the host has no route to; and keeps both, as the other engine may be started later
// next time, and would take a bridge of its name for its own.
func avoidForeignBridge(s network.BridgeSettings, host *kernel.Host, db *store.Store) (network.BridgeSettings, error) {
	have, known := db.NetworkNamed(network.NameBridge)
	if s.BridgeName == "" && known && have.Bridge == fallbackBridge {
		s.BridgeName = fallbackBridge
		if !s.Bip.IsValid() && !s.FixedCIDR.IsValid() {
			s.Bip = have.Pools[0].HostPrefix()
		}
		return s, nil
	}
	if s.NoBridge || s.BridgeName != "" && s.BridgeName != network.DefaultBridgeName {
		return s, nil
	}
	link, there, err := host.Link(network.DefaultBridgeName)
	if err != nil || !there || link.Kind != "bridge" || !link.Up || isOwnBridge(link, s, have) {
		return s, err
	}
	if s.BridgeName != "" {
		return s, fault.New(fault.Busy, "bridge "+s.BridgeName, "is another container engine's: its hardware address is none that we give",
			fault.WithField("bridge"), fault.WithHint("name another with bridge, or none: then %s is used", fallbackBridge))
	}
	s.BridgeName = fallbackBridge
	if !s.Bip.IsValid() && !s.FixedCIDR.IsValid() {
		s.Bip, err = freeBip(host)
	}
	return s, err
}

// isOwnBridge knows our bridge by the hardware address that it has after its own address, now or before a change of the configuration.
func isOwnBridge(link kernel.Link, s network.BridgeSettings, have store.Network) bool {
	gateways := []netip.Addr{s.WithDefaults().Bip.Addr()}
	if have.Bridge == link.Name {
		if bytes.Equal(link.MAC, have.BridgeMAC()) {
			return true
		}
		for _, p := range have.AllPools() {
			gateways = append(gateways, p.Gateway)
		}
	}
	for _, g := range gateways {
		if bytes.Equal(link.MAC, network.MACOf(g)) {
			return true
		}
	}
	return false
}

// freeBip is the first address in the first of Docker's subnets that overlaps no route of the host.
func freeBip(host *kernel.Host) (netip.Prefix, error) {
	routes, err := host.Routes()
	if err != nil {
		return netip.Prefix{}, err
	}
next:
	for second := byte(18); second < 32; second++ {
		bip := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, second, 0, 1}), 16)
		for _, r := range routes {
			if r.To.Overlaps(bip) && r.To.Bits() >= 8 {
				continue next
			}
		}
		return bip, nil
	}
	return netip.Prefix{}, fault.New(fault.Exhausted, fmt.Sprintf("bridge %s", fallbackBridge), "no subnet from 172.18.0.0/16 to 172.31.0.0/16 is free",
		fault.WithField("bip"), fault.WithHint("give the default network one with bip"))
}
