package overlay

import (
	"net/netip"
	"slices"
	"testing"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/encryption"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, t := range texts {
		all = append(all, netip.MustParsePrefix(t))
	}
	return all
}

func blocks(host string, texts ...string) (all []*fleetv1.OverlayBlock) {
	for _, t := range texts {
		all = append(all, &fleetv1.OverlayBlock{Prefix: t, NetworkId: "app", HostId: host})
	}
	return all
}

const one, two, three = "0000000000000001", "0200000000000002", "ffffffffffffffff"

// fullView returns a view of three hosts.
func fullView() *view {
	return newView().with(&fleetv1.WatchOverlayResponse{Reset_: true, Synced: true,
		Self: &fleetv1.OverlaySelf{HostId: one, Address: "10.99.0.1", Vni: 7007, UnderlayMtu: 1500},
		Hosts: []*fleetv1.OverlayHost{{Id: one, Address: "10.99.0.1"}, {Id: two, Address: "10.99.0.2"},
			{Id: three, Address: "fd99::3"}},
		Networks: []*fleetv1.OverlayNetwork{{Id: "app"}},
		Blocks: slices.Concat(blocks(one, "10.128.0.0/26"),
			blocks(two, "10.128.0.128/26", "10.128.0.64/26", "fd80::100/122"),
			blocks(three, "10.128.1.0/26"))})
}

func TestViewFollowsMessages(t *testing.T) {
	before := fullView()
	v := before.with(&fleetv1.WatchOverlayResponse{RemovedBlocks: []string{"10.128.0.64/26"},
		RemovedHosts: []string{three}, Blocks: blocks(one, "10.128.0.64/27")})
	if got := v.own("app"); !slices.Equal(got, prefixes("10.128.0.0/26", "10.128.0.64/27")) {
		t.Errorf("own blocks: got %v", got)
	}
	peers := v.peers(map[string]bool{"app": true})
	if len(peers) != 1 || !slices.Equal(peers[0].blocks, prefixes("10.128.0.128/26", "fd80::100/122")) {
		t.Errorf("peers: got %+v", peers)
	}
	if len(v.peers(map[string]bool{"other": true})) != 0 {
		t.Error("peers of a network that is not set up")
	}
	if len(before.peers(map[string]bool{"app": true})) != 2 || len(before.own("app")) != 1 {
		t.Error("the former view changed")
	}
	if v = v.with(&fleetv1.WatchOverlayResponse{Reset_: true}); v.self != nil || len(v.blocks)+len(v.networks) > 0 {
		t.Errorf("after a reset: got %+v", v)
	}
}

func TestTunnelEntries(t *testing.T) {
	v := fullView()
	tunnel, err := tunnelOf(v.self, true)
	if err != nil || tunnel.MTU != 1450 || tunnel.MAC.String() != "02:00:00:00:00:00" || tunnel.VNI != 7007 {
		t.Errorf("got %+v, %v", tunnel, err)
	}
	own := netip.MustParseAddr("10.99.0.1")
	hops, routes := entriesOf(tunnel, v.peers(map[string]bool{"app": true}), own)
	want := []kernel.TunnelRoute{
		{To: prefixes("10.128.0.64/26")[0], Via: netip.MustParseAddr("10.99.0.2"), Src: own},
		{To: prefixes("10.128.0.128/26")[0], Via: netip.MustParseAddr("10.99.0.2"), Src: own},
		{To: prefixes("fd80::100/122")[0], Via: netip.MustParseAddr("fe80::200:0:0:2")},
		{To: prefixes("10.128.1.0/26")[0], Via: netip.MustParseAddr("fe80::ffff:ffff:ffff:ffff"), Src: own},
	}
	if !slices.Equal(routes, want) {
		t.Errorf("routes: got %v, want %v", routes, want)
	}
	if len(hops) != 2 || len(hops[0].NextHops) != 2 || len(hops[1].NextHops) != 1 || hops[1].MAC[0]&3 != 2 {
		t.Errorf("next hops: got %+v", hops)
	}
	rules := rulesOf(tunnel, v.peers(map[string]bool{"app": true}), encryption.View{})
	if len(rules.GetPeers()) != 2 || rules.GetPeers()[1].GetAddress() != "fd99::3" || rules.GetMtu() != 1450 {
		t.Errorf("rules: got %v", rules)
	}
	for _, id := range []string{"", "zz", "00"} {
		if _, _, err := linkAddresses(id); err == nil {
			t.Errorf("host ID %q accepted", id)
		}
	}
}

func TestBlocksWithoutPart(t *testing.T) {
	for _, c := range []struct{ blocks, part, want []netip.Prefix }{
		{prefixes("10.0.0.0/30"), prefixes("10.0.0.2/31"), prefixes("10.0.0.0/31")},
		{prefixes("10.0.0.0/29", "10.1.0.0/29"), prefixes("10.0.0.3/32"),
			prefixes("10.0.0.4/30", "10.0.0.0/31", "10.0.0.2/32", "10.1.0.0/29")},
		{prefixes("10.0.0.0/30"), prefixes("10.0.0.0/30"), nil},
		{prefixes("10.0.0.0/30"), prefixes("10.0.1.0/30"), prefixes("10.0.0.0/30")},
		{prefixes("fd80::/126"), prefixes("fd80::1/128"), prefixes("fd80::2/127", "fd80::/128")},
	} {
		if got := without(c.blocks, c.part[0]); !slices.Equal(got, c.want) {
			t.Errorf("%v without %v: got %v, want %v", c.blocks, c.part, got, c.want)
		}
	}
}

func TestNetworkConversion(t *testing.T) {
	good := &fleetv1.OverlayNetwork{Id: "0f", Name: "app", Mtu: 1400, Internal: true,
		Encrypted: true, Dns: []string{"9.9.9.9"},
		Labels: map[string]string{"a": "b"}, Pools: []*fleetv1.OverlayPool{
			{Subnet: "fd80::/64", Gateway: "fd80::1"},
			{Subnet: "10.128.0.0/20", IpRange: "10.128.8.0/24", AuxAddresses: map[string]string{"x": "10.128.0.9"}}}}
	good.Id = "00000000000000000000000000000000000000000000000000000000000000ab"
	n, err := networkFromProto(good)
	if err != nil || !n.IsGlobal() || n.Spec.MTU != 1400 || !n.Spec.Internal || !n.Spec.Encrypted ||
		len(n.Spec.Pools) != 2 ||
		n.Spec.Pools[0].Gateway.String() != "10.128.8.0" || n.Bridge().Device == "" || !n.HasIPv6() {
		t.Errorf("got %+v, %v", n, err)
	}
	n.Status.Blocks = prefixes("10.128.8.0/26", "10.128.0.77/32", "fd80::100/122")
	if !n.Owns(netip.MustParseAddr("10.128.8.9")) || n.Owns(netip.MustParseAddr("10.128.0.78")) {
		t.Error("wrong owner")
	}
	if got := n.Addresses(n.Spec.Pools[0]).Ranges; !slices.Equal(got, prefixes("10.128.8.0/26")) {
		t.Errorf("ranges: got %v", got)
	}
	got := (network.Network{Scope: network.Global}).Addresses(n.Spec.Pools[0])
	if got.Ranges == nil || got.Size() != 0 {
		t.Errorf("without blocks: got %v", got)
	}

	for name, spoil := range map[string]func(*fleetv1.OverlayNetwork){
		"name":    func(o *fleetv1.OverlayNetwork) { o.Name = "a b" },
		"subnet":  func(o *fleetv1.OverlayNetwork) { o.Pools = []*fleetv1.OverlayPool{{Subnet: "10.0.0/8"}} },
		"gateway": func(o *fleetv1.OverlayNetwork) { o.Pools[1].Gateway = "10.1.0.1" },
		"dns":     func(o *fleetv1.OverlayNetwork) { o.Dns = []string{"x"} },
		"option":  func(o *fleetv1.OverlayNetwork) { o.Options = map[string]string{"no": "such"} },
	} {
		o := &fleetv1.OverlayNetwork{Id: good.GetId(), Name: "app", Pools: []*fleetv1.OverlayPool{{Subnet: "fd80::/64"},
			{Subnet: "10.128.0.0/20"}}}
		if spoil(o); true {
			if _, err := networkFromProto(o); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
	}
}
