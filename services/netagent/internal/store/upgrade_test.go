package store_test

import (
	"compress/gzip"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// oldStore unpacks a store file that an agent wrote with records of an earlier version.
func oldStore(t *testing.T, name string) (dir string) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name, "net.db.gz"))
	if err != nil {
		t.Fatal(err)
	}

	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}

	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}

	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "net.db"), data, 0o600); err != nil {
		t.Fatal(err)
	}

	return dir
}

// TestUpgradeKeepsNetworks opens a store of version 1: predefined networks, a bridge with every
// option, one during renumbering, macvlan and ipvlan networks, and one during deletion.
func TestUpgradeKeepsNetworks(t *testing.T) {
	dir := oldStore(t, "v1")
	for range 2 { // upgraded, then read again
		s := open(t, dir)
		checkUpgraded(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "net.db.v1")); err != nil {
		t.Errorf("no copy for the older agent: %v", err)
	}
}

func checkUpgraded(t *testing.T, s *store.Store) {
	t.Helper()
	pfx, addr := netip.MustParsePrefix, netip.MustParseAddr
	two, pause := 2, 500
	pool := func(subnet, gateway string) network.Pool {
		p := network.Pool{Subnet: pfx(subnet)}
		p.Gateway, _ = netip.ParseAddr(gateway)
		return p
	}
	aux := network.Pool{Subnet: pfx("10.1.0.0/24"), Range: pfx("10.1.0.128/25"), GrowLimit: pfx("10.1.0.0/20"),
		Gateway: addr("10.1.0.128"), Aux: map[string]netip.Addr{"printer": addr("10.1.0.7")}}

	for name, want := range map[string]network.Network{
		"bridge": {ID: digits("1"), Driver: "bridge", Origin: network.OriginPredefined,
			Spec: network.Spec{MTU: 1500, Pools: []network.Pool{{Subnet: pfx("172.17.0.0/16"),
				Range:   pfx("172.17.4.0/24"),
				Gateway: addr("172.17.0.1")}, {Subnet: pfx("fd00:5::/64"), Range: pfx("fd00:5::/64"),
				Gateway: addr("fd00:5::1")}},
				Bridge: &network.Bridge{Device: "docker0", Masquerade: true, HostBinding: addr("127.0.0.1")}}},
		"host": {ID: digits("2"), Driver: "host", Origin: network.OriginPredefined},
		"app": {ID: digits("a"), Driver: "bridge",
			Spec: network.Spec{MTU: 1400, Pools: []network.Pool{aux, pool("fd00:1::/64", "fd00:1::1")},
				DNS: []netip.Addr{addr("9.9.9.9")}, Labels: map[string]string{"env": "test"}, InterfacePrefix: "net",
				AnnounceTimes: &two, AnnounceEvery: &pause,
				Bridge: &network.Bridge{Device: "br-app", HostBinding: addr("192.0.2.1"),
					TrustedInterfaces: []string{"eth1", "wg0"}, IPv4: network.BridgeFamily{Mode: "nat"},
					IPv6: network.BridgeFamily{Mode: "nat-unprotected", SNAT: addr("2001:db8::1")}}},
			Status: network.Status{AppliedFingerprint: "app acknowledged"}},
		"moving": {ID: digits("b"), Driver: "bridge",
			Spec: network.Spec{MTU: 1500, Pools: []network.Pool{pool("10.3.0.0/24", "10.3.0.1")},
				Bridge: &network.Bridge{Device: "br-bbbbbbbbbbbb", Masquerade: true, InterContainer: true}},
			Status: network.Status{Generation: 1, Former: []network.Pool{pool("10.2.0.0/24", "10.2.0.1")},
				FormerSubnets: []netip.Prefix{pfx("10.2.0.0/24")}, Renumbering: true, AdoptedBridge: true,
				MAC: network.MACOf(addr("10.2.0.1"))}},
		"lan": {ID: digits("c"), Driver: "macvlan", Spec: network.Spec{DHCP4: true, Macvlan: &network.Macvlan{
			ParentSpec: network.ParentSpec{Link: "eth0.10", Mode: "vepa", NoShim: true, NoProbe: true}}}},
		"ipv": {ID: digits("d"), Driver: "ipvlan", Spec: network.Spec{Pools: []network.Pool{pool("10.4.0.0/24", "")},
			IPvlan: &network.IPvlan{ParentSpec: network.ParentSpec{Link: "eth1", Mode: "l3"}, Flag: "private"}}},
		"island": {ID: digits("e"), Driver: "macvlan", Spec: network.Spec{Internal: true,
			Pools:   []network.Pool{pool("10.5.0.0/24", "")},
			Macvlan: &network.Macvlan{ParentSpec: network.ParentSpec{Link: "dm-eeeeeeeeeeee", Mode: "bridge"}}}},
		"conf": {ID: digits("f"), Driver: "null", Origin: network.OriginConfigOnly},
		"from": {ID: digits("4"), Driver: "bridge",
			Spec: network.Spec{MTU: 1500, ConfigFrom: "conf", Pools: []network.Pool{pool("10.6.0.0/24", "10.6.0.1")},
				Bridge: &network.Bridge{Device: "br-444444444444", Masquerade: true, InterContainer: true}}},
		"": {ID: digits("5"), Driver: "bridge", Status: network.Status{Deleting: true},
			Spec: network.Spec{MTU: 1500, Internal: true, Pools: []network.Pool{pool("10.7.0.0/24", "10.7.0.1")},
				Bridge: &network.Bridge{Device: "br-555555555555", Masquerade: true, InterContainer: true,
					IPv4: network.BridgeFamily{Mode: "isolated"}}}},
	} {
		got, ok := s.Network(want.ID)
		want.Name, want.Scope, want.CreatedAt, want.Spec.Options = name, network.Local, got.CreatedAt, got.Spec.Options
		if !ok || got.CreatedAt.IsZero() || !reflect.DeepEqual(got.Network, want) {
			t.Errorf("got network %+v\nwant %+v", got.Network, want)
		}
	}

	if app, _ := s.NetworkNamed("app"); app.Spec.Options[network.OptMode6] != "nat-unprotected" ||
		!strings.HasPrefix(app.Request, `{"ID":"aaaa`) {
		t.Errorf("got options %v, request %s", app.Spec.Options, app.Request)
	}

	if moving, _ := s.NetworkNamed("moving"); !moving.Status.EndpointsOutdated() {
		t.Error("the endpoints are not outdated after the upgrade")
	}

	web, ok := s.Sandbox(digits("6"))
	if !ok || len(web.Endpoints) != 2 || !web.Endpoints[0].Renumbering || web.Endpoints[1].Lease4 == nil {
		t.Errorf("got sandbox %+v", web)
	}

	if r := s.Reservation(digits("9")); len(r.Addresses) != 1 || len(r.Affinity) != 1 ||
		len(s.Held(digits("9"))) != 1 || len(s.Sysctls()) != 1 {
		t.Errorf("got reservation %+v, held leases %+v, sysctls %+v", r, s.Held(digits("9")), s.Sysctls())
	}
}

func digits(of string) string { return strings.Repeat(of, 64) }
