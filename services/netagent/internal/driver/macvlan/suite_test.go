package macvlan_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/driver/drivertest"
	"github.com/fairlead/fairlead/services/netagent/internal/driver/macvlan"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

func TestMacvlanDriver(t *testing.T) {
	drivertest.Run(t, func(t *testing.T) drivertest.Subject { return subject(t, network.DriverMacvlan, "bridge", "") })
}

func TestIPvlanDriver(t *testing.T) {
	needIPvlan(t)
	drivertest.Run(t, func(t *testing.T) drivertest.Subject { return subject(t, network.DriverIPvlan, "l2", "bridge") })
}

// needIPvlan skips a test on kernels without ipvlan.
func needIPvlan(t *testing.T) {
	t.Helper()
	if out, err := testns.New(t).Try("sh", "-c",
		"ip link add v0 type veth peer name v1; ip link add link v0 name i0 type ipvlan",
	); err != nil {
		t.Skipf("this kernel has no ipvlan (%s); deploy/vm runs this test in a virtual machine",
			strings.TrimSpace(out))
	}
}

// subject returns a driver on a host with the parent interface p0. The other end of its LAN is p1
// in the same namespace.
func subject(t *testing.T, driverName, mode, flag string) drivertest.Subject {
	t.Helper()
	ns := testns.New(t)
	cable(ns)
	pool := func(subnet, gateway string) network.Pool {
		return network.Pool{Subnet: netip.MustParsePrefix(subnet), Gateway: netip.MustParseAddr(gateway)}
	}
	n := onParent(driverName, flag, network.ParentSpec{Mode: mode, Link: "p0"})
	n.Name = "lan"
	n.Spec.Pools = []network.Pool{pool("10.7.0.0/24", "10.7.0.1"), pool("fd00:7::/64", "fd00:7::1")}
	return drivertest.Subject{Host: ns, Network: n,
		Others: []netip.Addr{netip.MustParseAddr("10.7.0.1"), netip.MustParseAddr("fd00:7::2")},
		New: func(h *kernel.Host, networks func() []network.Network,
			sandboxes func() []endpoint.Sandbox) driver.Driver {
			return macvlan.New(h, networks, sandboxes)
		}}
}

// onParent returns a network of a driver with a parent interface.
func onParent(driver, flag string, p network.ParentSpec) network.Network {
	n := network.Network{ID: id.New(), Name: "n", Driver: driver}
	if driver == network.DriverIPvlan {
		n.Spec.IPvlan = &network.IPvlan{ParentSpec: p, Flag: flag}
	} else {
		n.Spec.Macvlan = macvlanOf(p)
	}
	return n
}

func macvlanOf(p network.ParentSpec) *network.Macvlan { return &network.Macvlan{ParentSpec: p} }

// cable creates the LAN. p0 has the host's own addresses, which containers reach through the shim.
func cable(ns *testns.NS) {
	ns.Run("ip", "link", "add", "p0", "type", "veth", "peer", "name", "p1")
	ns.Run("ip", "addr", "add", "10.7.0.1/24", "dev", "p0")
	ns.Run("ip", "addr", "add", "fd00:7::2/64", "dev", "p0", "nodad")
	ns.Run("ip", "link", "set", "p0", "up")
	ns.Run("ip", "link", "set", "p1", "up")
}
