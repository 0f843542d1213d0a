package defaultnet

import (
	"bytes"
	"fmt"
	"net/netip"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// FallbackBridge is the name of the default bridge if another engine uses the usual one.
const FallbackBridge = "fairlead0"

// AvoidForeignBridge chooses another default bridge if that of another engine, usually Docker, has
// the same name and is up. A bridge that is down is reused.
//
// Unless the configuration names a bridge, it chooses the fallback name and a subnet without a host
// route. Both are kept afterwards: the other engine could start later next time and use a bridge of
// its name.
func AvoidForeignBridge(s network.BridgeSettings, host *kernel.Host, db *store.Store) (network.BridgeSettings, error) {
	have, known := db.NetworkNamed(network.NameBridge)
	if s.BridgeName == "" && known && have.Bridge().Device == FallbackBridge {
		s.BridgeName = FallbackBridge
		if !s.Bip.IsValid() && !s.FixedCIDR.IsValid() {
			s.Bip = have.Spec.Pools[0].HostPrefix()
		}
		return s, nil
	}

	if s.NoBridge || s.BridgeName != "" && s.BridgeName != network.DefaultBridgeName {
		return s, nil
	}

	link, exists, err := host.Link(network.DefaultBridgeName)
	if err != nil || !exists || link.Kind != "bridge" || !link.Up || isOwnBridge(link, s, have) {
		return s, err
	}

	if s.BridgeName != "" {
		return s, fault.New(fault.Busy, "bridge "+s.BridgeName,
			"belongs to another container engine (unexpected MAC address)",
			fault.WithField("bridge"),
			fault.WithHint("choose another name for the key bridge, or unset it to use %s", FallbackBridge))
	}

	s.BridgeName = FallbackBridge
	if !s.Bip.IsValid() && !s.FixedCIDR.IsValid() {
		s.Bip, err = freeBip(host)
	}

	return s, err
}

// isOwnBridge reports whether a bridge has the MAC address that Fairlead derives from its current
// or former address.
func isOwnBridge(link kernel.Link, s network.BridgeSettings, have store.Network) bool {
	gateways := []netip.Addr{s.WithDefaults().Bip.Addr()}
	if have.Bridge().Device == link.Name {
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

// freeBip returns the first address in Docker's first subnet without an overlapping host route.
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

	return netip.Prefix{}, fault.New(fault.Exhausted, fmt.Sprintf("bridge %s", FallbackBridge),
		"no subnet from 172.18.0.0/16 to 172.31.0.0/16 is free",
		fault.WithField("bip"), fault.WithHint("set a subnet with bip"))
}
