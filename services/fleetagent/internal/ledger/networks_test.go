package ledger

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
)

func subnets(n *fleetv1.OverlayNetwork) (all []string) {
	for _, p := range n.GetPools() {
		all = append(all, p.GetSubnet())
	}
	return all
}

func TestCreateChoosesFreeSubnets(t *testing.T) {
	w := newWorld(t)
	w.host("a")
	w.put(w.Keys.Info("a"), &fleetv1.HostInfo{Routes: []string{"10.128.0.0/20", "10.128.40.0/24"}, UnderlayMtu: 1400})
	one, err := w.CreateNetwork(t.Context(), network(netA, "app"), true)
	if err != nil || !slices.Equal(subnets(one), []string{"10.128.16.0/20", "fd01:203:405::/64"}) ||
		one.GetPools()[0].GetGateway() != "10.128.16.1" || one.GetMtu() != 1350 ||
		!one.GetCreatedAt().AsTime().Equal(now) {
		t.Fatalf("got %v, %v", one, err)
	}
	two, err := w.CreateNetwork(t.Context(), network(netB, "db"), false)
	if err != nil || !slices.Equal(subnets(two), []string{"10.128.48.0/20"}) {
		t.Errorf("got %v, %v", two, err)
	}

	again, err := w.CreateNetwork(t.Context(), network(netA, "app"), true)
	if err != nil || !slices.Equal(subnets(again), subnets(one)) {
		t.Errorf("again: got %v, %v", again, err)
	}
	_, err = w.CreateNetwork(t.Context(), network(netA, "other"), true)
	expectFault(t, err, fault.Exists, "with another configuration")
	_, err = w.CreateNetwork(t.Context(), network(strings.Repeat("c", 64), "app"), false)
	if expectFault(t, err, fault.Exists, "already exists in the fleet"); fault.ReasonOf(err) != fault.ReasonNameInUse {
		t.Errorf("reason: got %q", fault.ReasonOf(err))
	}
}

func TestCreateConflictRetried(t *testing.T) {
	w := newWorld(t)
	w.rival = func() { w.create(netB, "db", "10.128.0.0/20") }
	n, err := w.CreateNetwork(t.Context(), network(netA, "app"), false)
	if err != nil || !slices.Equal(subnets(n), []string{"10.128.16.0/20"}) {
		t.Errorf("got %v, %v", n, err)
	}
	w.rival = func() { w.create(strings.Repeat("c", 64), "web", "10.5.0.0/20") }
	_, err = w.CreateNetwork(t.Context(), network(strings.Repeat("d", 64), "web"), false)
	expectFault(t, err, fault.Exists, "already exists")
}

func TestOverlapsRejected(t *testing.T) {
	w := newWorld(t)
	w.host("a")
	w.put(w.Keys.Info("a"), &fleetv1.HostInfo{Routes: []string{"10.7.1.0/24"}})
	w.create(netB, "db", "10.5.0.0/20")
	for subnet, want := range map[string]string{"10.5.8.0/24": "overlaps network db (10.5.0.0/20)",
		"10.7.0.0/16": "overlaps the route 10.7.1.0/24 of host host-a"} {
		_, err := w.CreateNetwork(t.Context(), network(netA, "app", subnet), false)
		expectFault(t, err, fault.Conflict, want)
	}
	w.put(w.Keys.Info("a"), &fleetv1.HostInfo{Routes: []string{"10.0.0.0/8"}})
	_, err := w.CreateNetwork(t.Context(), network(netA, "app"), false)
	expectFault(t, err, fault.Exhausted, "the route 10.0.0.0/8 of host host-a covers all of it")
	w.put(w.Keys.Settings(), &fleetv1.FleetSettings{AddressSpace: []string{"fd00:1::/48"}})
	_, err = w.CreateNetwork(t.Context(), network(netA, "app"), false)
	expectFault(t, err, fault.Exhausted, "has no IPv4 part")
}

func TestInvalidNetworksRejected(t *testing.T) {
	for want, spoil := range map[string]func(*fleetv1.OverlayNetwork){
		"hexadecimal":     func(n *fleetv1.OverlayNetwork) { n.Id = "a" },
		"valid name":      func(n *fleetv1.OverlayNetwork) { n.Name = "a b" },
		"one address fam": func(n *fleetv1.OverlayNetwork) { n.Pools = append(n.Pools, n.Pools[0]) },
		"host bits":       func(n *fleetv1.OverlayNetwork) { n.Pools[0].Subnet = "10.1.0.1/24" },
		"from 8 to 30":    func(n *fleetv1.OverlayNetwork) { n.Pools[0].Subnet = "10.1.0.0/31" },
		"from 64 to 126":  func(n *fleetv1.OverlayNetwork) { n.Pools[0].Subnet = "fd00::/48" },
		"not a subnet":    func(n *fleetv1.OverlayNetwork) { n.Pools[0].Subnet = "10.1.0.0" },
		"not an address":  func(n *fleetv1.OverlayNetwork) { n.Pools[0].Gateway = "10.1.0.255" },
		"x=10.1.0.0": func(n *fleetv1.OverlayNetwork) {
			n.Pools[0].AuxAddresses = map[string]string{"x": "10.1.0.0"}
		},
		"not a part": func(n *fleetv1.OverlayNetwork) { n.Pools[0].IpRange = "10.0.0.0/8" },
		"not an IP":  func(n *fleetv1.OverlayNetwork) { n.Dns = []string{"dns"} },
		"too large":  func(n *fleetv1.OverlayNetwork) { n.Mtu = 1451 },
		"too small":  func(n *fleetv1.OverlayNetwork) { n.Mtu = 67 },
	} {
		w := newWorld(t)
		n := network(netA, "app", "10.1.0.0/24")
		spoil(n)
		_, err := w.CreateNetwork(t.Context(), n, false)
		expectFault(t, err, fault.Invalid, want)
		if len(w.values) > 0 {
			t.Errorf("%s: stored %v", want, w.values)
		}
	}
}

func TestMTUFitsHosts(t *testing.T) {
	hosts := map[string]*fleetv1.Host{"a": {Name: "one", Address: "192.0.2.1"},
		"b": {Name: "two", Address: "192.0.2.2"}}
	infos := map[string]*fleetv1.HostInfo{"a": {UnderlayMtu: 9000}, "b": {UnderlayMtu: 1400}}
	fitted := func(encrypted bool) uint32 {
		n := network(netA, "app", "10.1.0.0/24")
		n.Encrypted = encrypted
		if err := fitMTU(n, hosts, infos); err != nil {
			t.Error(err)
		}
		return n.GetMtu()
	}
	got := []uint32{fitted(false), fitted(true)}
	hosts["b"].Address = "2001:db8::2"
	got = append(got, fitted(false), fitted(true))
	if want := []uint32{1350, 1340, 1330, 1320}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	infos["b"].UnderlayMtu = 1300
	n := network(netA, "app", "fd00::/64")
	expectFault(t, fitMTU(n, hosts, infos), fault.Invalid,
		"the network needs 1280; the MTU between hosts is 1300 (host two)")
}

func TestEncryptionNeedsKeysOfAllHosts(t *testing.T) {
	key := []*fleetv1.TunnelKey{{Generation: 1}}
	o := occupied{hosts: map[string]*fleetv1.Host{"a": {Name: "one"}, "b": {Name: "two"}, "c": {Name: "three"}},
		infos: map[string]*fleetv1.HostInfo{"a": {TunnelKeys: key}, "b": {}}}
	n := network(netA, "app", "10.1.0.0/24")
	if err := o.requireKeys(n); err != nil {
		t.Errorf("without encryption: %v", err)
	}
	n.Encrypted = true
	expectFault(t, o.requireKeys(n), fault.Conflict,
		"network app: cannot be encrypted: hosts without WireGuard: three, two")
	o.infos["b"].TunnelKeys, o.infos["c"] = key, &fleetv1.HostInfo{TunnelKeys: key}
	if err := o.requireKeys(n); err != nil {
		t.Errorf("with all keys: %v", err)
	}
}

func TestUpdateChangesLabelsAndDNS(t *testing.T) {
	w := newWorld(t)
	n := network(netA, "app", "10.1.0.0/24")
	n.Labels, n.Dns = map[string]string{"old": "1", "kept": "2"}, []string{"9.9.9.9"}
	if _, err := w.CreateNetwork(t.Context(), n, false); err != nil {
		t.Fatal(err)
	}
	mtu := uint32(1300)
	got, err := w.UpdateNetwork(t.Context(), &fleetv1.UpdateNetworkRequest{NetworkId: netA, Mtu: &mtu,
		Labels: map[string]string{"old": "", "new": "3"}})
	if l := got.GetLabels(); err != nil || got.GetMtu() != 1300 || len(l) != 2 || l["new"] != "3" || l["kept"] != "2" ||
		len(got.GetDns()) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
	got, err = w.UpdateNetwork(t.Context(), &fleetv1.UpdateNetworkRequest{NetworkId: netA, SetDns: true})
	if stored, _, serr := w.network(t.Context(), netA); err != nil || serr != nil || len(got.GetDns()) > 0 ||
		len(stored.GetDns()) > 0 || stored.GetMtu() != 1300 {
		t.Errorf("got %v, stored %v: %v", got, stored, errors.Join(err, serr))
	}
	mtu = 9000
	_, err = w.UpdateNetwork(t.Context(), &fleetv1.UpdateNetworkRequest{NetworkId: netA, Mtu: &mtu})
	expectFault(t, err, fault.Invalid, "too large")
	_, err = w.UpdateNetwork(t.Context(), &fleetv1.UpdateNetworkRequest{NetworkId: netB})
	expectFault(t, err, fault.NotFound, "not found in the fleet")
}

func TestRemovedNetworkKeepsSubnet(t *testing.T) {
	w := newWorld(t)
	w.create(netA, "app", subnetA)
	a := w.host("a")
	w.must(a, netA, subnetA, "10.1.0.8/29")
	if err := w.RemoveNetwork(t.Context(), netA); err != nil {
		t.Fatal(err)
	}
	_, err := w.claim(a, netA, subnetA, "")
	expectFault(t, err, fault.NotFound, "not found")
	_, err = w.CreateNetwork(t.Context(), network(netB, "app", subnetA), false) // its name is free
	expectFault(t, err, fault.Conflict, "overlaps the deleted network app, which some hosts still have")
	if err := w.RemoveNetwork(t.Context(), netA); err != nil {
		t.Errorf("again: got %v", err)
	}

	if err := w.Confirm(t.Context(), a, netA); err != nil {
		t.Error(err)
	}
	w.set(w.Keys.Mark("a", netA), nil)
	_, err = w.CreateNetwork(t.Context(), network(netB, "app", subnetA), false)
	expectFault(t, err, fault.Conflict, "deleted network")
	delete(w.values, w.Keys.Mark("a", netA))
	w.create(netB, "app", subnetA)
	if err := w.RemoveNetwork(t.Context(), netB); err != nil {
		t.Error(err)
	}
	for _, id := range []string{netA, netB} {
		if _, ok := w.values[w.Keys.Network(id)]; ok {
			t.Errorf("record of %s remains", id)
		}
	}
}

func TestSweepForgetsRemovedHosts(t *testing.T) {
	w := newWorld(t)
	w.create(netA, "app", subnetA)
	a, b := w.host("a"), w.host("b")
	w.must(a, netA, subnetA, "10.1.0.8/29")
	w.must(b, netA, subnetA, "10.1.0.16/29")
	for _, host := range []string{"a", "b"} {
		w.put(w.Keys.Info(host), &fleetv1.HostInfo{})
		w.set(w.Keys.Endpoint(host, netA, "web"), nil)
		w.set(w.Keys.Mark(host, netA), nil)
	}
	delete(w.values, w.Keys.Host("a"))
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.expectOwners(netA, "10.1.0.16/29 b, 10.1.0.8/29 released")
	for _, key := range []string{w.Keys.Info("a"), w.Keys.Endpoint("a", netA, "web"), w.Keys.Mark("a", netA),
		w.Keys.Epoch("a")} {
		if _, ok := w.values[key]; ok {
			t.Errorf("%s remains", key)
		}
		if _, ok := w.values[strings.Replace(key, "/a", "/b", 1)]; !ok {
			t.Errorf("%s of another host is gone", key)
		}
	}
}

func TestRestoreAddsWhatFits(t *testing.T) {
	old := newWorld(t)
	old.create(netA, "app", subnetA)
	a, b := old.host("a"), old.host("b")
	old.must(a, netA, subnetA, "10.1.0.8/29")
	old.must(b, netA, subnetA, "10.1.0.16/29")
	missing, _ := old.List(t.Context(), old.Keys.All())

	w := newWorld(t)
	w.put(w.Keys.Info("a"), &fleetv1.HostInfo{Routes: []string{subnetA}}) // of its tunnel
	var admitted []string
	admit := func(_ context.Context, h *fleetv1.Host) error {
		admitted = append(admitted, h.GetId())
		return nil
	}
	if err := w.Restore(t.Context(), missing, admit); err != nil {
		t.Fatal(err)
	}
	w.expectOwners(netA, "10.1.0.16/29 b, 10.1.0.8/29 a")
	if _, ok := w.values[w.Keys.NetworkName("app")]; !ok || !slices.Equal(admitted, []string{"a", "b"}) {
		t.Errorf("admitted %v, name stored %t", admitted, ok)
	}
	if err := w.Restore(t.Context(), missing, admit); err != nil || len(admitted) != 2 {
		t.Errorf("again: got %v, admitted %v", err, admitted)
	}

	w = newWorld(t)
	c := w.host("c")
	w.create(netA, "app", subnetA)
	w.must(c, netA, subnetA, "10.1.0.8/29")
	err := w.Restore(t.Context(), missing, admit)
	expectFault(t, err, fault.Conflict, "block 10.1.0.8/29: of host a is not in the restored store")
	w.expectOwners(netA, "10.1.0.16/29 b, 10.1.0.8/29 c")

	w = newWorld(t)
	w.create(netB, "app", "10.9.0.0/24")
	err = w.Restore(t.Context(), slices.DeleteFunc(missing, func(v etcd.Value) bool {
		return v.Key != w.Keys.Network(netA)
	}), admit)
	expectFault(t, err, fault.Exists, "already exists")
}

func TestUnusualAddressSpace(t *testing.T) {
	w := newWorld(t)
	w.put(w.Keys.Settings(), &fleetv1.FleetSettings{AddressSpace: []string{"172.16.0.0/12"}})
	got, err := w.AddressSpace(t.Context())
	if err != nil || !slices.Equal(got, []netip.Prefix{netip.MustParsePrefix("172.16.0.0/12")}) {
		t.Errorf("got %v, %v", got, err)
	}
	w.set(w.Keys.Settings(), []byte("damaged"))
	if _, err := w.AddressSpace(t.Context()); !fault.Is(err, fault.Internal) {
		t.Errorf("got %v", err)
	}
}
