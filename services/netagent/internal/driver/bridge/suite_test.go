package bridge_test

import (
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/driver/bridge"
	"github.com/fairlead/fairlead/services/netagent/internal/driver/drivertest"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

func TestBridgeDriver(t *testing.T) {
	drivertest.Run(t, func(t *testing.T) drivertest.Subject {
		n := network.BridgeSettings{BridgeName: "br0",
			FixedCIDRv6: netip.MustParsePrefix("fd00:7::/64")}.WithDefaults().Predefined()[0]
		n.ID = id.New()
		ns := testns.New(t)
		guard := openGuard(t, ns)
		return drivertest.Subject{Host: ns, Network: n, Others: []netip.Addr{n.Spec.Pools[0].Gateway,
			n.Spec.Pools[1].Gateway},
			New: func(h *kernel.Host, _ func() []network.Network, _ func() []endpoint.Sandbox) driver.Driver {
				return bridge.New(h, guard)
			}}
	})
}
