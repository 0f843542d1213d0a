package netagent

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

var _ service.Reloader[Config] = (*Service)(nil)

func (a *agent) defaultNetwork() network.Network {
	a.t.Helper()
	n, err := a.networks.Find("bridge")
	if err != nil {
		a.t.Fatal(err)
	}
	return n
}

func TestDefaultBridgeConfiguration(t *testing.T) {
	h := newHost(t)
	h.cfg.Isolated, h.cfg.NoMasquerade, h.cfg.HostBinding = true, true, netip.MustParseAddr("192.0.2.1")
	h.cfg.FixedCIDR, h.cfg.IPv6 = netip.MustParsePrefix("10.9.8.0/24"), true
	a := h.run()
	n := a.defaultNetwork()
	if n.ICC() || n.Bridge().Masquerade || n.Bridge().HostBinding != h.cfg.HostBinding {
		t.Errorf("got network %+v", n)
	}
	if put := h.guard.Puts()[0]; put.GetMasquerade() || put.GetIcc() {
		t.Errorf("got firewall request %v, want neither masquerade nor ICC", put)
	}

	one, two := a.container(), a.container()
	if got := a.address(one) + " " + a.address(two); got != "10.9.8.2 10.9.8.3" {
		t.Errorf("got addresses %s", got)
	}

	has(t, "the bridge", h.ns.Run("ip", "addr", "show", "docker0"), "10.9.8.1/24", "inet6 fd", ":ffff::1/64")
	own := one.Endpoints[0].IPv6
	if !own.IsValid() || !strings.Contains(own.String(), ":ffff::2/64") {
		t.Errorf("got IPv6 address %s", own)
	}

	a.mustReach(one.NetnsPath, "10.9.8.1")
	if a.reaches(one.NetnsPath, "10.9.8.3") {
		t.Error("isolated containers reach each other")
	}

	a.stop()
	again := h.run().defaultNetwork()
	if again.Spec.Pools[1].Subnet != n.Spec.Pools[1].Subnet {
		t.Errorf("got subnet %[2]s after a restart, want %[1]s", n.Spec.Pools[1].Subnet, again.Spec.Pools[1].Subnet)
	}
}

func TestNewMTUAppliesToNewEndpoints(t *testing.T) {
	h := newHost(t)
	a := h.run()
	before := a.container()
	cfg := h.cfg
	cfg.MTU = 1400
	if err := a.Reload(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}

	has(t, "eth0 before the change", a.in(before, "ip", "link", "show", "eth0"), "mtu 1500")
	after := a.container()
	has(t, "eth0 after the change", a.in(after, "ip", "addr", "show", "eth0"), "mtu 1400", "172.17.0.3/16")
	has(t, "the bridge", h.ns.Run("ip", "link", "show", "docker0"), "mtu 1400")
	a.mustReach(before.NetnsPath, "172.17.0.3")
	cfg.MTU = 1
	if err := a.Reload(t.Context(), cfg); !fault.Is(err, fault.Invalid) {
		t.Errorf("MTU 1: got %v, want Invalid", err)
	}
}

func TestSubnetsUseConfiguredPools(t *testing.T) {
	h := newHost(t)
	h.cfg.AddressPools = []AddressPool{{Base: netip.MustParsePrefix("10.100.0.0/16"), Size: 24}}
	a := h.run()
	first := a.newNetwork("n1")
	cfg := h.cfg
	cfg.AddressPools = []AddressPool{{Base: netip.MustParsePrefix("10.200.0.0/16"), Size: 28}}
	if err := a.Reload(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if got := first.Spec.Pools[0].Subnet.String() + " " +
		a.newNetwork("n2").Spec.Pools[0].Subnet.String(); got != "10.100.0.0/24 10.200.0.0/28" {
		t.Errorf("got subnets %s", got)
	}
}

func TestDisabledDefaultNetworkIsDeleted(t *testing.T) {
	h := newHost(t)
	a := h.run()
	sb := a.container()
	a.stop()
	h.cfg.NoBridge = true
	a = h.run()
	h.mustReach(h.ns.Path(), "172.17.0.2") // kept while a container is attached
	a.release(sb)
	a.stop()
	a = h.run()
	h.eventually("docker0 is deleted", func() bool {
		return !strings.Contains(h.ns.Run("ip", "-br", "link"), "docker0")
	})
	if n, err := a.networks.Find("bridge"); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v, %v, want NotFound", n, err)
	}

	a.stop()
	h.cfg.NoBridge = false
	a = h.run()
	if got := a.address(a.container()); got != "172.17.0.2" {
		t.Errorf("got address %s after the network was enabled again", got)
	}
}

func TestRenamedDefaultBridgeIsReconciled(t *testing.T) {
	h := newHost(t)
	h.cfg.BridgeName = "br9"
	for range 2 {
		a := h.run()
		has(t, "the bridge", h.ns.Run("ip", "addr", "show", "br9"), "172.17.0.1/16")
		if a.defaultNetwork().Bridge().InhibitIPv4 {
			t.Error("the bridge address is not managed after a rename")
		}
		a.stop()
	}
}

func TestAdoptedDefaultBridgeIsKept(t *testing.T) {
	h := newHost(t)
	h.ns.Run("ip", "link", "add", "br9", "type", "bridge")
	h.cfg.BridgeName = "br9"
	const mac = "02:00:00:00:00:09"
	h.ns.Run("ip", "link", "set", "br9", "address", mac)
	for _, address := range []string{"10.55.0.7/24", "10.56.0.7/24"} {
		h.ns.Run("ip", "address", "add", address, "dev", "br9")
	}

	a := h.run()
	has(t, "the bridge", h.ns.Run("ip", "addr", "show", "br9"), "10.55.0.7/24", "10.56.0.7/24")
	sb := a.container()
	if got := a.address(sb); got != "10.55.0.1" {
		t.Errorf("got address %s", got)
	}

	a.mustReach(sb.NetnsPath, "10.55.0.7")
	a.release(sb)
	a.stop()
	h.cfg.NoBridge = true
	a = h.run()
	h.eventually("the network is deleted", func() bool { return len(a.store.Networks()) == 2 })
	a.stop()
	has(t, "the bridge", h.ns.Run("ip", "addr", "show", "br9"), "10.55.0.7/24", "10.56.0.7/24", mac)
}
