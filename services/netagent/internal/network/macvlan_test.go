package network_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

func TestParseParent(t *testing.T) {
	for name, want := range map[string]struct {
		parent  network.Parent
		refusal string
	}{
		"eth0":             {network.Parent{Link: "eth0"}, ""},
		"eth0.10":          {network.Parent{Link: "eth0", VLAN: 10}, ""},
		"eth0.1":           {network.Parent{Link: "eth0", VLAN: 1}, ""},
		"e.4094":           {network.Parent{Link: "e", VLAN: 4094}, ""},
		"eth0.0":           {network.Parent{}, "vlan id must be between 1-4094, received: 0"},
		"eth0.4095":        {network.Parent{}, "vlan id must be between 1-4094, received: 4095"},
		"eth0.-1":          {network.Parent{}, "vlan id must be between 1-4094, received: -1"},
		"eth0.x":           {network.Parent{}, "invalid subinterface vlan name eth0.x, example formatting is eth0.10"},
		".10":              {network.Parent{}, "invalid subinterface vlan name .10"},
		"lo":               {network.Parent{}, "loopback interface is not a valid macvlan parent link"},
		"a/b":              {network.Parent{}, "is not a valid interface name"},
		"":                 {network.Parent{}, "is not a valid interface name"},
		"sixteenchars-xyz": {network.Parent{}, "is not a valid interface name"},
	} {
		got, err := network.ParseParent(network.DriverMacvlan, name)
		if want.refusal == "" && (err != nil || got != want.parent) || want.refusal != "" &&
			(err == nil || !strings.Contains(err.Error(), want.refusal)) {
			t.Errorf("%q: got %+v, %v", name, got, err)
		}
	}
}

func FuzzParseParent(f *testing.F) {
	f.Add("eth0.10")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, name string) {
		p, err := network.ParseParent(network.DriverIPvlan, name)
		if err == nil && (p.Link == "" || p.VLAN < 0 || p.VLAN > 4094 || !strings.HasPrefix(name, p.Link)) {
			t.Errorf("%q: got %+v", name, p)
		}
	})
}

func TestCheckSharedParent(t *testing.T) {
	of := func(driver, mode, flag string) network.Network {
		n, p := network.Network{ID: id.New(), Name: "n", Driver: driver}, network.ParentSpec{Link: "eth0", Mode: mode}
		if driver == network.DriverMacvlan {
			n.Spec.Macvlan = &network.Macvlan{ParentSpec: p}
		} else {
			n.Spec.IPvlan = &network.IPvlan{ParentSpec: p, Flag: flag}
		}
		return n
	}

	for _, row := range []struct {
		one, other network.Network
		refusal    string
	}{
		{of("macvlan", "bridge", ""), of("macvlan", "private", ""), ""},
		{of("macvlan", "passthru", ""), of("macvlan", "bridge", ""), "cannot use mode passthru, macvlan network n"},
		{of("macvlan", "bridge", ""), of("macvlan", "passthru", ""), "cannot use mode passthru, macvlan network n"},
		{of("macvlan", "bridge", ""), of("ipvlan", "l2", "bridge"),
			"is already using parent interface eth0: the kernel lets a link have children of one kind only"},
		{of("ipvlan", "l3", "bridge"), of("ipvlan", "l3", "bridge"), ""},
		{of("ipvlan", "l3", "bridge"), of("ipvlan", "l2", "bridge"), "the kernel has one mode per parent interface"},
		{of("ipvlan", "l2", "vepa"), of("ipvlan", "l2", "bridge"), "the kernel has one mode per parent interface"},
	} {
		err := network.CheckSharedParent(row.one, row.other)
		if row.refusal == "" && err != nil || row.refusal != "" &&
			(err == nil || !strings.Contains(err.Error(), row.refusal)) {
			t.Errorf("%+v with %+v: got %v", row.one, row.other, err)
		}
	}
}

func TestParentNetworkDefaults(t *testing.T) {
	build := func(driver string, options map[string]string) (network.Network, error) {
		return network.Draft{ID: id.New(), Name: "lan", Driver: driver, Options: options}.Build()
	}

	n, err := build("macvlan", map[string]string{"parent": "eth0"})
	if err != nil || n.Parent().Mode != "bridge" || n.Spec.MTU != 0 || n.Bridge().Device != "" || n.Spec.Internal ||
		n.NeedsFirewall() || n.IsL3() {
		t.Errorf("macvlan: got %+v, %v", n, err)
	}

	if n, err = build("ipvlan",
		map[string]string{"parent": "eth0", "ipvlan_mode": "l3s",
			"com.docker.network.driver.mtu": "1400"}); err != nil ||
		n.Parent().Mode != "l3s" || n.IPvlanFlag() != "bridge" || n.Spec.MTU != 1400 || !n.IsL3() {
		t.Errorf("ipvlan: got %+v, %v", n, err)
	}

	if n, err = build("macvlan", nil); err != nil || !n.ParentIsOwn() || !n.Spec.Internal {
		t.Errorf("without a parent: got %+v, %v", n, err)
	}

	for _, options := range []map[string]string{{"ipvlan_mode": "l2"},
		{"macvlan_mode": "vepa", "com.docker.network.bridge.name": "x"}, {"host_access": "maybe"}} {
		if _, err := build("macvlan", options); err == nil {
			t.Errorf("%v: got no error", options)
		}
	}
}
