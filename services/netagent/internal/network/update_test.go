package network_test

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// pool returns a pool whose gateway is the first address.
func pool(subnet string) network.Pool {
	p := prefix(subnet)
	return network.Pool{Subnet: p, Gateway: p.Addr().Next()}
}

// bridgeOn returns a bridge network with pools.
func bridgeOn(pools ...network.Pool) network.Network {
	return network.Network{ID: "1", Name: "n", Driver: network.DriverBridge,
		Spec: network.Spec{MTU: 1500, Pools: pools, Bridge: &network.Bridge{Device: "br0"}}}
}

func subnetsOf(pools []network.Pool) string {
	var out []netip.Prefix
	for _, p := range pools {
		out = append(out, p.Subnet)
	}
	return fmt.Sprint(out)
}

func TestUpdateErrors(t *testing.T) {
	grow := func(s ...string) (u network.Update) {
		for _, text := range s {
			u.Subnets = append(u.Subnets, prefix(text))
		}
		return u
	}
	mtu := func(n int) network.Update { return network.Update{MTU: &n} }
	dns := func(a ...netip.Addr) network.Update { return network.Update{DNS: &a} }
	one, dual := bridgeOn(pool("10.1.0.0/24")), bridgeOn(pool("10.1.0.0/24"), pool("fd00::/64"))
	lan := network.Network{Name: "n", Driver: network.DriverMacvlan, Spec: network.Spec{
		Pools: []network.Pool{pool("10.1.0.0/24"), pool("10.1.1.0/24")}, Macvlan: &network.Macvlan{}}}
	move := grow("10.9.0.0/24")
	move.Renumber = true
	predefined, config, dhcp := one, one, lan
	predefined.Origin, config.Origin, dhcp.Spec.DHCP4 = network.OriginPredefined, network.OriginConfigOnly, true

	for name, c := range map[string]struct {
		n           network.Network
		u           network.Update
		kind        fault.Kind
		field, want string
	}{
		"predefined": {predefined, mtu(1400), fault.Denied, "",
			"is pre-defined and cannot be edited; change the configuration, /etc/fairlead/daemon.json"},
		"config-only": {config, mtu(1400), fault.Invalid, "",
			"is a configuration network and cannot be updated; update the networks created from it"},
		"DHCP": {dhcp, grow("10.0.0.0/8"), fault.Invalid, "subnet",
			"gets its addresses by DHCP, so its subnets cannot be changed; " +
				"change the DHCP server; containers follow when they renew their leases"},
		"host bits": {one, grow("10.1.0.1/16"), fault.Invalid, "subnet",
			"invalid subnet 10.1.0.1/16: it should be 10.1.0.0/16"},
		"elsewhere": {one, grow("10.9.0.0/24"), fault.Invalid, "subnet", "10.9.0.0/24 contains none of its subnets; " +
			"give a subnet that contains the current one, or add --renumber to give its containers new addresses"},
		"smaller": {one, grow("10.1.0.0/25"), fault.Invalid, "subnet", "10.1.0.0/25 contains none of its subnets; " +
			"give a subnet that contains the current one, or add --renumber to give its containers new addresses"},
		"IPv6 disabled": {one, grow("fd00::/64"), fault.Invalid, "subnet",
			"IPv6 is disabled, cannot use subnet fd00::/64; add --ipv6"},
		"several of a family": {lan, move, fault.Invalid, "subnet", "has several subnets of this family, " +
			"cannot choose the one to replace by 10.9.0.0/24; create another network and connect the containers to it"},
		"gateway in the way": {bridgeOn(network.Pool{Subnet: prefix("10.1.1.0/31"), Gateway: addr("10.1.1.0")}),
			grow("10.1.1.0/24"), fault.Invalid, "subnet",
			"gateway 10.1.1.0 would be the network or broadcast address of 10.1.1.0/24"},
		"two in one": {lan, grow("10.1.0.0/23"), fault.Invalid, "subnet",
			"subnet 10.1.0.0/23 overlaps 10.1.1.0/24, another subnet of the network; " +
				"give a subnet that contains one of them only"},
		"small MTU": {one, mtu(67), fault.Invalid, "mtu", "invalid MTU number: 67; it must be from 68 to 65535"},
		"IPv6 MTU":  {dual, mtu(1279), fault.Invalid, "mtu", "invalid MTU number: 1279; it must be from 1280 to 65535"},
		"no MTU":    {one, mtu(0), fault.Invalid, "mtu", "invalid MTU number: 0; it must be from 68 to 65535"},
		"zero server": {one, dns(netip.Addr{}), fault.Invalid, "dns",
			"IP address is not correctly formatted: invalid IP"},
		"loopback server": {one, dns(addr("127.0.0.53")), fault.Invalid, "dns", "loopback address 127.0.0.53 is not " +
			"a valid name server for containers; use an address that containers can reach"},
		"server twice": {one, dns(addr("9.9.9.9"), addr("9.9.9.9")), fault.Invalid, "dns", "9.9.9.9 is given twice"},
	} {
		got, err := c.u.Apply(c.n)
		f, ok := err.(*fault.Fault)
		if !ok || f.Kind != c.kind || f.Field != c.field || f.Error() != "network n: "+c.want {
			t.Errorf("%s: got  %v\nwant network n: %s", name, err, c.want)
		}
		if subnetsOf(got.Spec.Pools) != subnetsOf(c.n.Spec.Pools) {
			t.Errorf("%s: got subnets %s with an error", name, subnetsOf(got.Spec.Pools))
		}
	}
}

func TestUpdateOfLabelsMerges(t *testing.T) {
	n := bridgeOn(pool("10.1.0.0/24"))
	n.Spec.Labels = map[string]string{"keep": "1", "change": "1", "remove": "1"}
	got, err := network.Update{Labels: map[string]string{"change": "2", "remove": "", "new": "3",
		"nosuch": ""}}.Apply(n)
	if want := map[string]string{"keep": "1", "change": "2", "new": "3"}; err != nil ||
		!maps.Equal(got.Spec.Labels, want) {
		t.Errorf("got %v, %v, want %v", got.Spec.Labels, err, want)
	}
	if len(n.Spec.Labels) != 3 || n.Spec.Labels["change"] != "1" {
		t.Errorf("the network before is modified: %v", n.Spec.Labels)
	}
}

func TestUpdateOfServersReplaces(t *testing.T) {
	n := bridgeOn(pool("10.1.0.0/24"))
	n.Spec.DNS = []netip.Addr{addr("9.9.9.9")}
	for name, c := range map[string]struct {
		dns  *[]netip.Addr
		want string
	}{
		"not given": {nil, "[9.9.9.9]"}, "none": {&[]netip.Addr{}, "[]"},
		"others": {&[]netip.Addr{addr("1.1.1.1"), addr("fd00::53")}, "[1.1.1.1 fd00::53]"},
	} {
		if got, err := (network.Update{DNS: c.dns}).Apply(n); err != nil || fmt.Sprint(got.Spec.DNS) != c.want {
			t.Errorf("%s: got %v, %v, want %s", name, got.Spec.DNS, err, c.want)
		}
	}
}

func TestUpdateAddsIPv6(t *testing.T) {
	limit := prefix("fd00::/48")
	u := network.Update{IPv6: true, Subnets: []netip.Prefix{prefix("fd00::/64")},
		GrowLimits: map[netip.Prefix]netip.Prefix{prefix("fd00::/64"): limit}}
	got, err := u.Apply(bridgeOn(pool("10.1.0.0/24")))
	if err != nil || len(got.Spec.Pools) != 2 || got.Spec.Pools[1].Gateway != addr("fd00::1") ||
		got.Spec.Pools[1].GrowLimit != limit || !got.HasIPv6() || len(got.Status.Former) > 0 || got.Status.Renumbering {
		t.Errorf("got %+v, %v", got, err)
	}

	parent := network.Network{Name: "n", Driver: network.DriverMacvlan, Spec: network.Spec{
		Pools: []network.Pool{pool("10.1.0.0/24")}, Macvlan: &network.Macvlan{}}}
	if got, err := u.Apply(parent); err != nil || got.Spec.Pools[1].Gateway.IsValid() {
		t.Errorf("macvlan: got gateway %s, %v, want none", got.Spec.Pools[1].Gateway, err)
	}
}

func TestRenumberingMovesSpecialAddresses(t *testing.T) {
	old := network.Pool{Subnet: prefix("10.1.0.0/24"), Range: prefix("10.1.0.128/25"), Gateway: addr("10.1.0.9"),
		ContainerGateway: addr("10.1.0.10"), Aux: map[string]netip.Addr{"DefaultGatewayIPv4": addr("10.1.0.10")}}
	n := bridgeOn(old)
	u := network.Update{Renumber: true, Subnets: []netip.Prefix{prefix("192.168.4.0/23")}}
	got, err := u.Apply(n)
	if err != nil {
		t.Fatal(err)
	}
	want := network.Pool{Subnet: prefix("192.168.4.0/23"), Range: prefix("192.168.4.128/25"),
		Gateway: addr("192.168.4.9"), ContainerGateway: addr("192.168.4.10"),
		Aux: map[string]netip.Addr{"DefaultGatewayIPv4": addr("192.168.4.10")}}
	if !reflect.DeepEqual(got.Spec.Pools, []network.Pool{want}) || !reflect.DeepEqual(got.Status.Former,
		[]network.Pool{old}) || !got.Status.Renumbering {
		t.Errorf("got %+v, former %+v", got.Spec.Pools, got.Status.Former)
	}
	if got.BridgeMAC().String() != n.BridgeMAC().String() {
		t.Errorf("got MAC address %s of the bridge, want %s as before", got.BridgeMAC(), n.BridgeMAC())
	}
	if hosts := fmt.Sprint(got.HostAddresses()); hosts != "[192.168.4.9/23 10.1.0.9/24]" {
		t.Errorf("got host addresses %s, want those of both pools", hosts)
	}

	small := network.Update{Renumber: true, Subnets: []netip.Prefix{prefix("10.9.0.0/29")}}
	if _, err := small.Apply(n); err == nil || err.Error() !=
		"network n: subnet 10.9.0.0/29 is too small for 10.1.0.9 of 10.1.0.0/24; choose a larger subnet" {
		t.Errorf("got %v for a subnet that is too small", err)
	}
	if _, err := u.Apply(got); err != nil {
		t.Errorf("the same subnet again: got %v", err)
	}
	back := network.Update{Renumber: true, Subnets: []netip.Prefix{prefix("10.1.0.0/24")}}
	returned, err := back.Apply(got)
	if err != nil || !reflect.DeepEqual(returned.Spec.Pools, n.Spec.Pools) ||
		subnetsOf(returned.Status.Former) != "[192.168.4.0/23]" {
		t.Errorf("back: got %+v, former %s, %v", returned.Spec.Pools, subnetsOf(returned.Status.Former), err)
	}
}

// TestUpdateProperty applies random updates in sequence. The subnets of a network, current
// and former, never overlap, its gateway stays inside, and a refused update changes nothing.
func TestUpdateProperty(t *testing.T) {
	subnet := rapid.Custom(func(t *rapid.T) netip.Prefix {
		a := netip.AddrFrom4([4]byte{10, 0, rapid.Byte().Draw(t, "c") & 3, rapid.Byte().Draw(t, "d") & 0xe0})
		return netip.PrefixFrom(a, rapid.IntRange(20, 28).Draw(t, "bits")).Masked()
	})
	rapid.Check(t, func(t *rapid.T) {
		n := bridgeOn(pool("10.0.0.0/27"))
		if rapid.Bool().Draw(t, "macvlan") {
			n = network.Network{Name: "n", Driver: network.DriverMacvlan, Spec: network.Spec{
				Pools: []network.Pool{pool("10.0.0.0/27"), pool("10.0.1.0/27")}, Macvlan: &network.Macvlan{}}}
		}
		for range rapid.IntRange(1, 6).Draw(t, "updates") {
			before := fmt.Sprintf("%+v", n)
			u := network.Update{Subnets: []netip.Prefix{subnet.Draw(t, "subnet")},
				Renumber: rapid.Bool().Draw(t, "renumber")}
			next, err := u.Apply(n)
			if got := fmt.Sprintf("%+v", n); got != before {
				t.Fatalf("the network before is modified:\n%s\n%s", before, got)
			}
			if err != nil {
				if !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Conflict) {
					t.Fatalf("got %v", err)
				}
				continue
			}

			for i, p := range next.AllPools() {
				if p.Subnet != p.Subnet.Masked() || !p.Subnet.Contains(p.Gateway) || p.Gateway == p.Subnet.Addr() {
					t.Fatalf("%v of %s: got pool %+v", u, before, p)
				}
				for _, q := range next.AllPools()[:i] {
					if p.Subnet.Overlaps(q.Subnet) {
						t.Fatalf("%v of %s: %s overlaps %s", u, before, p.Subnet, q.Subnet)
					}
				}
			}
			n = next
		}
	})
}
