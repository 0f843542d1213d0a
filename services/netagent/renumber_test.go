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

func (a *agent) update(ref string, e network.Update) network.Network {
	a.t.Helper()
	n, err := a.networks.Update(context.Background(), ref, e)
	if err != nil {
		a.t.Fatal(err)
	}
	return n
}

// renumberTo is an update that renumbers a network.
func renumberTo(subnet string) network.Update {
	return network.Update{Renumber: true, Subnets: []netip.Prefix{netip.MustParsePrefix(subnet)}}
}

func (a *agent) renumber(sb endpoint.Sandbox) endpoint.Sandbox {
	a.t.Helper()
	after, err := a.renumberer.Renumber(context.Background(), sb.Owner)
	if err != nil {
		a.t.Fatal(err)
	}
	return after
}

func (a *agent) completeRenumbering(sb endpoint.Sandbox) string {
	a.t.Helper()
	gone, err := a.renumberer.CompleteRenumbering(context.Background(), sb.Owner)
	if err != nil {
		a.t.Fatal(err)
	}
	var out []string
	for _, g := range gone {
		out = append(out, g.String())
	}
	return strings.Join(out, " ")
}

func (a *agent) hasNot(what, text, part string) {
	a.t.Helper()
	if strings.Contains(text, part) {
		a.t.Errorf("%s still has %q:\n%s", what, part, text)
	}
}

func TestRenumberingUpdatesContainers(t *testing.T) {
	a := newHost(t).run()
	want := withSubnet("n1", "10.1.0.0/24")
	want.Pools[0].Aux = map[string]netip.Addr{"printer": netip.MustParseAddr("10.1.0.9")}
	n := a.network(want)
	fixed := a.create(requestOn(id.New(), endpoint.Spec{Network: "n1", IPv4: netip.MustParseAddr("10.1.0.77")}))
	plain := a.create(requestOn(id.New(), endpoint.Spec{Network: "n1"}))
	rests := id.New() // has a reservation and is stopped
	if err := a.sandboxes.Reserve(context.Background(), rests,
		[]endpoint.Spec{{Network: "n1", IPv4: netip.MustParseAddr("10.1.0.5")}}); err != nil {
		t.Fatal(err)
	}

	a.update("n1", renumberTo("10.2.0.0/25"))

	// No container is renumbered yet, and all are reachable.
	a.mustReach(plain.NetnsPath, "10.1.0.77")
	a.mustReach(plain.NetnsPath, "10.2.0.1")
	has(t, "the bridge", a.ns.Run("ip", "addr", "show", n.Bridge().Device), "10.1.0.1/24", "10.2.0.1/25",
		"02:42:0a:01:00:01")
	puts := a.guard.Puts()
	if last := puts[len(puts)-1].GetSubnets(); strings.Join(last, " ") != "10.2.0.0/25 10.1.0.0/24" {
		t.Errorf("got firewall subnets %v", last)
	}
	if fresh := a.create(requestOn(id.New(),
		endpoint.Spec{Network: "n1"})); a.address(fresh) != "10.2.0.3" && a.address(fresh) != "10.2.0.2" {
		t.Errorf("new container: got %s", a.address(fresh))
	} else {
		a.mustReach(fresh.NetnsPath, "10.1.0.77")
		a.release(fresh)
	}

	// A renumbered container has both addresses until its renumbering completes.
	now := a.renumber(fixed)
	if got := a.address(now); got != "10.2.0.77" {
		t.Fatalf("got address %s", got)
	}

	has(t, "eth0", a.in(fixed, "ip", "addr", "show", "eth0"), "10.2.0.77/25", "10.1.0.77/24", "02:42:0a:02:00:4d")
	if r := a.defaultRoute(fixed); r != "default via 10.2.0.1 dev eth0" {
		t.Errorf("got default route %q", r)
	}

	a.mustReach(a.ns.Path(), "10.1.0.77")
	a.mustReach(a.ns.Path(), "10.2.0.77")
	a.mustReach(plain.NetnsPath, "10.2.0.77")
	if again := a.renumber(fixed); a.address(again) != "10.2.0.77" || !a.renumberer.NeedsRenumbering(again) {
		t.Errorf("repeated renumbering: got %+v", again)
	}
	if gone := a.completeRenumbering(fixed); gone != "10.1.0.77" {
		t.Errorf("got removed address %s", gone)
	}

	a.hasNot("eth0", a.in(fixed, "ip", "addr", "show", "eth0"), "10.1.0.77")
	a.hasNot("the host", a.ns.Run("ip", "neigh", "show", "dev", n.Bridge().Device), "10.1.0.77")
	a.mustReach(fixed.NetnsPath, "10.1.0.2") // routed by the host
	if got := a.store.Reservation(rests); len(got.Addresses) != 1 || got.Addresses[0].Address.String() != "10.2.0.5" {
		t.Errorf("got reservation %+v", got)
	}
	if sb := a.create(requestOn(rests, endpoint.Spec{Network: "n1",
		IPv4: netip.MustParseAddr("10.1.0.5")})); a.address(sb) != "10.2.0.5" {
		t.Errorf("static address of the former subnet: got %s", a.address(sb))
	}

	// After the last container is renumbered, the former subnet is removed.
	plain = a.renumber(plain)
	a.completeRenumbering(plain)
	if after, err := a.networks.WaitConverged(context.Background(), "n1"); err != nil || len(after.Status.Former) > 0 ||
		after.Status.Renumbering {
		t.Errorf("got network %+v, %v", after, err)
	}

	a.hasNot("the bridge", a.ns.Run("ip", "addr", "show", n.Bridge().Device), "10.1.0.1")
	a.mustReach(plain.NetnsPath, "10.2.0.77")
	a.mustReach(a.ns.Path(), "10.2.0.2")
	puts = a.guard.Puts()
	if last := puts[len(puts)-1].GetSubnets(); strings.Join(last, " ") != "10.2.0.0/25" {
		t.Errorf("got firewall subnets %v", last)
	}

	got, _ := a.networks.Find("n1")
	if p := got.Spec.Pools[0]; p.Aux["printer"].String() != "10.2.0.9" {
		t.Errorf("got pool %+v", p)
	}

	// network, broadcast, gateway, auxiliary address, 3 containers
	if c := a.networks.PoolUsage(got)[0]; c.Used != 4+3 {
		t.Errorf("got usage %+v", c)
	}
}

func TestRenumberingResumesAfterCrash(t *testing.T) {
	h := newHost(t)
	a := h.run()
	a.network(withSubnet("n1", "10.1.0.0/24"))
	sb := a.create(requestOn(id.New(), endpoint.Spec{Network: "n1"}))
	a.update("n1", renumberTo("10.2.0.0/24"))
	a.renumber(sb)
	a.stop()

	// Killed after storing the new addresses and before applying them.
	h.in(sb, "ip", "addr", "del", "10.2.0.2/24", "dev", "eth0")
	h.in(sb, "ip", "link", "set", "eth0", "address", "02:42:0a:01:00:02")
	h.in(sb, "ip", "route", "replace", "default", "via", "10.1.0.1")
	b := h.run()
	if all := b.sandboxes.List(); len(all) != 1 || !b.renumberer.NeedsRenumbering(all[0]) {
		t.Fatalf("got sandboxes %+v", all)
	}

	b.mustReach(b.ns.Path(), "10.1.0.2")
	b.renumber(sb)
	b.mustReach(b.ns.Path(), "10.2.0.2")
	has(t, "eth0", b.in(sb, "ip", "addr", "show", "eth0"), "10.2.0.2/24", "02:42:0a:02:00:02")
	if r := b.defaultRoute(sb); r != "default via 10.2.0.1 dev eth0" {
		t.Errorf("got default route %q", r)
	}

	b.completeRenumbering(sb)

	// Killed before the former subnet was removed.
	b.stop()
	c := h.run()
	if n, err := c.networks.WaitConverged(context.Background(), "n1"); err != nil || len(n.Status.Former) > 0 {
		t.Errorf("got network %+v, %v", n, err)
	}
	if used := c.store.Networks(); len(used) != 4 {
		t.Errorf("got networks %v", used)
	}

	// Killed after the network changed and before its endpoints were updated.
	n, _ := c.store.NetworkNamed("n1")
	n.Spec.Pools[0].Subnet, n.Spec.MTU, n.Status = netip.MustParsePrefix("10.2.0.0/16"), 1400, n.Status.Changed()
	if err := c.store.PutNetworks(n); err != nil {
		t.Fatal(err)
	}

	c.stop()
	d := h.run()
	has(t, "eth0", d.in(sb, "ip", "addr", "show", "eth0"), "10.2.0.2/16", "mtu 1400")
	d.release(sb)
	if _, err := d.networks.Delete(context.Background(), "n1"); err != nil {
		t.Error(err)
	}
}

func TestRunningContainersGetIPv6(t *testing.T) {
	a := newHost(t).run()
	a.newNetwork("n1")
	sb := a.create(requestOn(id.New(), endpoint.Spec{Network: "n1"}))
	other := a.create(requestOn(id.New(), endpoint.Spec{Network: "n1"}, endpoint.Spec{Network: "bridge"}))
	n := a.update("n1", network.Update{IPv6: true, Subnets: []netip.Prefix{netip.MustParsePrefix("fd00:7::/64")}})
	if !n.HasIPv6() || len(n.Status.Former) > 0 {
		t.Fatalf("got network %+v", n)
	}

	after := a.connect(sb, endpoint.Spec{Network: "bridge"}) // during renumbering
	if after.Endpoints[0].Gateway6.IsValid() {
		t.Errorf("got an IPv6 gateway without an IPv6 address: %+v", after.Endpoints)
	}

	before := a.in(sb, "ip", "-4", "addr", "show", "eth0") + a.in(sb, "ip", "-4", "route")
	for _, s := range []endpoint.Sandbox{sb, other} {
		s = a.renumber(s)
		if gone := a.completeRenumbering(s); gone != "" {
			t.Errorf("got removed address %s, want none", gone)
		}
		a.mustReach(s.NetnsPath, "fd00:7::1")
		a.mustReach(a.ns.Path(), s.Endpoints[0].IPv6.Addr().String())
		has(t, "routes", a.in(s, "ip", "-6", "route"), "default via fd00:7::1 dev eth0")
		a.hasNot("eth0", a.in(s, "ip", "-6", "addr", "show", "dev", "eth0", "scope", "global"), "tentative")
	}
	if now := a.in(sb, "ip", "-4", "addr", "show", "eth0") + a.in(sb, "ip", "-4", "route"); now != before {
		t.Errorf("IPv4: want\n%s\ngot\n%s", before, now)
	}

	a.mustReach(other.NetnsPath, "fd00:7::2")
	if _, err := a.networks.WaitConverged(context.Background(), "n1"); err != nil {
		t.Error(err)
	}

	a.release(sb)
	a.release(other)
}

func TestDefaultBridgeIsRenumberedInUse(t *testing.T) {
	h := newHost(t)
	a := h.run()
	old := a.container()
	cfg := h.cfg
	cfg.Bip = netip.MustParsePrefix("192.168.10.1/24")
	if err := a.Reload(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}

	fresh := a.container()
	if a.address(fresh) != "192.168.10.2" || fresh.Endpoints[0].MAC.String() != "02:42:c0:a8:0a:02" {
		t.Errorf("new container: got %+v", fresh.Endpoints[0])
	}

	a.mustReach(fresh.NetnsPath, "172.17.0.2")
	a.mustReach(old.NetnsPath, "172.17.0.1")
	if a.renumberer.NeedsRenumbering(old) {
		t.Error("a reload without renumber requests renumbering")
	}
	if w := a.networks.Warnings()(a.defaultNetwork()); len(w) != 1 || !strings.Contains(w[0], old.Owner[:12]) ||
		!strings.Contains(w[0], "fairlead config reload --renumber") {
		t.Errorf("got warnings %q", w)
	}

	// A restart does not renumber, a reload with renumber does.
	a.stop()
	h.cfg = cfg
	a = h.run()
	a.mustReach(h.ns.Path(), "172.17.0.2")
	cfg.Renumber = true
	if err := a.Reload(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}

	moved := a.renumber(old)
	a.completeRenumbering(old)
	if a.address(moved) != "192.168.10.3" { // .2 is in use
		t.Errorf("got address %s", a.address(moved))
	}
	if n, err := a.networks.WaitConverged(t.Context(), "bridge"); err != nil || len(n.Status.Former) > 0 {
		t.Errorf("got network %+v, %v", n, err)
	}

	a.mustReach(old.NetnsPath, "192.168.10.2")
	a.hasNot("docker0", h.ns.Run("ip", "addr", "show", "docker0"), "172.17")

	// The new subnet must overlap neither the former one nor another network.
	a.network(withSubnet("n1", "10.1.0.0/24"))
	for bip, text := range map[string]string{"192.168.10.9/24": "the subnets overlap",
		"10.1.0.1/16": "overlaps 10.1.0.0/24 of network n1"} {
		cfg.Bip = netip.MustParsePrefix(bip)
		if err := a.Reload(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", bip, err)
		}
	}

	a.mustReach(old.NetnsPath, "192.168.10.1")

	// Without containers, the subnet is replaced, and the bridge gets a new MAC.
	a.release(old)
	a.release(fresh)
	cfg.Bip = netip.MustParsePrefix("192.168.10.9/24")
	if err := a.Reload(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}

	has(t, "docker0", h.ns.Run("ip", "addr", "show", "docker0"), "192.168.10.9/24", "02:42:c0:a8:0a:09")
}

func TestInvalidUpdateChangesNothing(t *testing.T) {
	a := newHost(t).run()
	a.network(withSubnet("n1", "10.1.0.0/24"))
	a.network(withSubnet("n2", "10.3.0.0/24"))
	sb := a.create(requestOn(id.New(), endpoint.Spec{Network: "n1", IPv4: netip.MustParseAddr("10.1.0.200")}))
	before, _ := a.store.NetworkNamed("n1")
	v6 := network.Update{Subnets: []netip.Prefix{netip.MustParsePrefix("fd00::/64")}}
	still := network.Update{Subnets: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24")}}
	loop := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	for name, c := range map[string]struct {
		edit network.Update
		kind fault.Kind
		text string
	}{
		"new subnet without renumber":    {still, fault.Invalid, "add --renumber"},
		"IPv6 subnet without IPv6":       {v6, fault.Invalid, "add --ipv6"},
		"subnet of another network":      {renumberTo("10.3.0.0/25"), fault.Exists, "of network n2"},
		"part of its own subnet":         {renumberTo("10.1.0.0/25"), fault.Conflict, "the subnets overlap"},
		"too small for a static address": {renumberTo("10.9.0.0/25"), fault.Invalid, `static address 10.1.0.200 of `},
		"no overlapping route":           {network.Update{Renumber: true}, fault.Invalid, "no host route overlaps it"},
		"loopback name server": {network.Update{DNS: &loop}, fault.Invalid,
			"loopback address 127.0.0.1 is not a valid name server"},
		"MTU too small for IPv6": {network.Update{IPv6: true, MTU: new(int)}, fault.Invalid,
			"invalid MTU number"},
		"address instead of subnet": {renumberTo("10.9.0.1/24"), fault.Invalid, "it should be 10.9.0.0/24"},
	} {
		if _, err := a.networks.Update(context.Background(), "n1", c.edit); !fault.Is(err, c.kind) ||
			!strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}

	// If natagent does not respond, the update is rolled back.
	a.guard.SetDown(true)
	_, err := a.networks.Update(context.Background(), "n1", renumberTo("10.9.0.0/24"))
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("without natagent: got %v, want Unavailable", err)
	}

	a.guard.SetDown(false)
	if now, _ := a.store.NetworkNamed("n1"); now.Spec.Pools[0].Subnet != before.Spec.Pools[0].Subnet ||
		len(now.Status.Former)+len(now.Status.FormerSubnets) > 0 || now.Status.Renumbering {
		t.Errorf("network: want %+v, got %+v", before.Network, now.Network)
	}
	if sb, _ := a.store.Sandbox(sb.Owner); a.renumberer.NeedsRenumbering(sb) {
		t.Error("the sandbox needs renumbering after a failed update")
	}

	a.mustReach(sb.NetnsPath, "10.1.0.1")
	a.update("n1", renumberTo("10.9.0.0/24"))
	if got := a.address(a.renumber(sb)); got != "10.9.0.200" {
		t.Errorf("got address %s", got)
	}
}

func TestRenumberingAvoidsHostRoute(t *testing.T) {
	a := newHost(t).run()
	a.ns.Run("ip", "link", "add", "tun0", "type", "veth", "peer", "name", "tun1")
	a.ns.Run("ip", "link", "set", "tun0", "up")
	n := a.newNetwork("n1")
	a.ns.Run("ip", "route", "add", n.Spec.Pools[0].Subnet.Addr().String()+"/16", "dev", "tun0")
	now := a.update("n1", network.Update{Renumber: true})
	if p := now.Spec.Pools[0].Subnet; p.Bits() != n.Spec.Pools[0].Subnet.Bits() ||
		p.Overlaps(netip.PrefixFrom(n.Spec.Pools[0].Subnet.Addr(), 16)) {
		t.Errorf("renumbered from %s to %s", n.Spec.Pools[0].Subnet, p)
	}
	if _, err := a.networks.WaitConverged(t.Context(), "n1"); err != nil {
		t.Error(err)
	}

	found, _ := a.networks.Find("n1")
	if w := a.networks.Warnings()(found); len(w) > 0 {
		t.Errorf("got warnings %q", w)
	}
}
