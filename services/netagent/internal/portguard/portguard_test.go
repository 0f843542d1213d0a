package portguard_test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/netagent/internal/portguard"
)

func open(t testing.TB, ns *testns.NS) *portguard.Guard {
	t.Helper()
	g, err := portguard.Open(ns.Path(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	if err := g.Missing(); err != nil {
		t.Fatal(err)
	}
	return g
}

func port(i int) portguard.Port {
	a := netip.AddrFrom4([4]byte{172, 17, byte(i >> 8), byte(i)})
	return portguard.Port{Name: fmt.Sprintf("veth%d", i), Bridge: "docker0",
		MACs:      []net.HardwareAddr{{2, 0x42, 172, 17, byte(i >> 8), byte(i)}},
		Addresses: []netip.Addr{a, netip.MustParseAddr(fmt.Sprintf("fd00::%x", i))}}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTablesAreRepaired(t *testing.T) {
	ns := testns.New(t)
	g := open(t, ns)
	must(t, g.PutBridge(portguard.Bridge{Name: "docker0", Internal: true,
		Subnets: []netip.Prefix{netip.MustParsePrefix("172.17.0.0/16")}}))
	p := port(2)
	p.Allowed = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.1.0.0/16"),
		netip.MustParsePrefix("fd01::/64")}
	must(t, g.PutPort(p))
	want := ns.Run("nft", "list", "ruleset")
	for _, part := range []string{`"veth2" . 02:42:ac:11:00:02 . 172.17.0.2`, "172.17.0.0/16", "10.0.0.0/8"} {
		if !strings.Contains(want, part) {
			t.Errorf("no %s in\n%s", part, want)
		}
	}

	// A restarted process adopts correct tables.
	handle := func() string { return ns.Run("nft", "-a", "list", "table", "bridge", portguard.TableName) }
	before := handle()
	must(t, g.Close())
	g = open(t, ns)
	changed, err := g.Load([]portguard.Bridge{{Name: "docker0", Internal: true,
		Subnets: []netip.Prefix{netip.MustParsePrefix("172.17.0.0/16")}}}, []portguard.Port{p})
	if err != nil || changed || handle() != before {
		t.Errorf("changed %v, %v:\n%s\n%s", changed, err, before, handle())
	}

	// A port is changed and dropped without touching another with the same address.
	twin := p
	twin.Name = "veth9"
	must(t, g.PutPort(twin))
	must(t, g.DropPorts("veth9", "veth7"))
	if now := ns.Run("nft", "list", "ruleset"); now != want {
		t.Errorf("got %s, want %s", now, want)
	}
	must(t, g.Remove())
	if now := ns.Run("nft", "list", "ruleset"); now != "" {
		t.Errorf("remaining elements: %s", now)
	}
	must(t, g.Remove())
}

func BenchmarkPutPort(b *testing.B) {
	ns := testns.New(b)
	g := open(b, ns)
	must(b, g.PutBridge(portguard.Bridge{Name: "docker0"}))
	i := 1
	for b.Loop() {
		i++
		must(b, g.PutPort(port(i%60000)))
	}
}
