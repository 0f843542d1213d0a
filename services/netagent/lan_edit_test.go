package netagent

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// larger is an update that extends the subnets.
func larger(subnets ...string) network.Update {
	var e network.Update
	for _, s := range subnets {
		e.Subnets = append(e.Subnets, netip.MustParsePrefix(s))
	}
	return e
}

// createMacvlan creates a macvlan network on lan0.
func (a *agent) createMacvlan(pools ...network.PoolSpec) network.Network {
	a.t.Helper()
	n, err := a.networks.Create(context.Background(), network.Draft{Name: "lan", Driver: "macvlan", Pools: pools,
		Options: map[string]string{network.OptParent: "lan0"}})
	if err != nil {
		a.t.Fatal(err)
	}
	return n
}

func lanPool(subnet, gateway, from string) network.PoolSpec {
	p := network.PoolSpec{Subnet: netip.MustParsePrefix(subnet), Gateway: netip.MustParseAddr(gateway)}
	if from != "" {
		p.Range = netip.MustParsePrefix(from)
	}
	return p
}

func TestLANNetworkGrowsInUse(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	a.ns.Run("ip", "addr", "add", "10.9.0.3/16", "dev", "lan0")
	lan.addAddresses("10.9.0.1/16", "10.9.7.1/16", "fd09::1/48", "fd09:0:0:7::1/48")
	a.createMacvlan(lanPool("10.9.0.0/24", "10.9.0.1", "10.9.0.64/26"), lanPool("fd09::/64", "fd09::1", ""))
	sb, fixed := a.create(onNetwork("lan", "")), a.create(onNetwork("lan", "10.9.0.200"))
	before := a.in(sb, "cat", "/sys/class/net/eth0/address") + a.in(sb, "ip", "route", "show", "default")
	n := a.update("lan", larger("10.9.0.0/16", "fd09::/48"))
	if n.Status.Renumbering || len(n.Status.Former) > 0 || n.Spec.Pools[0].Gateway.String() != "10.9.0.1" ||
		n.Spec.Pools[0].Range.String() != "10.9.0.64/26" {
		t.Errorf("got network %+v", n)
	}

	for _, s := range []endpoint.Sandbox{sb, fixed} {
		now, _ := a.sandboxes.Get(s.Owner)
		e := now.Endpoints[0]
		if a.renumberer.NeedsRenumbering(now) || e.IPv4.Bits() != 16 || e.IPv6.Bits() != 48 ||
			e.IPv4.Addr() != s.Endpoints[0].IPv4.Addr() {
			t.Errorf("got endpoint %+v", e)
		}
		has(t, "eth0", a.in(s, "ip", "addr", "show", "eth0"), e.IPv4.String(), e.IPv6.String())
		a.hasNot("eth0", a.in(s, "ip", "addr", "show", "eth0"), "/24")
		// the LAN, the new part of the subnet, the host
		for _, to := range []string{"10.9.0.1", "10.9.7.1", "fd09:0:0:7::1", "10.9.0.3"} {
			a.mustReach(s.NetnsPath, to)
		}
		a.mustReach(a.ns.Path(), e.IPv4.Addr().String())
		a.mustReach(lan.Path(), e.IPv4.Addr().String())
		a.mustReach(lan.Path(), e.IPv6.Addr().String())
	}
	if now := a.in(sb, "cat", "/sys/class/net/eth0/address") +
		a.in(sb, "ip", "route", "show", "default"); now != before {
		t.Errorf("MAC and default route: got\n%[2]s\nwant\n%[1]s", before, now)
	}

	far := a.create(onNetwork("lan", "10.9.200.5"))
	a.mustReach(far.NetnsPath, sb.Endpoints[0].IPv4.Addr().String())
	a.mustReach(a.ns.Path(), "10.9.200.5")
	if _, err := a.sandboxes.Create(context.Background(), onNetwork("lan", "10.9.7.1")); !fault.Is(err, fault.Exists) {
		t.Errorf("static address of another host: got %v, want Exists", err)
	}

	// A subnet cannot shrink in use.
	if _, err := a.networks.Update(context.Background(), "lan", larger("10.9.0.0/24")); !fault.Is(err, fault.Invalid) {
		t.Errorf("smaller subnet: got %v, want Invalid", err)
	}
}

func TestLANNetworkIsRenumberedInUse(t *testing.T) {
	h := newHost(t)
	a := h.run()
	lan := a.connectLAN()
	for _, addr := range []string{"10.9.0.3/24", "10.8.0.3/24"} {
		a.ns.Run("ip", "addr", "add", addr, "dev", "lan0")
	}

	// the last conflicts with the first container's new address
	lan.addAddresses("10.9.0.1/24", "10.8.0.1/24", "10.8.0.64/24")
	a.createMacvlan(lanPool("10.9.0.0/24", "10.9.0.1", "10.9.0.64/29"))
	plain, fixed := a.create(onNetwork("lan", "")), a.create(onNetwork("lan", "10.9.0.77"))
	if plain.Endpoints[0].IPv4.String() != "10.9.0.64/24" {
		t.Fatalf("got %s", plain.Endpoints[0].IPv4)
	}

	a.update("lan", renumberTo("10.8.0.0/24"))
	a.mustReach(lan.Path(), "10.9.0.64")
	a.mustReach(a.ns.Path(), "10.9.0.77")

	// Each container has both addresses until its renumbering completes.
	for _, c := range []struct {
		sb       endpoint.Sandbox
		old, now string
	}{{plain, "10.9.0.64", "10.8.0.65"}, {fixed, "10.9.0.77", "10.8.0.77"}} {
		after := a.renumber(c.sb)
		if got := a.address(after); got != c.now {
			t.Fatalf("%s was renumbered to %s", c.old, got)
		}
		has(t, "eth0", a.in(c.sb, "ip", "addr", "show", "eth0"), c.old+"/24", c.now+"/24",
			after.Endpoints[0].MAC.String())
		for _, to := range []string{c.old, c.now} {
			a.mustReach(lan.Path(), to)
			a.mustReach(a.ns.Path(), to)
		}
		if r := a.defaultRoute(c.sb); r != "default via 10.8.0.1 dev eth0" {
			t.Errorf("got default route %q", r)
		}
	}

	a.completeRenumbering(plain)

	// The agent is killed while the second container is renumbered.
	a.stop()
	h.in(fixed, "ip", "addr", "del", "10.8.0.77/24", "dev", "eth0")
	a = h.run()
	a.mustReach(lan.Path(), "10.8.0.77")
	a.mustReach(a.ns.Path(), "10.9.0.77")
	a.renumber(fixed)
	if gone := a.completeRenumbering(fixed); gone != "10.9.0.77" {
		t.Errorf("got removed address %s", gone)
	}
	if n, err := a.networks.WaitConverged(context.Background(), "lan"); err != nil || len(n.Status.Former) > 0 ||
		n.Status.Renumbering {
		t.Errorf("got network %+v, %v", n, err)
	}

	a.hasNot("the host", a.ns.Run("ip", "route"), "10.9.0.64")
	a.hasNot("the host", a.ns.Run("ip", "route"), "10.9.0.77")
	for _, sb := range []endpoint.Sandbox{plain, fixed} {
		a.hasNot("eth0", a.in(sb, "ip", "addr", "show", "eth0"), "10.9.")
		a.mustReach(sb.NetnsPath, "10.8.0.1")
		a.mustReach(sb.NetnsPath, "10.8.0.3")
		a.release(sb)
	}
	if _, err := a.networks.Delete(context.Background(), "lan"); err != nil {
		t.Error(err)
	}
}

func TestRenumberingSkipsConflicts(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24", "10.8.0.77/24")
	a.createMacvlan(lanPool("10.9.0.0/24", "10.9.0.1", ""))
	sb := a.create(onNetwork("lan", "10.9.0.77"))
	a.update("lan", renumberTo("10.8.0.0/24"))
	_, err := a.renumberer.Renumber(context.Background(), sb.Owner)
	if !fault.Is(err, fault.Exists) || !strings.Contains(err.Error(),
		"10.8.0.77: Address already in use: 02:00:00:00:00:77 on the LAN of lan0 has it") {
		t.Errorf("renumber: got %v", err)
	}

	a.mustReach(lan.Path(), "10.9.0.77")
	lan.Run("ip", "addr", "del", "10.8.0.77/24", "dev", "wire")
	if got := a.address(a.renumber(sb)); got != "10.8.0.77" {
		t.Errorf("got %s", got)
	}

	a.completeRenumbering(sb)
	a.release(sb)
}

func TestLANNetworkGetsIPv6InUse(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24", "fd09::1/64", "fd09::2/64")
	a.createMacvlan(lanPool("10.9.0.0/24", "10.9.0.1", ""))
	sb := a.create(onNetwork("lan", ""))
	e := larger("fd09::/64")
	e.IPv6 = true
	a.update("lan", e)
	after := a.renumber(sb)
	a.completeRenumbering(sb)
	if got := after.Endpoints[0].IPv6.String(); got != "fd09::3/64" {
		t.Errorf("got %s", got)
	}

	a.mustReach(lan.Path(), "fd09::3")
	a.mustReach(sb.NetnsPath, "fd09::1")
	a.mustReach(sb.NetnsPath, "10.9.0.1")
}

func TestInvalidLANNetworkUpdatesFail(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24")
	lan.serveFake(&fakeDHCP{address: "10.9.0.40", seconds: 3600})
	createDHCPNetwork(t, a, false)
	sb := a.create(onNetwork("lan", ""))
	before, _ := a.store.NetworkNamed("lan")
	for name, e := range map[string]network.Update{"another subnet": renumberTo("10.8.0.0/24"),
		"a larger subnet": larger("10.9.0.0/16"), "no subnet": {Renumber: true},
		"IPv6": {IPv6: true}, "an IPv6 subnet": {IPv6: true, Subnets: larger("fd09::/64").Subnets}} {
		_, err := a.networks.Update(context.Background(), "lan", e)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(),
			"network lan: gets its addresses by DHCP, so its subnets cannot be changed; change the DHCP server") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if now, _ := a.store.NetworkNamed("lan"); len(now.Spec.Pools)+len(now.Status.Former) > 0 ||
		now.Spec.DHCP6 != before.Spec.DHCP6 ||
		a.renumberer.NeedsRenumbering(sb) {
		t.Errorf("got network %+v", now.Network)
	}

	a.mustReach(lan.Path(), "10.9.0.40")
	a.update("lan", network.Update{MTU: ptr(1400)}) // the MTU does not depend on DHCP
	has(t, "eth0", a.in(sb, "ip", "link", "show", "eth0"), "mtu 1400")
	a.release(sb)
	if _, err := a.networks.Delete(context.Background(), "lan"); err != nil {
		t.Fatal(err)
	}

	// Without a requested subnet, renumbering is refused: the administrator of the LAN chooses subnets.
	a.ns.Run("ip", "addr", "add", "10.9.0.3/24", "dev", "lan0")
	a.createMacvlan(lanPool("10.9.0.0/24", "10.9.0.1", ""))
	a.create(requestOn(id.New(), endpoint.Spec{Network: "lan"}))
	_, err := a.networks.Update(context.Background(), "lan", network.Update{Renumber: true})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "give a new subnet with --subnet") {
		t.Errorf("no subnet: got %v", err)
	}
}

func ptr[T any](v T) *T { return &v }

// reconnectLAN recreates lan0 after it was deleted.
func (a *agent) reconnectLAN(l *lan, addrs ...string) {
	a.t.Helper()
	a.ns.Run("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "wire", "netns", l.Path())
	l.Run("ip", "link", "set", "wire", "up")
	l.addAddresses(addrs...)
	a.ns.Run("ip", "link", "set", "lan0", "up")
}

func TestLANNetworkUpdateWithoutParent(t *testing.T) {
	h := newHost(t)
	a := h.run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/16")
	a.createMacvlan(lanPool("10.9.0.0/24", "10.9.0.1", ""))
	sb := a.create(onNetwork("lan", "10.9.0.77"))
	a.ns.Run("ip", "link", "del", "lan0")
	a.update("lan", larger("10.9.0.0/16"))
	a.reconnectLAN(lan, "10.9.0.1/16", "10.8.0.1/16")
	a.eventually("the interface is recreated with the larger subnet", func() bool {
		return strings.Contains(a.in(sb, "ip", "addr", "show"), "10.9.0.77/16")
	})

	// The agent starts during a renumbering, while the parent interface does not exist.
	a.update("lan", renumberTo("10.8.0.0/16"))
	a.renumber(sb)
	a.ns.Run("ip", "link", "del", "lan0")
	a.stop()
	a = h.run()
	if _, err := a.renumberer.Renumber(context.Background(), sb.Owner); !fault.Is(err, fault.Unavailable) {
		t.Errorf("renumber: got %v", err)
	}

	a.reconnectLAN(lan, "10.9.0.1/16", "10.8.0.1/16")
	a.eventually("renumbering resumes", func() bool {
		_, err := a.renumberer.Renumber(context.Background(), sb.Owner)
		return err == nil
	})

	a.completeRenumbering(sb)
	a.mustReach(lan.Path(), "10.8.0.77")
	a.hasNot("eth0", a.in(sb, "ip", "addr", "show", "eth0"), "10.9.")
	a.release(sb)
}
