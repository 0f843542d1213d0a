package bridge_test

import (
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/agent/id"
	"github.com/fairlead/fairlead/agent/testns"
	"github.com/fairlead/fairlead/services/netagent/driver/bridge"
	"github.com/fairlead/fairlead/services/netagent/driver/drivertest"
	"github.com/fairlead/fairlead/services/netagent/kernel"
	"github.com/fairlead/fairlead/services/netagent/network"
)

func TestBridgePassesTheSuite(t *testing.T) {
	drivertest.Run(t, func(t *testing.T) drivertest.Subject {
		n := network.Settings{BridgeName: "br0", FixedCIDRv6: netip.MustParsePrefix("fd00:7::/64")}.WithDefaults().Predefined()[0]
		n.ID = id.New()
		ns := testns.New(t)
		guard := openGuard(t, ns)
		return drivertest.Subject{Host: ns, Network: n, Others: []netip.Addr{n.Pools[0].Gateway, n.Pools[1].Gateway},
			New: func(h *kernel.Host, _ func() []network.Network, _ func() []network.Sandbox) drivertest.Driver {
				return bridge.New(h, guard)
			}}
	})
}
