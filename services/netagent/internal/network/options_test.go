package network_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// TestOptionErrorsNameOption compares the whole error of each option: option and value first.
func TestOptionErrorsNameOption(t *testing.T) {
	const (
		bridge = "com.docker.network.bridge."
		link   = ": is not a valid interface name: 1 to 15 characters, no spaces, slashes or colons"
		family = ": is not a valid address of this family"
		yesNo  = ": is neither true nor false"
		modes  = "; use nat, nat-unprotected, routed or isolated"
	)
	for _, c := range []struct{ driver, key, value, want string }{
		{"bridge", bridge + "name", "", link}, {"bridge", bridge + "name", "br/0", link},
		{"bridge", bridge + "name", "..", link}, {"bridge", bridge + "name", "br0\n", link},
		{"bridge", bridge + "enable_icc", "yes", yesNo}, {"bridge", bridge + "enable_icc", "", yesNo},
		{"bridge", bridge + "enable_ip_masquerade", "no", yesNo}, {"bridge", bridge + "inhibit_ipv4", "on", yesNo},
		{"bridge", "com.docker.network.driver.private.no_proxy_6to4", "2", yesNo},
		{"bridge", "com.docker.network.enable_ipv6", "yes", yesNo},
		{"bridge", bridge + "host_binding_ipv4", "10.0.0.0/8", ": is not a valid IP address"},
		{"bridge", bridge + "host_binding_ipv4", "fe80::1%eth0", ": is not a valid IP address"},
		{"bridge", bridge + "gateway_mode_ipv4", "NAT", ": failed to parse " + bridge +
			"gateway_mode_ipv4 value: NAT (unknown gateway mode NAT)" + modes},
		{"bridge", bridge + "gateway_mode_ipv6", "", ": failed to parse " + bridge +
			"gateway_mode_ipv6 value:  (unknown gateway mode )" + modes},
		{"bridge", "com.docker.network.host_ipv4", "fd00::1", family},
		{"bridge", "com.docker.network.host_ipv4", "0.0.0.0", family},
		{"bridge", "com.docker.network.host_ipv6", "192.0.2.1", family},
		{"bridge", "com.docker.network.host_ipv6", "fe80::1%eth0", family},
		{"bridge", "com.docker.network.host_ipv6", "::ffff:192.0.2.1", family},
		{"bridge", bridge + "trusted_host_interfaces", "eth0,eth1 x",
			`: contains the invalid interface name "eth0,eth1 x"; separate names by colons`},
		{"bridge", bridge + "trusted_host_interfaces", "eth0::eth1",
			`: contains the invalid interface name ""; separate names by colons`},
		{"bridge", "com.docker.network.driver.mtu", "65536", ": invalid MTU number: 65536"},
		{"bridge", "com.docker.network.driver.mtu", "1500B", ": invalid MTU number: 1500B"},
		{"bridge", "com.docker.network.container_iface_prefix", "abcdefghijklmno",
			": is not a valid start of an interface name"},
		{"macvlan", "parent", "lo", ": loopback interface is not a valid macvlan parent link"},
		{"ipvlan", "parent", "eth0.x", ": invalid subinterface vlan name eth0.x, example formatting is eth0.10"},
		{"ipvlan", "parent", "eth0.5000", ": vlan id must be between 1-4094, received: 5000"},
		{"macvlan", "host_access", "maybe", yesNo}, {"ipvlan", "conflict_detection", "", yesNo},
		{"macvlan", "macvlan_mode", "foo", ": requested macvlan mode 'foo' is not valid, " +
			"'bridge' mode is the macvlan driver default; use bridge, private, vepa, passthru"},
		{"ipvlan", "ipvlan_mode", "L3", ": requested ipvlan mode 'L3' is not valid, " +
			"'l2' mode is the ipvlan driver default; use l2, l3, l3s"},
		{"ipvlan", "ipvlan_flag", "foo", ": requested ipvlan flag 'foo' is not valid, " +
			"'bridge' is the ipvlan driver default; use bridge, private, vepa"},
		{"overlay", "encrypted", "maybe", yesNo},
	} {
		w := opt(c.key, c.value)
		w.Driver = c.driver
		_, err := w.Build()
		want := "option " + c.key + "=" + c.value + c.want
		if f := invalid(err); f == nil || f.Field != "options" || f.Error() != want {
			t.Errorf("%s: got  %v\nwant %s", c.driver, err, want)
		}
	}
}

func TestEncryptedOptionWithOrWithoutValue(t *testing.T) {
	for value, want := range map[string]bool{"": true, "true": true, "1": true, "false": false} {
		w := opt("encrypted", value)
		w.Driver = network.DriverOverlay
		if n, err := w.Build(); err != nil || n.Spec.Encrypted != want {
			t.Errorf("encrypted=%s: got %t, %v, want %t", value, n.Spec.Encrypted, err, want)
		}
	}
}

// invalid returns the only fault of an error, if it is Invalid.
func invalid(err error) *fault.Fault {
	f := (*fault.Fault)(nil)
	if !errors.As(err, &f) || f.Kind != fault.Invalid || strings.Contains(err.Error(), "\n"+f.Error()) ||
		err.Error() != f.Error() {
		return nil
	}
	return f
}

func TestUnknownOptionListsThoseOfDriver(t *testing.T) {
	for driver, known := range map[string]string{
		"macvlan": "com.docker.network.advertise_addr_ms, com.docker.network.advertise_addr_nmsgs, " +
			"com.docker.network.container_iface_prefix, com.docker.network.driver.mtu, " +
			"conflict_detection, host_access, macvlan_mode, parent",
		"overlay": "com.docker.network.driver.mtu, encrypted",
	} {
		w := opt("com.docker.network.bridge.name", "br0")
		w.Driver = driver
		_, err := w.Build()
		want := "option com.docker.network.bridge.name: is not known; " + driver + " networks have " + known
		if f := invalid(err); f == nil || f.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestModesContradictingAddressesRejected(t *testing.T) {
	const mode4, mode6 = network.OptMode4, network.OptMode6
	const want = ": nothing is translated in gateway mode 'routed', so no address of the host is used"
	for _, c := range []struct {
		options map[string]string
		key     string // of the rejected option; empty: valid
	}{
		{map[string]string{mode4: "routed", network.OptSource4: "192.0.2.1"}, network.OptSource4 + "=192.0.2.1"},
		{map[string]string{mode6: "routed", network.OptSource6: "2001:db8::1"}, network.OptSource6 + "=2001:db8::1"},
		{map[string]string{mode4: "routed", network.OptHostBinding: "192.0.2.1"},
			network.OptHostBinding + "=192.0.2.1"},
		{map[string]string{mode6: "routed", network.OptHostBinding: "fd00::1"}, network.OptHostBinding + "=fd00::1"},
		{map[string]string{mode6: "routed", network.OptHostBinding: "192.0.2.1"}, ""},
		{map[string]string{mode4: "routed", network.OptHostBinding: "0.0.0.0"}, ""},
		{map[string]string{mode6: "routed", network.OptSource4: "192.0.2.1"}, ""},
		{map[string]string{mode4: "nat-unprotected", network.OptSource4: "192.0.2.1"}, ""},
	} {
		_, err := network.Draft{Name: "n", Options: c.options}.Build()
		if f := invalid(err); c.key == "" && err != nil ||
			c.key != "" && (f == nil || f.Error() != "option "+c.key+want) {
			t.Errorf("%v: got %v", c.options, err)
		}
	}
}

func TestOptionsReachTheirField(t *testing.T) {
	w := network.Draft{Name: "n", Internal: true, Options: map[string]string{
		network.OptBridgeName: "br-own", network.OptTrusted: "eth0:eth1", network.OptMode4: "isolated",
		network.OptMode6: "nat-unprotected", network.OptSource4: "192.0.2.1", network.OptSource6: "2001:db8::1",
		network.OptAnnounceTimes: "0", network.OptAnnounceEvery: "250", network.OptNoProxy: "true"}}
	n, err := w.Build()
	if err != nil {
		t.Fatal(err)
	}
	b := n.Bridge()
	if b.Device != "br-own" || strings.Join(b.TrustedInterfaces, " ") != "eth0 eth1" || b.IPv4.Mode != "isolated" ||
		b.IPv6.Mode != "nat-unprotected" || b.IPv4.SNAT != addr("192.0.2.1") || b.IPv6.SNAT != addr("2001:db8::1") {
		t.Errorf("got %+v", b)
	}
	if mapped, err := opt(network.OptHostBinding, "::ffff:127.0.0.1").Build(); err != nil ||
		mapped.Bridge().HostBinding != addr("127.0.0.1") {
		t.Errorf("got host address %s, %v for an IPv4-mapped one", mapped.Bridge().HostBinding, err)
	}
	if times, every := n.Announcements(); times != 0 || every.Milliseconds() != 250 {
		t.Errorf("got %d announcements every %s", times, every)
	}
	if times, every := (network.Network{}).Announcements(); times != 3 || every.Seconds() != 1 {
		t.Errorf("got %d announcements every %s by default", times, every)
	}
	if len(w.Options) != 9 || w.Options[network.OptBridgeName] != "br-own" {
		t.Errorf("the request is modified: %v", w.Options)
	}
}

func TestMTUDefaultsOfDrivers(t *testing.T) {
	for _, c := range []struct {
		driver, mtu string
		want        int
	}{{"bridge", "", 1500}, {"bridge", "0", 1500}, {"bridge", "9000", 9000},
		{"macvlan", "", 0}, {"macvlan", "1500", 1500},
		{"ipvlan", "", 0}, {"overlay", "", 0}, {"overlay", "1400", 1400}} {
		w := network.Draft{ID: id.New(), Name: "n", Driver: c.driver, Options: map[string]string{}}
		if c.mtu != "" {
			w.Options[network.OptMTU] = c.mtu
		}
		if n, err := w.Build(); err != nil || n.Spec.MTU != c.want {
			t.Errorf("%s with %q: got MTU %d, %v, want %d", c.driver, c.mtu, n.Spec.MTU, err, c.want)
		}
	}
}

func TestOverlappingSubnetsOfParentRejected(t *testing.T) {
	for second, valid := range map[string]bool{"10.1.0.0/24": false, "10.1.0.128/25": false, "10.0.0.0/8": false,
		"10.1.1.0/24": true, "fd00::/64": true, "0.0.0.0/25": true} {
		w := pools(network.PoolSpec{Subnet: prefix("10.1.0.0/24")}, network.PoolSpec{Subnet: prefix(second)})
		w.Driver = network.DriverMacvlan
		_, err := w.Build()
		if f := invalid(err); valid && err != nil || !valid && (f == nil ||
			f.Error() != "network n: multiple overlapping subnet configuration is not supported") {
			t.Errorf("%s: got %v", second, err)
		}
	}
}

func TestIPAMDriverErrors(t *testing.T) {
	const hint = "; use -d macvlan, or -d ipvlan in mode l2, with -o parent=LINK"
	parent := map[string]string{"parent": "eth0"}
	for name, c := range map[string]struct {
		w    network.Draft
		want string
	}{
		"unknown": {network.Draft{IPAM: "infoblox"}, `ipam driver "infoblox" not found; use default or dhcp`},
		"bridge":  {network.Draft{IPAM: "dhcp"}, "ipam driver dhcp requires a network on a LAN" + hint},
		"own parent": {network.Draft{ID: id.New(), IPAM: "dhcp", Driver: "macvlan"},
			"ipam driver dhcp requires a network on a LAN" + hint},
		"layer 3": {network.Draft{IPAM: "dhcp", Driver: "ipvlan",
			Options: map[string]string{"parent": "eth0", "ipvlan_mode": "l3"}},
			"ipam driver dhcp requires a network on a LAN" + hint},
		"subnet": {network.Draft{IPAM: "dhcp", Driver: "macvlan", Options: parent,
			Pools: []network.PoolSpec{{Subnet: prefix("10.0.0.0/24")}}},
			"ipam driver dhcp does not accept subnet, ip-range, gateway or aux-address; leave them out"},
	} {
		c.w.Name = "n"
		_, err := c.w.Build()
		if f := invalid(err); f == nil || f.Field != "ipam_driver" || f.Error() != "network n: "+c.want {
			t.Errorf("%s: got  %v\nwant network n: %s", name, err, c.want)
		}
	}

	yes := true
	for driver, both := range map[string]bool{"macvlan": false, "ipvlan": true} {
		w := network.Draft{ID: id.New(), Name: "n", IPAM: "dhcp", Driver: driver, Options: parent}
		if both {
			w.IPv6 = &yes
		}
		n, err := w.Build()
		if err != nil || !n.Spec.DHCP4 || n.Spec.DHCP6 != both || n.IPAM() != "dhcp" || w.UnassignedPools() != nil ||
			n.UsesDHCPFor(addr("fd00::1")) != both || !n.UsesDHCPFor(addr("10.0.0.1")) {
			t.Errorf("%s: got %+v, %v", driver, n.Spec, err)
		}
	}
}
