package firewalltest

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// routed has routed networks, one of them for IPv6 only: ports are published by direct access.
func routed() []Case {
	return []Case{
		{"ext", "tcp", "10.10.6.2:80", "j sees 10.1.0.2", "j sees 10.1.0.2"},
		{"ext", "tcp", "[fd10:6::2]:80", "j sees fd01::2", "j sees fd01::2"},
		{"ext", "udp", "10.10.6.2:80", blocked, "j sees 10.1.0.2"},
		{"ext", "udp", "[fd10:6::2]:80", blocked, "j sees fd01::2"},
		{"ext", "udp", "10.10.6.2:10000", "j sees 10.1.0.2", ""},
		{"ext", "udp", "10.10.6.2:10050", "j sees 10.1.0.2", ""},
		{"ext", "udp", "[fd10:6::2]:10100", "j sees fd01::2", ""},
		{"ext", "udp", "10.10.6.2:10101", blocked, "j sees 10.1.0.2"},
		{"ext", "tcp", "10.10.6.3:80", blocked, "k sees 10.1.0.2"}, // accepts one address of ext only
		{"ext3", "tcp", "10.10.6.3:80", "k sees 10.1.0.3", ""},
		{"ext3", "udp", "10.10.6.3:10050", "k sees 10.1.0.3", ""},
		{"ext", "udp", "10.10.6.3:10050", blocked, "k sees 10.1.0.2"},
		{"c", "tcp", "10.10.6.2:80", "j sees 10.10.2.2", ""},
		{"c", "udp", "10.10.6.2:80", blocked, "j sees 10.10.2.2"},
		{"d", "tcp", "10.10.6.2:80", blocked, "j sees 10.10.3.2"}, // from an internal network
		{"j", "tcp", "10.1.0.2:80", "ext sees 10.10.6.2", ""},
		{"j", "tcp", "[fd01::2]:80", "ext sees fd10:6::2", ""},
		{"j", "tcp", "10.10.1.2:80", blocked, "a sees 10.10.6.2"},
		{"j", "tcp", "10.1.0.1:8080", "a sees 10.10.6.2", ""},
		{"j", "udp", "10.10.6.3:80", "k sees 10.10.6.2", ""},
		{"host", "udp", "10.10.6.2:80", "j sees 10.10.6.1", ""},
		{"ext", "tcp", "10.1.0.1:8107", "m sees 10.1.0.2", ""},
		{"ext", "tcp", "10.10.7.2:80", blocked, "m sees 10.1.0.2"},
		{"ext", "tcp", "[fd10:7::2]:80", "m sees fd01::2", ""},
		{"ext", "tcp", "[fd01::1]:8107", refused, ""},
		{"m", "tcp", "10.1.0.2:80", "ext sees 10.1.0.1", "ext sees 10.10.7.2"},
		{"m", "tcp", "[fd01::2]:80", "ext sees fd10:7::2", ""},
	}
}

// direct returns the bindings of the routed networks.
func direct() []port.Binding {
	own := func(proto port.Protocol, at string, end uint16, from port.Sources) port.Binding {
		to := netip.MustParseAddrPort(at)
		return port.Binding{Protocol: proto, HostIP: to.Addr(), Host: span(to.Port(), end),
			ContainerIP: to.Addr(), Container: span(to.Port(), end), OwnerName: "own", Sources: from}
	}

	return []port.Binding{
		own(port.TCP, "10.10.6.2:80", 0, ""),
		own(port.TCP, "[fd10:6::2]:80", 0, ""),
		own(port.UDP, "10.10.6.2:10000", 10100, ""),
		own(port.UDP, "[fd10:6::2]:10000", 10100, ""),
		own(port.TCP, "10.10.6.3:80", 0, "10.1.0.3/32"),
		own(port.UDP, "10.10.6.3:10000", 10100, "10.1.0.3/32,10.9.0.0/16"),
		own(port.TCP, "[fd10:7::2]:80", 0, ""),
		{Protocol: port.TCP, HostIP: netip.IPv4Unspecified(), Host: port.Single(8107),
			ContainerIP: netip.MustParseAddr("10.10.7.2"), Container: port.Single(80)},
	}
}

// dualBindings returns bindings with DNAT that also have direct access.
func dualBindings() []port.Binding {
	p := publication.Publication{Bindings: []port.Binding{
		{Protocol: port.TCP, HostIP: netip.IPv4Unspecified(), Host: port.Single(8501),
			ContainerIP: netip.MustParseAddr("10.10.2.2"), Container: port.Single(80)},
		{Protocol: port.TCP, HostIP: netip.IPv6Unspecified(), Host: port.Single(8501),
			ContainerIP: netip.MustParseAddr("fd10:2::2"), Container: port.Single(80)},
		{Protocol: port.UDP, HostIP: netip.IPv4Unspecified(), Host: port.Single(8502),
			ContainerIP: netip.MustParseAddr("10.10.2.2"), Container: port.Single(80),
			Sources: "10.1.0.3/32,10.10.0.0/16"},
		{Protocol: port.TCP, HostIP: netip.MustParseAddr("127.0.0.1"), Host: port.Single(8503),
			ContainerIP: netip.MustParseAddr("10.10.2.3"), Container: port.Single(80)},
		{Protocol: port.TCP, HostIP: netip.IPv4Unspecified(), Host: port.Single(8504),
			ContainerIP: netip.MustParseAddr("10.10.3.2"), Container: port.Single(80)},
	}}
	return p.WithDirect()
}

// directlyRouted has the cases of dualBindings, except those of the internal network.
func directlyRouted() []Case {
	return []Case{
		{"ext", "tcp", "10.10.2.2:80", "c sees 10.1.0.2", "c sees 10.1.0.2"},
		{"ext", "tcp", "[fd10:2::2]:80", "c sees fd01::2", "c sees fd01::2"},
		{"ext3", "udp", "10.10.2.2:80", "c sees 10.1.0.3", ""},
		{"ext", "udp", "10.10.2.2:80", blocked, "c sees 10.1.0.2"}, // accepts one address of ext only
		{"ext", "udp", "[fd10:2::2]:80", blocked, "c sees fd01::2"},
		{"ext", "tcp", "10.10.2.3:80", blocked, "g sees 10.1.0.2"}, // published on loopback only
		{"b", "tcp", "10.10.2.2:80", blocked, "c sees 10.10.1.3"},  // from another network
		{"b", "udp", "10.10.2.2:80", blocked, "c sees 10.10.1.3"},
		{"j", "tcp", "[fd10:2::2]:80", blocked, "c sees fd10:6::2"},
		{"b", "tcp", "10.1.0.1:8501", "c sees 10.10.1.3", ""},
		{"g", "tcp", "10.10.2.2:80", "c sees 10.10.2.3", ""},
	}
}

// pings checks which addresses respond to ICMP echo.
func pings(t *testing.T, tp *Topology) {
	for to, want := range map[string]bool{"10.10.6.2": true, "fd10:6::2": true, "10.10.6.3": true, "fd10:7::2": true,
		"10.10.7.2": false, "10.10.1.2": false, "fd10:1::2": false} {
		t.Run("ping "+to, func(t *testing.T) {
			t.Parallel()
			timeout := blockedWithin
			if want {
				timeout = answerWithin
			}
			if err := tp.ping("ext", to, timeout); (err == nil) != want {
				t.Errorf("got %v, want a reply: %t", err, want)
			}
		})
	}
}

// ping sends an echo request from a node and waits for its reply. Before the socket is connected,
// it also receives other replies.
func (tp *Topology) ping(from, to string, timeout time.Duration) error {
	target := netip.MustParseAddr(to).AsSlice()
	own := []byte{target[len(target)-2] ^ target[3], target[len(target)-1]}
	// the kernel writes the checksum and strips the header
	network, request := "ip6:ipv6-icmp", []byte{128, 0, 0, 0, own[0], own[1], 0, 0}
	at, answer := 0, byte(129)
	if len(target) == 4 {
		network, at, answer, request[0] = "ip4:icmp", 20, 0, 8 // after an IP header
		binary.BigEndian.PutUint16(request[2:], ^(8<<8 + binary.BigEndian.Uint16(own)))
	}

	conn, err := tp.nodes[from].Dial(network, to, timeout)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if _, err := conn.Write(request); err != nil {
		return err
	}

	for got := make([]byte, 64); ; {
		n, err := conn.Read(got)
		if err != nil {
			return err
		}
		if n >= at+len(request) && got[at] == answer && bytes.Equal(got[at+4:at+6], own) {
			return nil
		}
	}
}

// withdrawDirect checks that direct access can be removed and added again.
func withdrawDirect(t *testing.T, tp *Topology, fw firewall.Firewall) {
	t.Run("withdrawn direct access", func(t *testing.T) {
		ctx, all := context.Background(), direct()
		if err := fw.RemoveBindings(ctx, all[:3]); err != nil {
			t.Fatal(err)
		}
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.10.6.2:80", Want: blocked})
		check(t, tp, Case{From: "ext", Network: "tcp", To: "[fd10:6::2]:80", Want: blocked})
		check(t, tp, Case{From: "ext", Network: "udp", To: "10.10.6.2:10050", Want: blocked})
		check(t, tp, Case{From: "ext", Network: "udp", To: "[fd10:6::2]:10050", Want: "j sees fd01::2"})
		check(t, tp, Case{From: "ext3", Network: "tcp", To: "10.10.6.3:80", Want: "k sees 10.1.0.3"})
		if err := fw.AddBindings(ctx, all[:3]); err != nil {
			t.Fatal(err)
		}
		change, err := fw.Sync(ctx, State())
		if err != nil || change.Rebuilt || change.Added != 0 || len(change.Removed) != 0 {
			t.Errorf("Sync changed %+v, %v; want nothing", change, err)
		}
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.10.6.2:80", Want: "j sees 10.1.0.2"})
		left := State()
		left.Bindings = slices.DeleteFunc(left.Bindings, func(b port.Binding) bool { return b == all[0] })
		change, err = fw.Sync(ctx, left)
		if err != nil || len(change.Removed) != 1 || change.Removed[0].HostPort() != all[0].HostPort() ||
			!change.Removed[0].Direct() {
			t.Errorf("Sync without the binding changed %+v, %v", change, err)
		}
		check(t, tp, Case{From: "ext", Network: "tcp", To: "10.10.6.2:80", Want: blocked})
	})
}
