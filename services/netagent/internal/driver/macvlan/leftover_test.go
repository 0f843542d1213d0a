package macvlan_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/driver/macvlan"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// driver is a driver on a host with a cable, that remembers some sandboxes.
func driver(t *testing.T, remembered ...network.Sandbox) (*testns.NS, *macvlan.Driver) {
	t.Helper()
	ns := testns.New(t)
	cable(ns)
	host, err := kernel.Open(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(host.Close)
	return ns, macvlan.New(host, func() []network.Network { return nil }, func() []network.Sandbox { return remembered })
}

// TestWhatAKilledMakerLeftIsMadeOrGoes leaves links as a process does that is killed right after the kernel has made them.
func TestWhatAKilledMakerLeftIsMadeOrGoes(t *testing.T) {
	net := network.Network{ID: id.New(), Name: "n", Driver: network.DriverMacvlan, Mode: "bridge", Parent: "p0"}
	island := net
	island.Parent, island.Internal = "dm-"+id.Short(net.ID), true
	vlan := net
	vlan.Parent, vlan.NoShim = "p0.10", true
	for name, c := range map[string]struct {
		network   network.Network
		half      string // makes what was left
		link      string // is there when it is made
		needsVLAN bool
	}{
		"an island of the network": {island, "ip link add " + island.Parent + " type veth peer name x" + island.Parent[1:], island.Parent, false},
		"a way for the host":       {net, "ip link add shim-" + net.ID[:10] + " link p0 type macvlan mode bridge", "shim-" + net.ID[:10], false},
		"a VLAN":                   {vlan, "ip link add fl$(cat /sys/class/net/p0/ifindex).10 link p0 type vlan id 10", "p0.10", true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, goesOn := range []bool{true, false} {
				ns, d := driver(t)
				before := ns.Run("ip", "-o", "link")
				if out, err := ns.Try("nsenter", "--net="+ns.Path(), "--", "unshare", "--mount", "sh", "-c", "mount -t sysfs sysfs /sys && "+c.half); err != nil {
					if c.needsVLAN && strings.Contains(out, "Unknown device type") {
						t.Skip("this kernel has no 802.1q; the tests of package deploy/vm run this one in a virtual machine")
					}
					t.Fatalf("%v: %s", err, out)
				}
				if goesOn {
					if _, _, err := d.Ensure(c.network, true); err != nil {
						t.Error(err)
					}
					if out := ns.Run("ip", "link", "show", "dev", c.link); !strings.Contains(out, "alias fairlead:") || !strings.Contains(out, ",UP") {
						t.Errorf("it is not made: %s", out)
					}
				}
				if err := d.Delete(c.network); err != nil {
					t.Error(err)
				}
				if now := ns.Run("ip", "-o", "link"); strings.Count(now, "\n") != strings.Count(before, "\n") {
					t.Errorf("gone on with %v, there is now\n%s\nand was\n%s", goesOn, now, before)
				}
			}
		})
	}
}

func TestAnInterfaceThatHasNoNameYetIsSweptOutOfAContainer(t *testing.T) {
	pin := filepath.Join(t.TempDir(), "pin")
	if err := kernel.NewNamespace(func(ns *kernel.Namespace) error { return ns.Pin(pin) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kernel.Unpin(pin); err != nil {
			t.Error(err)
		}
	})
	ns, d := driver(t, network.Sandbox{Owner: id.New(), NetnsPath: pin})
	for _, link := range []string{"child0123456789", "users"} {
		ns.Run("ip", "link", "add", link, "link", "p0", "type", "macvlan", "mode", "bridge")
		ns.Run("ip", "link", "set", link, "netns", pin)
	}
	if _, err := d.Restore(network.Network{ID: id.New(), Name: "n", Driver: network.DriverMacvlan, Mode: "bridge", Parent: "p0"}, nil, func() ([]kernel.Link, error) { return nil, nil }); err != nil {
		t.Error(err)
	}
	if out := ns.Run("nsenter", "--net="+pin, "--", "ip", "-o", "link"); strings.Contains(out, "child") || !strings.Contains(out, "users") {
		t.Errorf("in the container there is\n%s", out)
	}
}

func TestAParentThatIsTooShortForTheNetworkIsToldOf(t *testing.T) {
	_, d := driver(t)
	n := network.Network{ID: id.New(), Name: "n", Driver: network.DriverMacvlan, Mode: "bridge", Parent: "p0", MTU: 9000}
	err := d.Check(n)
	if err == nil || !strings.Contains(err.Error(), "network n: its MTU 9000 is larger than the MTU 1500 of its parent interface p0; choose a smaller one, or ip link set p0 mtu 9000") {
		t.Errorf("refused with %v", err)
	}
}
