package inspect

import (
	"reflect"
	"testing"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

func TestContainersOfOtherHostsAreAdded(t *testing.T) {
	n := FromNetwork(&networkv1.Network{Id: "n1", Scope: "global", Pools: []*networkv1.Pool{
		{Subnet: "10.128.0.0/20"}, {Subnet: "fd00::/64"}}}, nil)
	n.Containers["c1"] = NetworkContainer{Name: "here", IPv4Address: "10.128.0.2/20"}
	endpoint := func(owner, host string, names []string, addresses ...string) *fleetv1.HostEndpoint {
		return &fleetv1.HostEndpoint{HostName: host,
			Endpoint: &fleetv1.OverlayEndpoint{Owner: owner, Names: names, Addresses: addresses}}
	}
	n.AddEndpoints([]*fleetv1.HostEndpoint{endpoint("c1", "one", []string{"here"}, "10.128.0.2"),
		endpoint("c2", "two", []string{"db", "c2"}, "10.128.0.130", "fd00::82"),
		endpoint("c3", "three", nil, "192.0.2.1", "not an address")})
	want := map[string]NetworkContainer{
		"c1": {Name: "here", IPv4Address: "10.128.0.2/20"},
		"c2": {Name: "db", IPv4Address: "10.128.0.130/20", IPv6Address: "fd00::82/64", Node: "two"},
		"c3": {IPv4Address: "192.0.2.1", Node: "three"},
	}
	if !reflect.DeepEqual(n.Containers, want) {
		t.Errorf("got %v, want %v", n.Containers, want)
	}
}
