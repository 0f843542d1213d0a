package endpoint_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

func TestEndpointKeepsFormerAddresses(t *testing.T) {
	former := make([]netip.Prefix, 1, 4) // with space behind it, as a decoded list can have
	former[0] = prefix("10.0.0.2/24")
	e := endpoint.Endpoint{IPv4: prefix("10.1.0.2/24"), IPv6: prefix("fd00::2/64"), Former: former,
		MAC: network.MACOf(addr("10.1.0.2"))}
	one, two := e.WithNewAddr(prefix("10.2.0.2/24")), e.WithNewAddr(prefix("fd01::2/64"))
	if got := fmt.Sprint(one.Addresses(), one.Former, one.MAC); got !=
		"[10.2.0.2/24 fd00::2/64] [10.0.0.2/24 10.1.0.2/24] 02:42:0a:02:00:02" {
		t.Errorf("got %s", got)
	}
	if got := fmt.Sprint(two.Addresses(), two.Former, two.MAC); got !=
		"[10.1.0.2/24 fd01::2/64] [10.0.0.2/24 fd00::2/64] 02:42:0a:01:00:02" {
		t.Errorf("got %s", got)
	}

	e.Spec.MAC = "02:00:00:00:00:01"
	if got := e.WithNewAddr(prefix("10.2.0.2/24")); got.MAC.String() != "02:42:0a:01:00:02" {
		t.Errorf("got MAC address %s, want it kept", got.MAC)
	}
	four := network.Network{Spec: network.Spec{Pools: []network.Pool{pool("10.1.0.0/24")}}}
	if got := e.Without(four); fmt.Sprint(got.Addresses(), got.Former) != "[10.1.0.2/24] [10.0.0.2/24 fd00::2/64]" {
		t.Errorf("got %v, former %v without IPv6", got.Addresses(), got.Former)
	}
	if got := e.Without(network.Network{}); len(got.Addresses()) != 0 ||
		fmt.Sprint(got.Former) != "[10.0.0.2/24 10.1.0.2/24 fd00::2/64]" {
		t.Errorf("got %v, former %v without pools", got.Addresses(), got.Former)
	}
	four.Spec.DHCP4 = true
	if got := e.Without(four); len(got.Addresses()) != 2 {
		t.Errorf("got %v on a DHCP network, want the leased ones", got.Addresses())
	}
}

func TestFormerAddressIsRestored(t *testing.T) {
	e := endpoint.Endpoint{IPv4: prefix("10.2.0.2/24"), Former: []netip.Prefix{prefix("10.0.0.2/24"),
		prefix("10.1.0.2/24")}}
	got, ok := e.RestoreAddr([]network.Pool{pool("10.1.0.0/16")})
	if !ok || got.IPv4 != prefix("10.1.0.2/16") || fmt.Sprint(got.Former) != "[10.0.0.2/24 10.2.0.2/24]" {
		t.Errorf("got %s, former %v, %v", got.IPv4, got.Former, ok)
	}
	if fmt.Sprint(e.Former) != "[10.0.0.2/24 10.1.0.2/24]" {
		t.Errorf("the endpoint before is modified: %v", e.Former)
	}
	if got, ok := e.RestoreAddr([]network.Pool{pool("10.9.0.0/24")}); ok || got.IPv4 != e.IPv4 {
		t.Errorf("got %s, %v from a pool without its addresses", got.IPv4, ok)
	}
}

func TestNeedsRenumbering(t *testing.T) {
	n := network.Network{Spec: network.Spec{Pools: []network.Pool{pool("10.1.0.0/24"), pool("fd00::/64")}}}
	moving := n
	moving.Status.Renumbering = true
	both := endpoint.Endpoint{IPv4: prefix("10.1.0.2/24"), IPv6: prefix("fd00::2/64")}
	for name, c := range map[string]struct {
		n    network.Network
		e    endpoint.Endpoint
		want bool
	}{
		"current":                 {n, both, false},
		"current, moving":         {moving, both, false},
		"family missing":          {n, endpoint.Endpoint{IPv4: both.IPv4}, true},
		"no address at all":       {n, endpoint.Endpoint{}, false},
		"former address":          {n, endpoint.Endpoint{IPv4: prefix("10.9.0.2/24"), IPv6: both.IPv6}, false},
		"former address, moving":  {moving, endpoint.Endpoint{IPv4: prefix("10.9.0.2/24"), IPv6: both.IPv6}, true},
		"renumbering, incomplete": {n, endpoint.Endpoint{IPv4: both.IPv4, IPv6: both.IPv6, Renumbering: true}, true},
	} {
		if got := c.e.NeedsRenumbering(c.n); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestFormerPoolsEndWithTheirAddresses(t *testing.T) {
	n := network.Network{ID: "1", Status: network.Status{Renumbering: true,
		Former: []network.Pool{pool("10.1.0.0/24"), pool("10.2.0.0/24")}}}
	on := func(id string, e endpoint.Endpoint) []endpoint.Sandbox {
		e.NetworkID = id
		return []endpoint.Sandbox{{}, {Endpoints: []endpoint.Endpoint{{NetworkID: "9"}, e}}}
	}
	for name, c := range map[string]struct {
		sandboxes []endpoint.Sandbox
		want      string
	}{
		"in use":          {on("1", endpoint.Endpoint{IPv4: prefix("10.1.0.2/24")}), "[10.1.0.0/24]"},
		"former address":  {on("1", endpoint.Endpoint{Former: []netip.Prefix{prefix("10.2.0.2/24")}}), "[10.2.0.0/24]"},
		"another network": {on("2", endpoint.Endpoint{IPv4: prefix("10.1.0.2/24")}), "[]"},
		"none":            {nil, "[]"},
	} {
		got := endpoint.DropUnusedFormer(n, c.sandboxes)
		if subnetsOf(got.Status.Former) != c.want || got.Status.Renumbering != (c.want != "[]") {
			t.Errorf("%s: got %s, renumbering %v", name, subnetsOf(got.Status.Former), got.Status.Renumbering)
		}
	}
	if len(n.Status.Former) != 2 || n.Status.Former[0].Subnet != prefix("10.1.0.0/24") {
		t.Errorf("the network before is modified: %+v", n.Status.Former)
	}
	if !n.IsFormer(prefix("10.2.0.7/24")) || n.IsFormer(prefix("10.3.0.7/24")) {
		t.Error("IsFormer is wrong")
	}
}

func TestEndpointFollowsNetworkUpdate(t *testing.T) {
	e := endpoint.Endpoint{IPv4: prefix("10.1.0.2/24"), IPv6: prefix("fd00::2/64"), DNS: []netip.Addr{addr("9.9.9.9")}}
	n := network.Network{Spec: network.Spec{DNS: e.DNS, Pools: []network.Pool{pool("10.1.0.0/16"), pool("fd00::/48")}}}
	got := e.WithPrefixLens(n)
	if got.IPv4 != prefix("10.1.0.2/16") || got.IPv6 != prefix("fd00::2/48") || got.Renumbering {
		t.Errorf("got %v, renumbering %v", got.Addresses(), got.Renumbering)
	}
	n.Spec.DNS = []netip.Addr{addr("1.1.1.1")}
	if got := e.WithPrefixLens(n); !got.Renumbering || !slices.Equal(got.DNS, n.Spec.DNS) {
		t.Errorf("got servers %v, renumbering %v", got.DNS, got.Renumbering)
	}
	n.Spec.DNS, n.Spec.Limits.Bandwidth.In = e.DNS, 1e6
	limited := e.WithPrefixLens(n)
	if !limited.Renumbering || limited.Bandwidth().In != 1e6 || limited.Limited {
		t.Errorf("got %+v, renumbering %v", limited.Bandwidth(), limited.Renumbering)
	}
	n.Spec.Limits.Bandwidth = bandwidth.Limit{None: true}
	limited.DefaultLimits.Bandwidth.In = 2e6
	if got := limited.WithPrefixLens(n); got.Bandwidth().IsLimited() || !got.IsLimited() {
		t.Errorf("without limit: got %+v, limited %v", got.Bandwidth(), got.IsLimited())
	}
	moved := network.Network{Spec: network.Spec{DNS: e.DNS, Pools: []network.Pool{pool("10.9.0.0/16")}}}
	if got := e.WithPrefixLens(moved); got.IPv4 != e.IPv4 || got.IPv6 != e.IPv6 {
		t.Errorf("got %v on other subnets", got.Addresses())
	}
}

// TestBandwidthThatApplies takes the limit of the container, the network or the configuration, where the driver has it.
func TestBandwidthThatApplies(t *testing.T) {
	own, theirs, standard := bandwidth.Limit{In: 1e6}, bandwidth.Limit{In: 2e6}, bandwidth.Limit{In: 3e6}
	none := bandwidth.Limit{None: true}
	for _, c := range []struct {
		driver              string
		own, net, cfg, want bandwidth.Limit
		fault               string
	}{
		{"bridge", own, theirs, standard, own, ""},
		{"bridge", bandwidth.Limit{}, theirs, standard, theirs, ""},
		{"overlay", bandwidth.Limit{}, bandwidth.Limit{}, standard, standard, ""},
		{"bridge", none, theirs, standard, none, ""},
		{"macvlan", own, none, bandwidth.Limit{}, own, "option bandwidth is not supported by driver macvlan"},
		{"ipvlan", bandwidth.Limit{}, bandwidth.Limit{}, standard, standard,
			"default-bandwidth of the configuration is not"},
		{"macvlan", bandwidth.Limit{}, none, standard, none, ""},
	} {
		e := endpoint.Endpoint{Driver: c.driver, NetworkName: "lan", Spec: endpoint.Spec{Bandwidth: c.own}}
		e.Limits.Bandwidth, e.DefaultLimits.Bandwidth = c.net, c.cfg
		err := e.CheckBandwidth()
		if e.Bandwidth() != c.want || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(),
			c.fault) {
			t.Errorf("%+v: got %v, %v", c, e.Bandwidth(), err)
		}
	}
}

func TestDifferenceIgnoresPrefixLength(t *testing.T) {
	some := []netip.Prefix{prefix("10.0.0.1/24"), prefix("10.0.0.2/24"), prefix("fd00::1/64")}
	got := endpoint.Difference(some, []netip.Prefix{prefix("10.0.0.2/16"), prefix("fd00::2/64")})
	if fmt.Sprint(got) != "[10.0.0.1/24 fd00::1/64]" || some[1] != prefix("10.0.0.2/24") {
		t.Errorf("got %v of %v", got, some)
	}
}

func TestStaticAddressesOfRequestFollow(t *testing.T) {
	n := network.Network{Spec: network.Spec{Pools: []network.Pool{pool("10.2.0.0/24"), pool("fd02::/64")}},
		Status: network.Status{FormerSubnets: []netip.Prefix{prefix("10.1.0.0/24"), prefix("fd01::/64")}}}
	s := endpoint.Spec{IPv4: addr("10.1.0.9"), IPv6: addr("fd01::9")}
	got := s.WithCurrentAddrs(n)
	if got.IPv4 != addr("10.2.0.9") || got.IPv6 != addr("fd02::9") || s.IPv4 != addr("10.1.0.9") {
		t.Errorf("got %s and %s", got.IPv4, got.IPv6)
	}
	if none := (endpoint.Spec{}).WithCurrentAddrs(n); none.HasStaticAddress() {
		t.Errorf("got %+v without static addresses", none)
	}
}

func TestDefaultRouteFollowsSubnet(t *testing.T) {
	pool := func(subnet, gateway string) network.Pool {
		p := network.Pool{Subnet: netip.MustParsePrefix(subnet)}
		p.Gateway, _ = netip.ParseAddr(gateway)
		return p
	}

	lan := network.Network{Name: "lan", Driver: "macvlan",
		Spec: network.Spec{Pools: []network.Pool{pool("10.1.0.0/24", "10.1.0.1"), pool("10.2.0.0/24", "10.2.0.1")}}}
	got := endpoint.ChooseGateways([]endpoint.Endpoint{{IPv4: netip.MustParsePrefix("10.2.0.7/24")}},
		[]network.Network{lan})
	if got[0].Gateway4 != netip.MustParseAddr("10.2.0.1") {
		t.Errorf("got gateway %s", got[0].Gateway4)
	}

	lan.Driver, lan.Spec.IPvlan = "ipvlan", &network.IPvlan{ParentSpec: network.ParentSpec{Mode: "l3"}}
	if got = endpoint.ChooseGateways(got, []network.Network{lan}); !got[0].Gateway4.IsUnspecified() {
		t.Errorf("mode l3: got gateway %s", got[0].Gateway4)
	}

	lan.Spec.IPvlan.Mode, lan.Spec.Pools = "l2", []network.Pool{pool("10.2.0.0/24", "")}
	if got = endpoint.ChooseGateways(got, []network.Network{lan}); got[0].Gateway4.IsValid() {
		t.Errorf("without a gateway: got %s", got[0].Gateway4)
	}
}
