package firewalltest

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
)

// addEncrypted adds the device of encrypted networks, without encryption: the firewall identifies it
// by its name. Container v has the address .130 of far behind it.
func (tp *Topology) addEncrypted(t testing.TB) {
	t.Helper()
	far := tp.nodes["far"]
	testns.Connect(t, tp.Host, "enc0", "fe80::a/64", far, "enc0", "fe80::b/64")
	script(far, `ip addr add 10.10.10.130/32 dev enc0; ip -6 addr add fd10:10::8130/128 dev enc0 nodad
		ip route add 10.10.10.0/25 dev enc0; ip -6 route add fd10:10::/113 via fe80::a dev enc0
		ip route add 10.10.1.0/24 dev enc0
		sysctl -qw net.ipv4.conf.enc0.proxy_arp=1`)
	script(tp.Host, `ip route add 10.10.10.128/25 dev enc0; ip -6 route add fd10:10::8000/113 via fe80::b dev enc0
		sysctl -qw net.ipv4.conf.enc0.proxy_arp=1`)
	const hostMAC, farMAC = "02:00:00:00:01:01", "02:00:00:00:01:02" // a device without NDP, like the real one
	script(tp.Host, "ip link set enc0 address "+hostMAC+"; ip -6 neigh replace fe80::b lladdr "+farMAC+
		" dev enc0 nud permanent")
	script(far, "ip link set enc0 address "+farMAC+"; ip -6 neigh replace fe80::a lladdr "+hostMAC+
		" dev enc0 nud permanent")
	script(tp.nodes["v"], `ip route add 10.10.10.128/25 via 10.10.10.1
		ip -6 route add fd10:10::8000/113 via fd10:10::1`)
}

// inClear checks that packets of an encrypted network leave and enter in no other way than through its
// device, of known connections neither, if another program changes the routes.
func inClear(t *testing.T, tp *Topology, filtered bool) {
	type leak struct{ near, far, out, back string }
	for name, all := range map[string][]leak{
		"VXLAN": {{"10.10.10.2", "10.10.10.130", "via 169.254.1.1 dev tun0 onlink", "via 169.254.1.1 dev tun0 onlink"},
			{"fd10:10::2", "fd10:10::8130", "via fe80::1 dev tun0", "via fe80::1 dev tun0"}},
		"LAN": {{"10.10.10.2", "10.10.10.130", "via 10.2.0.2 dev far0", "via 10.2.0.1 dev eth0"},
			{"fd10:10::2", "fd10:10::8130", "via fd02::2 dev far0", "via fd02::1 dev eth0"}},
	} {
		t.Run("in clear through "+name, func(t *testing.T) {
			for _, c := range all {
				t.Run("to "+c.far, func(t *testing.T) {
					t.Parallel()
					here, there := tp.dialed(t, "v", c.near, "far", c.far)
					if !exchanges(here, there, true) || !exchanges(there, here, true) {
						t.Fatal("no connection through the encrypted device")
					}
					leaks(t, tp.Host, c.far+" "+c.out, filtered, here, there)
					leaks(t, tp.nodes["far"], c.near+" "+c.back, filtered, there, here)
				})
			}
		})
	}
}

// leaks checks that packets that a host routes otherwise do not arrive.
func leaks(t *testing.T, at *testns.NS, route string, filtered bool, from, to *net.UDPConn) {
	t.Helper()
	script(at, "ip route replace "+route)
	got := exchanges(from, to, !filtered)
	script(at, "ip route del "+route)
	if got == filtered {
		t.Errorf("%s: arrives: got %t, want %t", route, got, !filtered)
	}
}

// dialed returns connected UDP sockets of two nodes.
func (tp *Topology) dialed(t *testing.T, a, addressA, b, addressB string) (here, there *net.UDPConn) {
	t.Helper()
	local := netip.AddrPortFrom(netip.MustParseAddr(addressA), 7000)
	remote := netip.AddrPortFrom(netip.MustParseAddr(addressB), 7001)
	dial := func(node string, from, to netip.AddrPort) (c *net.UDPConn) {
		var err error
		tp.nodes[node].Do(func() {
			c, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(from), net.UDPAddrFromAddrPort(to))
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	return dial(a, local, remote), dial(b, remote, local)
}

// exchanges reports whether a datagram arrives, sent repeatedly.
func exchanges(from, to *net.UDPConn, want bool) bool {
	timeout := blockedWithin
	if want {
		timeout = answerWithin
	}
	b := make([]byte, 16)
	for { // what has arrived before
		_ = to.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := to.Read(b); err != nil {
			break
		}
	}
	for late := time.Now().Add(timeout); time.Now().Before(late); {
		_, _ = from.Write([]byte("clear"))
		_ = to.SetReadDeadline(time.Now().Add(blockedWithin / 3))
		if _, err := to.Read(b); err == nil {
			return true
		}
	}
	return false
}
