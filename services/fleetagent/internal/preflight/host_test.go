package preflight

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func TestHostsThatCannotHaveTheNetworksAreRefused(t *testing.T) {
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	networks := []Network{{"web", 1400, false, prefixes("10.129.0.0/20", "fd00:1::/64")},
		{"app", 1450, false, prefixes("10.128.0.0/20")}}
	secret := []Network{{"secret", 1440, true, prefixes("10.128.0.0/20")}}
	for name, c := range map[string]struct {
		got  error
		want string
	}{
		"MTU of a tunnel": {Underlay{MTU: 1330}.CheckMTU(four), ""},
		"less": {Underlay{MTU: 1329}.CheckMTU(four),
			"an MTU of 1329, and the networks of a fleet need 1330: 1280 for packets, 50"},
		"less for IPv6": {Underlay{MTU: 1349}.CheckMTU(six),
			"an MTU of 1349, and the networks of a fleet need 1350"},
		"unknown MTU": {Underlay{}.CheckMTU(four), ""},
		"space is free": {Underlay{Routes: prefixes("10.128.0.0/20")}.CheckSpace(prefixes("10.128.0.0/9")),
			""},
		"space is taken": {Underlay{Routes: prefixes("10.0.0.0/8")}.CheckSpace(prefixes("10.128.0.0/9")),
			"is inside of the route 10.0.0.0/8 of this host"},
		"fits": {Underlay{MTU: 1500, Routes: prefixes("10.130.0.0/16")}.Check("two", four,
			networks), ""},
		"MTU of a network": {Underlay{MTU: 1480}.Check("two", four, networks),
			"host two: the interface of its address has an MTU of 1480, and network app needs 1500"},
		"MTU over IPv6": {Underlay{MTU: 1500}.Check("two", six, networks),
			"has an MTU of 1500, and network app needs 1520"},
		"MTU of an encrypted network": {Underlay{MTU: 1490}.Check("two", four, secret),
			"has an MTU of 1490, and network secret needs 1500: 1440 for packets, 60 for the tunnel"},
		"hint of an encrypted network": {Underlay{MTU: 1490}.Check("two", four, secret),
			"fairlead network update --mtu 1430 secret"},
		"encrypted network over IPv6": {Underlay{MTU: 1519}.Check("two", six, secret),
			"and network secret needs 1520: 1440 for packets, 80 for the tunnel"},
		"encrypted network fits": {Underlay{MTU: 1500}.Check("two", four, secret), ""},
		"overlap": {Underlay{MTU: 1500, Routes: prefixes("10.128.8.0/24")}.Check("two", four,
			networks), "its route 10.128.8.0/24 overlaps network app (10.128.0.0/20)"},
		"overlap of IPv6": {Underlay{MTU: 1500, Routes: prefixes("fd00::/16")}.Check("two", four, networks),
			"its route fd00::/16 overlaps network web (fd00:1::/64)"},
		"no networks, no matter": {Underlay{MTU: 1330, Routes: prefixes("10.128.8.0/24")}.Check("two", four, nil),
			""},
		"hint names the largest": {Underlay{MTU: 1480}.Check("two", four, networks),
			"fairlead network update --mtu 1430 app"},
		"hint of the MTU": {Underlay{MTU: 1000}.CheckMTU(four), "raise the MTU, or use --address"},
		"hint of the space": {Underlay{Routes: prefixes("10.128.0.0/9")}.CheckSpace(prefixes("10.128.0.0/9")),
			"use --address-space"},
		"the other family's is not": {Underlay{Routes: prefixes("fc00::/7")}.CheckSpace(prefixes("10.128.0.0/9")), ""},
	} {
		if c.want == "" && c.got != nil || c.want != "" && (c.got == nil || !strings.Contains(c.got.Error(), c.want)) {
			t.Errorf("%s: got error %v, want %q", name, c.got, c.want)
		}
	}
}

// zero is an address of a file of routes.
var zero = strings.Repeat("0", 32)

func TestRoutesAreRead(t *testing.T) {
	four := routesIn(`Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0102A8C0	0003	0	0	0	00000000	0	0	0
eth0	0002A8C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
docker0	000011AC	00000000	0001	0	0	0	0000FFFF	0	0	0
`, route4)
	if want := prefixes("172.17.0.0/16", "192.168.2.0/24"); !slices.Equal(four, want) {
		t.Errorf("IPv4: got %v, want %v", four, want)
	}
	six := routesIn(`20010db8000000000000000000000000 40 `+zero+` 00 `+zero+` 00000100 00000001 00000000 00000001     eth0
fe800000000000000000000000000000 40 `+zero+` 00 `+zero+` 00000100 00000001 00000000 00000001     eth0
20010db8000000000000000000000001 80 `+zero+` 00 `+zero+` 00000000 00000002 00000000 80200001     eth0
`+zero+` 00 `+zero+` 00 `+zero+` ffffffff 00000001 00000000 00200200       lo
`, route6)
	if want := prefixes("2001:db8::/64"); !slices.Equal(six, want) {
		t.Errorf("IPv6: got %v, want %v", six, want)
	}
}

func TestSocketsOfAPortAreFound(t *testing.T) {
	line := func(port, inode string) string {
		return " 1: 00000000:" + port + " 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 " + inode +
			" 2 0000000000000000 0\n"
	}
	for name, c := range map[string]struct {
		text string
		want bool
	}{
		"port": {line("0035", "4711") + line("12B5", "4711"), true}, "other port": {line("0035", "4711"), false},
		"header": {"  sl  local_address rem_address   st\n", false},
	} {
		if got := portTaken(c.text, TunnelPort); got != c.want {
			t.Errorf("%s: got %t, want %t", name, got, c.want)
		}
	}
}

// TestVXLANInterfacesShareThePort: their sockets look like those of programs.
func TestVXLANInterfacesShareThePort(t *testing.T) {
	ns := testns.New(t)
	check := func(name, want string) {
		t.Helper()
		var err error
		ns.Do(func() { err = PortInUse() })
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: got error %v, want %q", name, err, want)
		}
	}
	check("nothing", "")
	ns.Run("ip", "link", "add", "other", "type", "vxlan", "id", "5", "dstport", "4788", "local", "127.0.0.1")
	ns.Run("ip", "link", "set", "other", "up")
	l := ns.ListenPacket("udp", "0.0.0.0:4789")
	check("program", "port 4789/udp: is needed for packets between hosts, and a program of this host uses it")
	_ = l.Close()
	check("program stopped", "")
	for n, local := range []string{"127.0.0.1", "::1"} {
		name := fmt.Sprintf("vx%d", n)
		ns.Run("ip", "link", "add", name, "type", "vxlan", "id", "7", "dstport", "4789", "local", local)
		ns.Run("ip", "link", "set", name, "up")
		check("interface with "+local, "")
	}
	ns.Run("ip", "link", "set", "vx0", "down")
	ns.Run("ip", "link", "set", "vx1", "down")
	ns.ListenPacket("udp", "0.0.0.0:4789")
	check("interfaces that are down", "a program of this host uses it")
}

func TestDamagedDumpsAreNoInterfaces(t *testing.T) {
	links, err := syscall.NetlinkRIB(syscall.RTM_GETLINK, syscall.AF_UNSPEC)
	if err != nil {
		t.Fatal(err)
	}
	links = links[:min(len(links), 8<<10)] // the test machine can have hundreds
	for n := range links {
		_ = servesVXLAN(links[:n], TunnelPort)
		_ = attribute(links[n:], 1)
	}
}

func TestUnderlayIsRead(t *testing.T) {
	u, err := ReadUnderlay(netip.MustParseAddr("127.0.0.1"))
	if err != nil || u.MTU < minMTU {
		t.Errorf("loopback: got %+v, error %v", u, err)
	}
}

func TestNetworksOfAFleetAreRead(t *testing.T) {
	got := Networks(map[string]*fleetv1.OverlayNetwork{
		"1": {Name: "web", Mtu: 1440, Encrypted: true, Pools: []*fleetv1.OverlayPool{{Subnet: "10.128.0.0/20"}}},
		"2": {Name: "old", Deleted: true}})
	want := []Network{{"web", 1440, true, prefixes("10.128.0.0/20")}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
