package network_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// onLAN returns an endpoint with a lease that has routes, each "DESTINATION" or "DESTINATION ROUTER".
func onLAN(address string, priority int, routes ...string) network.Endpoint {
	t := lease.Terms{Address: netip.MustParsePrefix(address)}
	for _, text := range routes {
		to, via, found := strings.Cut(text, " ")
		r := lease.Route{To: netip.MustParsePrefix(to)}
		if found {
			r.Via = netip.MustParseAddr(via)
		}
		t.Routes = append(t.Routes, r)
	}
	return network.Endpoint{Spec: network.EndpointSpec{Priority: priority}}.WithLeases(&t, nil)
}

func TestChooseRoutes(t *testing.T) {
	lan, other, inside := network.Network{Name: "a", Spec: network.Spec{DHCP4: true}},
		network.Network{Name: "b", Spec: network.Spec{DHCP4: true}}, network.Network{Name: "c",
			Spec: network.Spec{DHCP4: true, Internal: true}}
	bridge := network.Network{Name: "d",
		Spec: network.Spec{Pools: []network.Pool{{Subnet: netip.MustParsePrefix("172.18.0.0/16"),
			Gateway: netip.MustParseAddr("172.18.0.1")}}}}
	onBridge := network.Endpoint{IPv4: netip.MustParsePrefix("172.18.0.5/16"),
		Former: []netip.Prefix{netip.MustParsePrefix("172.19.0.5/16")}}

	for name, c := range map[string]struct {
		endpoints []network.Endpoint
		nets      []network.Network
		want      []string
	}{
		"all": {[]network.Endpoint{onLAN("10.0.0.9/24", 0, "10.1.0.0/16 10.0.0.2", "10.2.0.0/16")},
			[]network.Network{lan}, []string{"10.1.0.0/16 via 10.0.0.2 10.2.0.0/16"}},
		"by name": {[]network.Endpoint{onLAN("10.5.0.9/24", 0, "10.1.0.0/16 10.5.0.2"),
			onLAN("10.0.0.9/24", 0, "10.1.0.0/16 10.0.0.2")}, []network.Network{other, lan},
			[]string{"", "10.1.0.0/16 via 10.0.0.2"}},
		"by priority": {[]network.Endpoint{onLAN("10.5.0.9/24", 1, "10.1.0.0/16 10.5.0.2"),
			onLAN("10.0.0.9/24", 0, "10.1.0.0/16 10.0.0.2")}, []network.Network{other, lan},
			[]string{"10.1.0.0/16 via 10.5.0.2", ""}},
		"internal": {[]network.Endpoint{onLAN("10.0.0.9/24", 0, "10.1.0.0/16 10.0.0.2")},
			[]network.Network{inside}, []string{""}},
		"into another": {[]network.Endpoint{onLAN("10.0.0.9/24", 9, "172.18.0.0/16 10.0.0.2", "172.18.3.0/24 10.0.0.2",
			"172.16.0.0/12 10.0.0.2"), onBridge}, []network.Network{lan, bridge},
			[]string{"172.16.0.0/12 via 10.0.0.2", ""}},
		"or a former": {[]network.Endpoint{onLAN("10.0.0.9/24", 9, "172.19.0.7/32 10.0.0.2"), onBridge},
			[]network.Network{lan, bridge}, []string{"", ""}},
		"via another": {[]network.Endpoint{onLAN("10.0.0.9/24", 9, "172.18.9.0/24", "10.1.0.0/16 172.18.9.1"),
			onBridge}, []network.Network{lan, bridge}, []string{"", ""}},
	} {
		before := append([]network.Endpoint{}, c.endpoints...)
		for i, e := range network.ChooseRoutes(c.endpoints, c.nets) {
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
	e := network.Endpoint{}.WithLeases(&lease.Terms{Search: []string{"a.test", "b.test"}},
		&lease.Terms{Search: []string{"B.test", "c.test"}})
	if got := strings.Join(e.Search(), " "); got != "a.test b.test c.test" {
		t.Errorf("got %q", got)
	}
}
