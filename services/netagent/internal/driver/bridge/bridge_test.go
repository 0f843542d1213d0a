package bridge_test

import (
	"context"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/driver/bridge"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/portguard"
)

// fixture returns a driver on a host with the bridge of a network.
func fixture(t *testing.T, change func(*network.Network)) (*testns.NS, *bridge.Driver, network.Network) {
	t.Helper()
	ns := testns.New(t)
	host, err := kernel.Open(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(host.Close)
	n := network.BridgeSettings{BridgeName: "br0"}.WithDefaults().Predefined()[0]
	n.ID = id.New()
	change(&n)
	d := bridge.New(host, openGuard(t, ns))
	if _, created, err := d.EnsureNetwork(n, false); err != nil || !created {
		t.Fatalf("created %v, %v", created, err)
	}
	return ns, d, n
}

// openGuard returns a port guard that is closed with the test.
func openGuard(t *testing.T, ns *testns.NS) *portguard.Guard {
	t.Helper()
	g, err := portguard.Open(ns.Path(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g
}

// owner is the owner of all endpoints.
const owner = "0123456789abcdef"

// connect creates a pinned namespace with one endpoint.
func connect(t *testing.T, d *bridge.Driver, n network.Network, addr string) (pin string, e endpoint.Endpoint) {
	t.Helper()
	ip := netip.MustParsePrefix(addr)
	e = d.Complete(n, endpoint.Endpoint{ID: id.New(), NetworkID: n.ID, Interface: "eth0", IPv4: ip,
		MAC: network.MACOf(ip.Addr()), Gateway4: n.Spec.Pools[0].Gateway})
	pin = filepath.Join(t.TempDir(), "pin")
	err := kernel.NewNamespace(func(ns *kernel.Namespace) error {
		if err := d.Attach(ns, n, owner, e); err != nil {
			return err
		}
		return ns.Pin(pin)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kernel.Unpin(pin); err != nil {
			t.Error(err)
		}
	})
	return pin, e
}

// reaches reports whether an address refuses a connection from a namespace. A refusal is a
// response, so the address is reachable. It waits longer if that is wanted.
func reaches(t *testing.T, ns *testns.NS, pin, addr string, want bool) bool {
	t.Helper()
	seconds := "1"
	if want {
		seconds = "30" // on a loaded machine
	}
	out, _ := ns.Try("nsenter", "--net="+pin, "--", "timeout", seconds, "bash", "-c", "</dev/tcp/"+addr+"/9")
	return strings.Contains(out, "refused")
}

func TestInterContainerTraffic(t *testing.T) {
	for _, icc := range []bool{true, false} {
		ns, d, n := fixture(t, func(n *network.Network) { n.Spec.Bridge.InterContainer = icc })
		one, _ := connect(t, d, n, "172.17.0.2/16")
		_, _ = connect(t, d, n, "172.17.0.3/16")
		if got := reaches(t, ns, one, "172.17.0.3", icc); got != icc {
			t.Errorf("ICC %v: container reaches the other one: %v", icc, got)
		}
		if !reaches(t, ns, one, "172.17.0.1", true) {
			t.Errorf("ICC %v: container does not reach the host", icc)
		}
	}
}

func TestDetachDisablesPortInHeldNamespace(t *testing.T) {
	ns, d, n := fixture(t, func(*network.Network) {})
	pin, e := connect(t, d, n, "172.17.0.2/16")
	if !reaches(t, ns, pin, "172.17.0.1", true) {
		t.Fatal("container does not reach the host")
	}
	for range 2 { // idempotent
		if err := d.Detach(n, endpoint.Sandbox{Owner: owner}, e); err != nil {
			t.Fatal(err)
		}
	}
	if out := ns.Run("bridge", "link", "show", "dev", e.HostInterface); !strings.Contains(out, "disabled") {
		t.Errorf("port is not disabled: %s", out)
	}
	if out := ns.Run("bridge", "fdb", "show", "dev", e.HostInterface); strings.Contains(out, e.MAC.String()) {
		t.Errorf("FDB entry remains: %s", out)
	}
	if out := ns.Run("ip", "neigh", "show", "dev", "br0"); strings.Contains(out, "172.17.0.2") {
		t.Errorf("neighbour entry remains: %s", out)
	}
	runLinkGC(t, d)
	if out, err := ns.Try("ip", "link", "show", e.HostInterface); err == nil {
		t.Errorf("veth pair remains: %s", out)
	}
}

func TestLinkGCKeepsReattachedLink(t *testing.T) {
	ns, d, n := fixture(t, func(*network.Network) {})
	pin, e := connect(t, d, n, "172.17.0.2/16")
	if err := d.Remove(n, endpoint.Sandbox{Owner: owner}, e); err != nil {
		t.Fatal(err)
	}
	if err := kernel.WithPinned(pin, func(inside *kernel.Namespace) error {
		return d.Attach(inside, n, owner, e)
	}); err != nil {
		t.Fatal(err)
	}
	runLinkGC(t, d)
	ns.Run("ip", "link", "show", e.HostInterface)
	if !reaches(t, ns, pin, "172.17.0.1", true) {
		t.Error("container does not reach the host")
	}
}

func TestLinkGCKeepsForeignLink(t *testing.T) {
	ns, d, n := fixture(t, func(*network.Network) {})
	ns.Run("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
	if err := d.Detach(n, endpoint.Sandbox{Owner: owner},
		endpoint.Endpoint{HostInterface: "veth0", Bridge: n.Bridge().Device}); err != nil {
		t.Fatal(err)
	}
	runLinkGC(t, d)
	ns.Run("ip", "link", "show", "veth0")
}

// runLinkGC deletes all detached links immediately.
func runLinkGC(t *testing.T, d *bridge.Driver) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	stop()
	d.RunLinkGC(ctx, func(err error) { t.Error(err) })
}

// apply applies an endpoint in its pinned namespace and returns the changes.
func apply(t *testing.T, d *bridge.Driver, n network.Network, pin string, e endpoint.Endpoint) (changes []string) {
	t.Helper()
	if err := kernel.WithPinned(pin, func(ns *kernel.Namespace) (err error) {
		changes, err = d.Apply(ns, n, owner, e, nil)
		return err
	}); err != nil {
		t.Error(err)
	}
	return changes
}

func TestApplyReattachesPorts(t *testing.T) {
	ns, d, n := fixture(t, func(n *network.Network) { n.Spec.Bridge.InterContainer = false })
	pin, e := connect(t, d, n, "172.17.0.2/16")
	_, other := connect(t, d, n, "172.17.0.3/16")
	all := []endpoint.Sandbox{{Owner: owner, Endpoints: []endpoint.Endpoint{e}},
		{Owner: "other", Endpoints: []endpoint.Endpoint{other}}}
	if found, err := d.Compare(n, all); err != nil || len(found) > 0 {
		t.Errorf("got differences %v, %v before the damage", found, err)
	}

	ns.Run("ip", "link", "set", e.HostInterface, "nomaster")
	ns.Run("ip", "link", "set", e.HostInterface, "down")
	ns.Run("ip", "neigh", "del", "172.17.0.2", "dev", "br0")
	if found, err := d.Compare(n, all); err != nil || len(found) != 1 || len(found[owner]) != 2 {
		t.Errorf("got differences %v, %v, want two of %s", found, err, owner)
	}
	if changes := apply(t, d, n, pin, e); len(changes) != 1 {
		t.Errorf("applied %v", changes)
	}
	if out := ns.Run("ip", "-d", "link", "show", e.HostInterface); !strings.Contains(out, "isolated on") ||
		!strings.Contains(out, "hairpin on") {
		t.Errorf("port flags not restored: %s", out)
	}
	if !reaches(t, ns, pin, "172.17.0.1", true) {
		t.Error("container does not reach the host")
	}

	if changes := apply(t, d, n, pin, e); len(changes) != 0 {
		t.Errorf("second apply: got changes %v, want none", changes)
	}
	if found, err := d.Compare(n, all); err != nil || len(found) > 0 {
		t.Errorf("got differences %v, %v after the repair", found, err)
	}
}

func TestSweepReattachesPorts(t *testing.T) {
	ns, d, n := fixture(t, func(n *network.Network) { n.Spec.Bridge.InterContainer = false })
	pin, e := connect(t, d, n, "172.17.0.2/16")
	all := []endpoint.Sandbox{{Owner: owner, Endpoints: []endpoint.Endpoint{e}}}
	host, err := kernel.Open(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()

	ns.Run("ip", "link", "set", e.HostInterface, "nomaster")
	ns.Run("ip", "link", "set", e.HostInterface, "down")
	ns.Run("ip", "neigh", "flush", "dev", "br0", "nud", "permanent")
	ns.Run("ip", "neigh", "add", "172.17.0.9", "dev", "br0", "lladdr", e.MAC.String(), "nud", "permanent")
	for _, want := range []int{3, 0} { // a port, its neighbour entry, and a stale one
		if changes, err := d.Sweep(n, all, host.Links); err != nil || len(changes) != want {
			t.Errorf("got changes %v, %v, want %d", changes, err, want)
		}
	}

	if out := ns.Run("ip", "-d", "link", "show", e.HostInterface); !strings.Contains(out, "isolated on") {
		t.Errorf("port flags not restored: %s", out)
	}
	if !reaches(t, ns, pin, "172.17.0.1", true) {
		t.Error("container does not reach the host")
	}
}
