package endpoint_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

func TestChooseRoutes(t *testing.T) {
	lan, other, inside := network.Network{Name: "a", Spec: network.Spec{DHCP4: true}},
		network.Network{Name: "b", Spec: network.Spec{DHCP4: true}}, network.Network{Name: "c",
			Spec: network.Spec{DHCP4: true, Internal: true}}
	bridge := network.Network{Name: "d",
		Spec: network.Spec{Pools: []network.Pool{{Subnet: netip.MustParsePrefix("172.18.0.0/16"),
			Gateway: netip.MustParseAddr("172.18.0.1")}}}}
	onBridge := endpoint.Endpoint{IPv4: netip.MustParsePrefix("172.18.0.5/16"),
		Former: []netip.Prefix{netip.MustParsePrefix("172.19.0.5/16")}}

	for name, c := range map[string]struct {
		endpoints []endpoint.Endpoint
		nets      []network.Network
		want      []string
	}{
		"all": {[]endpoint.Endpoint{onLAN("10.0.0.9/24", 0, "10.1.0.0/16 10.0.0.2", "10.2.0.0/16")},
			[]network.Network{lan}, []string{"10.1.0.0/16 via 10.0.0.2 10.2.0.0/16"}},
		"by name": {[]endpoint.Endpoint{onLAN("10.5.0.9/24", 0, "10.1.0.0/16 10.5.0.2"),
			onLAN("10.0.0.9/24", 0, "10.1.0.0/16 10.0.0.2")}, []network.Network{other, lan},
			[]string{"", "10.1.0.0/16 via 10.0.0.2"}},
		"by priority": {[]endpoint.Endpoint{onLAN("10.5.0.9/24", 1, "10.1.0.0/16 10.5.0.2"),
			onLAN("10.0.0.9/24", 0, "10.1.0.0/16 10.0.0.2")}, []network.Network{other, lan},
			[]string{"10.1.0.0/16 via 10.5.0.2", ""}},
		"internal": {[]endpoint.Endpoint{onLAN("10.0.0.9/24", 0, "10.1.0.0/16 10.0.0.2")},
			[]network.Network{inside}, []string{""}},
		"into another": {[]endpoint.Endpoint{onLAN("10.0.0.9/24", 9, "172.18.0.0/16 10.0.0.2", "172.18.3.0/24 10.0.0.2",
			"172.16.0.0/12 10.0.0.2"), onBridge}, []network.Network{lan, bridge},
			[]string{"172.16.0.0/12 via 10.0.0.2", ""}},
		"or a former": {[]endpoint.Endpoint{onLAN("10.0.0.9/24", 9, "172.19.0.7/32 10.0.0.2"), onBridge},
			[]network.Network{lan, bridge}, []string{"", ""}},
		"via another": {[]endpoint.Endpoint{onLAN("10.0.0.9/24", 9, "172.18.9.0/24", "10.1.0.0/16 172.18.9.1"),
			onBridge}, []network.Network{lan, bridge}, []string{"", ""}},
	} {
		before := append([]endpoint.Endpoint{}, c.endpoints...)
		for i, e := range endpoint.ChooseRoutes(c.endpoints, c.nets) {
			var texts []string
			for _, r := range e.Routes {
				texts = append(texts, r.String())
			}
			if got := strings.Join(texts, " "); got != c.want[i] {
				t.Errorf("%s: endpoint %d: got %q, want %q", name, i, got, c.want[i])
			}
			if len(before[i].Routes) > 0 {
				t.Errorf("%s: got a changed argument", name)
			}
		}
	}
}

func TestSearchDomainsOfBothFamiliesMerged(t *testing.T) {
	e := endpoint.Endpoint{}.WithLeases(&lease.Terms{Search: []string{"a.test", "b.test"}},
		&lease.Terms{Search: []string{"B.test", "c.test"}})
	if got := strings.Join(e.Search(), " "); got != "a.test b.test c.test" {
		t.Errorf("got %q", got)
	}
}

// onLAN returns an endpoint with a lease that has routes, each "DESTINATION" or "DESTINATION ROUTER".
func onLAN(address string, priority int, routes ...string) endpoint.Endpoint {
	t := lease.Terms{Address: netip.MustParsePrefix(address)}
	for _, text := range routes {
		to, via, found := strings.Cut(text, " ")
		r := lease.Route{To: netip.MustParsePrefix(to)}
		if found {
			r.Via = netip.MustParseAddr(via)
		}
		t.Routes = append(t.Routes, r)
	}
	return endpoint.Endpoint{Spec: endpoint.Spec{Priority: priority}}.WithLeases(&t, nil)
}

func TestChooseGateways(t *testing.T) {
	n := func(name string, internal bool, gateways ...string) network.Network {
		out := network.Network{ID: name, Name: name, Spec: network.Spec{Internal: internal}}
		for _, g := range gateways {
			out.Spec.Pools = append(out.Spec.Pools, network.Pool{Gateway: addr(g)})
		}
		return out
	}

	type end struct {
		net      network.Network
		priority int
	}

	four, six, both := n("b", false, "10.0.0.1"), n("a6", false, "fd00::1"), n("z", false, "10.9.0.1", "fd09::1")
	for name, c := range map[string]struct {
		ends []end
		want string // the networks with the IPv4 and IPv6 default routes
	}{
		"none":                     {nil, "- -"},
		"one":                      {[]end{{four, 0}}, "b -"},
		"by name":                  {[]end{{four, 0}, {n("a", false, "10.1.0.1"), 0}}, "a -"},
		"by priority":              {[]end{{four, 1}, {n("a", false, "10.1.0.1"), 0}}, "b -"},
		"a negative priority":      {[]end{{four, 0}, {n("a", false, "10.1.0.1"), -1}}, "b -"},
		"not an internal one":      {[]end{{four, 0}, {n("a", true, "10.1.0.1"), 9}}, "b -"},
		"each family by itself":    {[]end{{four, 0}, {six, 0}}, "b a6"},
		"both families before one": {[]end{{four, 0}, {six, 0}, {both, 0}}, "z z"},
		"priority before both":     {[]end{{four, 1}, {both, 0}}, "b z"},
		"only an internal network": {[]end{{n("a", true, "10.1.0.1"), 0}}, "- -"},
	} {
		var ends []endpoint.Endpoint
		var nets []network.Network
		for _, e := range c.ends {
			ends = append(ends, endpoint.Endpoint{NetworkName: e.net.Name, Gateway4: addr("9.9.9.9"),
				Spec: endpoint.Spec{Priority: e.priority}})
			nets = append(nets, e.net)
		}
		four, six := "-", "-"
		for _, e := range endpoint.ChooseGateways(ends, nets) {
			if e.Gateway4.IsValid() {
				four = e.NetworkName
			}
			if e.Gateway6.IsValid() {
				six = e.NetworkName
			}
		}
		if four+" "+six != c.want {
			t.Errorf("%s: got %s %s, want %s", name, four, six, c.want)
		}
	}
}

// TestGatewaysProperty chooses gateways for random sandboxes: at most one for each family, of the
// highest priority, and a second choice after a change keeps the endpoints of the first.
func TestGatewaysProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var endpoints []endpoint.Endpoint
		var nets []network.Network
		for i := range rapid.IntRange(0, 4).Draw(t, "endpoints") {
			n := network.Network{Name: fmt.Sprint("n", i), Spec: network.Spec{
				Internal: rapid.Bool().Draw(t, "internal"),
				Pools:    []network.Pool{pool(fmt.Sprintf("10.%d.0.0/24", i))}}}
			e := endpoint.Endpoint{IPv4: prefix(fmt.Sprintf("10.%d.0.2/24", i))}
			if rapid.Bool().Draw(t, "ipv6") {
				n.Spec.Pools = append(n.Spec.Pools, pool(fmt.Sprintf("fd0%d::/64", i)))
				e.IPv6 = prefix(fmt.Sprintf("fd0%d::2/64", i))
			}
			e.Spec.Priority = rapid.IntRange(-1, 1).Draw(t, "priority")
			endpoints, nets = append(endpoints, e), append(nets, n)
		}

		chosen := endpoint.ChooseGateways(endpoints, nets)
		for _, is6 := range []bool{false, true} {
			holder, count := -1, 0
			for i, e := range chosen {
				for _, gw := range e.Gateways() {
					if gw.Is6() == is6 {
						holder, count = i, count+1
					}
				}
			}
			for i, e := range chosen {
				can := !nets[i].Spec.Internal && (!is6 || e.IPv6.IsValid())
				if can && (count != 1 || e.Spec.Priority > chosen[holder].Spec.Priority) {
					t.Fatalf("IPv6 %v: got endpoint %d of %d, %d can have the gateway: %+v", is6, holder, count, i,
						chosen)
				}
			}
		}

		for i := range endpoints { // another choice, which must not move the default route
			endpoints[i].Spec.Priority = rapid.IntRange(-1, 1).Draw(t, "next")
		}
		kept := endpoint.KeepGateways(chosen, endpoint.ChooseGateways(endpoints, nets), nets)
		for i := range kept {
			if kept[i].Gateway4 != chosen[i].Gateway4 || kept[i].Gateway6 != chosen[i].Gateway6 {
				t.Fatalf("endpoint %d: got %v, want %v", i, kept[i].Gateways(), chosen[i].Gateways())
			}
		}
	})
}

func TestLeaseRoutesYieldToSubnets(t *testing.T) {
	terms := &lease.Terms{Address: prefix("10.1.0.2/24"), Routes: []lease.Route{
		{To: prefix("10.2.0.0/25"), Via: addr("10.1.0.1")}, {To: prefix("10.9.0.0/16"), Via: addr("10.1.0.1")}}}
	endpoints := []endpoint.Endpoint{endpoint.Endpoint{}.WithLeases(terms, nil), {IPv4: prefix("10.2.0.2/24")}}
	got := endpoint.ChooseRoutes(endpoints, make([]network.Network, 2))
	if fmt.Sprint(got[0].Routes) != "[10.9.0.0/16 via 10.1.0.1]" || len(got[1].Routes) > 0 {
		t.Errorf("got routes %v and %v", got[0].Routes, got[1].Routes)
	}
}
