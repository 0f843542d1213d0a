package kernel

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// GatewayRoute is the route to the subnet of an interface whose other addresses are not on-link: all
// are reached through the gateway, which is.
type GatewayRoute struct {
	To      netip.Prefix
	Gateway netip.Addr
}

// addGatewayRoutes adds the missing routes of an interface.
func (n *Namespace) addGatewayRoutes(index int, want []GatewayRoute) (changes []string, err error) {
	if len(want) == 0 {
		return nil, nil
	}

	all, err := retried(func() ([]netlink.Route, error) {
		return n.handle.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{LinkIndex: index}, netlink.RT_FILTER_OIF)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}

	have := map[netip.Prefix]bool{}
	for _, r := range all {
		have[prefixOf(r.Dst)] = true
	}

	for _, w := range want {
		gateway := netip.PrefixFrom(w.Gateway, w.Gateway.BitLen())
		for _, r := range []TunnelRoute{{To: gateway}, {To: w.To, Via: w.Gateway}} {
			if have[r.To] {
				continue
			}
			route := &netlink.Route{LinkIndex: index, Dst: ipNet(r.To), Gw: r.Via.AsSlice()}
			err = errors.Join(err, wrap("route to "+r.To.String(), retry(func() error {
				return n.handle.RouteAdd(route)
			})))
			changes = append(changes, "route to "+r.To.String())
		}
	}

	return changes, err
}
