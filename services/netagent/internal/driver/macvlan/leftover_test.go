package macvlan_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/driver/macvlan"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// hostDriver returns a driver on a host with a parent interface and stored sandboxes.
func hostDriver(t *testing.T, stored ...endpoint.Sandbox) (*testns.NS, *macvlan.Driver) {
	t.Helper()
	ns := testns.New(t)
	cable(ns)
	host, err := kernel.Open(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(host.Close)
	return ns, macvlan.New(host, func() []network.Network {
		return nil
	}, func() []endpoint.Sandbox { return stored })
}

// TestInterruptedCreationIsCompletedOrDeleted simulates an agent killed after a netlink request.
func TestInterruptedCreationIsCompletedOrDeleted(t *testing.T) {
	net := onParent(network.DriverMacvlan, "", network.ParentSpec{Mode: "bridge", Link: "p0"})
	dummy, vlan := net, net
	dummy.Spec.Internal = true
	dummy.Spec.Macvlan = macvlanOf(network.ParentSpec{Mode: "bridge", Link: "dm-" + id.Short(net.ID)})
	vlan.Spec.Macvlan = macvlanOf(network.ParentSpec{Mode: "bridge", Link: "p0.10", NoShim: true})
	for name, c := range map[string]struct {
		network   network.Network
		half      string // command that creates the incomplete link
		link      string // name of the complete link
		needsVLAN bool
	}{
		"dummy link": {dummy, "ip link add " + dummy.Parent().Link + " type veth peer name x" +
			dummy.Parent().Link[1:], dummy.Parent().Link, false},
		"shim": {net, "ip link add shim-" + net.ID[:10] + " link p0 type macvlan mode bridge",
			"shim-" + net.ID[:10], false},
		"VLAN device": {vlan, "ip link add fl$(cat /sys/class/net/p0/ifindex).10 link p0 type vlan id 10", "p0.10",
			true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, complete := range []bool{true, false} {
				ns, d := hostDriver(t)
				before := ns.Run("ip", "-o", "link")
				if out, err := ns.Try("nsenter", "--net="+ns.Path(), "--", "unshare", "--mount", "sh", "-c",
					"mount -t sysfs sysfs /sys && "+c.half); err != nil {
					if c.needsVLAN && strings.Contains(out, "Unknown device type") {
						t.Skip("this kernel has no 802.1q; deploy/vm runs this test in a virtual machine")
					}
					t.Fatalf("%v: %s", err, out)
				}
				if complete {
					if _, _, err := d.EnsureNetwork(c.network, true); err != nil {
						t.Error(err)
					}
					if out := ns.Run("ip", "link", "show", "dev", c.link); !strings.Contains(out,
						"alias fairlead:") || !strings.Contains(out, ",UP") {
						t.Errorf("link is not complete: %s", out)
					}
				}
				if err := d.DeleteNetwork(c.network); err != nil {
					t.Error(err)
				}
				if now := ns.Run("ip", "-o", "link"); strings.Count(now, "\n") != strings.Count(before, "\n") {
					t.Errorf("completed %v: got links\n%s\nwant\n%s", complete, now, before)
				}
			}
		})
	}
}

func TestSweepRemovesUnnamedInterfaces(t *testing.T) {
	pin := filepath.Join(t.TempDir(), "pin")
	if err := kernel.NewNamespace(func(ns *kernel.Namespace) error { return ns.Pin(pin) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kernel.Unpin(pin); err != nil {
			t.Error(err)
		}
	})
	ns, d := hostDriver(t, endpoint.Sandbox{Owner: id.New(), NetnsPath: pin})
	for _, link := range []string{"child0123456789", "users"} {
		ns.Run("ip", "link", "add", link, "link", "p0", "type", "macvlan", "mode", "bridge")
		ns.Run("ip", "link", "set", link, "netns", pin)
	}
	lan := onParent(network.DriverMacvlan, "", network.ParentSpec{Mode: "bridge", Link: "p0"})
	if _, err := d.Sweep(lan, nil, func() ([]kernel.Link, error) { return nil, nil }); err != nil {
		t.Error(err)
	}
	if out := ns.Run("nsenter", "--net="+pin, "--", "ip", "-o", "link"); strings.Contains(out, "child") ||
		!strings.Contains(out, "users") {
		t.Errorf("got interfaces\n%s", out)
	}
}

func TestCheckRejectsMTULargerThanParent(t *testing.T) {
	_, d := hostDriver(t)
	n := onParent(network.DriverMacvlan, "", network.ParentSpec{Mode: "bridge", Link: "p0"})
	n.Spec.MTU = 9000
	err := d.Check(n)
	if err == nil || !strings.Contains(err.Error(),
		"network n: MTU 9000 is larger than the MTU 1500 of parent interface p0; choose a smaller one, "+
			"or run: ip link set p0 mtu 9000") {
		t.Errorf("got %v", err)
	}
}
