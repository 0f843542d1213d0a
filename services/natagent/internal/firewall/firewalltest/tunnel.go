package firewalltest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// tunnelState is the tunnel of the topology. Its MTU is less than that of the device, so that a
// lowered MSS can be seen.
func tunnelState() *firewall.Tunnel {
	var blocks []netip.Prefix
	for _, b := range []string{"10.10.8.128/25", "10.10.9.128/25", "fd10:8::8000/113", "fd10:9::8000/113"} {
		blocks = append(blocks, netip.MustParsePrefix(b))
	}
	return &firewall.Tunnel{Device: "tun0", VNI: 7007, Port: 4789, MTU: 1280, Peers: []firewall.Peer{
		{Address: netip.MustParseAddr("10.2.0.2"), Blocks: blocks},
		{Address: netip.MustParseAddr("fd02::2"), Blocks: []netip.Prefix{netip.MustParsePrefix("10.10.8.64/26")}},
	}, Encrypted: []firewall.Device{{Name: "enc0", MTU: 1280}, {Name: "enc1", MTU: 1280}}}
}

// addTunnel adds the host far, with containers' addresses .130 on T and U, and a tunnel to it. ext
// has a device with the same VNI, but is in no fleet.
func (tp *Topology) addTunnel(t testing.TB) {
	t.Helper()
	far := testns.New(t)
	tp.nodes["far"] = far
	testns.Connect(t, tp.Host, "far0", "10.2.0.1/24 fd02::1/64", far, "eth0", "10.2.0.2/24 fd02::2/64")
	vxlan := func(n *testns.NS, name, mac, peerMAC, peer string) {
		script(n, fmt.Sprintf(`
			ip link add %[1]s address %[2]s mtu 1430 type vxlan id 7007 dstport 4789 nolearning
			sysctl -qw net.ipv6.conf.%[1]s.addr_gen_mode=1
			ip link set %[1]s up
			bridge fdb replace %[3]s dst %[4]s dev %[1]s
			ip neigh replace 169.254.1.1 lladdr %[3]s dev %[1]s nud permanent
			ip -6 neigh replace fe80::1 lladdr %[3]s dev %[1]s nud permanent`, name, mac, peerMAC, peer))
	}
	const hostMAC, farMAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
	vxlan(tp.Host, "tun0", hostMAC, farMAC, "10.2.0.2")
	vxlan(far, "tun0", farMAC, hostMAC, "10.2.0.1")
	vxlan(tp.nodes["ext"], "tun0", farMAC, hostMAC, "10.1.0.1")
	for i, addresses := range []string{"10.10.8.130 10.10.9.130 10.10.8.3", "10.10.8.130"} {
		n := []*testns.NS{far, tp.nodes["ext"]}[i]
		for _, a := range strings.Fields(addresses) {
			script(n, "ip addr add "+a+"/32 dev tun0")
		}
		for _, to := range []string{"10.10.8.0/26", "10.10.9.0/26"} {
			script(n, "ip route replace "+to+" via 169.254.1.1 dev tun0 onlink")
		}
	}
	script(far, `for a in fd10:8::8130 fd10:9::8130 fd10:8::3; do ip -6 addr add $a/128 dev tun0 nodad; done
		ip -6 route add fd10:8::/113 via fe80::1 dev tun0; ip -6 route add fd10:9::/113 via fe80::1 dev tun0
		ip route replace 10.1.0.2/32 via 169.254.1.1 dev tun0 onlink
		ip route replace 10.10.8.0/26 via 169.254.1.1 dev tun0 onlink src 10.2.0.2
		ip -6 route replace fd10:8::/113 via fe80::1 dev tun0 src fd02::2
		sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0
		sysctl -qw net.ipv4.conf.tun0.forwarding=1 net.ipv6.conf.tun0.forwarding=1 net.ipv6.conf.all.forwarding=1
		for a in 10.10.8.131 10.10.8.70; do ip route add prohibit $a; done
		ip -6 route add prohibit fd10:8::8131`)
	for name, n := range map[string]int{"t": 8, "u": 9} {
		script(tp.nodes[name], fmt.Sprintf(`ip route add 10.10.%[1]d.128/25 via 10.10.%[1]d.1
			ip -6 route add fd10:%[1]d::8000/113 via fd10:%[1]d::1`, n))
	}
	script(tp.nodes["t"], "ip route add 10.10.8.70 via 10.10.8.1")
	script(tp.Host, `ip route add 10.10.8.70 via 169.254.1.1 dev tun0 onlink
		for n in 8 9; do ip route add 10.10.$n.128/25 via 169.254.1.1 dev tun0 onlink
			ip -6 route add fd10:$n::8000/113 via fe80::1 dev tun0; done`)
}

// spanned is a datagram between hosts and whether it must arrive, with the firewall and without.
type spanned struct {
	from, source, to, target string
	want, unfiltered         bool
}

func spannedCases() []spanned {
	return []spanned{
		{"far", "10.10.8.130", "t", "10.10.8.2", true, true},
		{"far", "fd10:8::8130", "t", "fd10:8::2", true, true},
		{"far", "10.10.9.130", "u", "10.10.9.2", true, true}, // internal
		{"t", "10.10.8.2", "far", "10.10.8.130", true, true},
		{"t", "fd10:8::2", "far", "fd10:8::8130", true, true},
		{"u", "10.10.9.2", "far", "10.10.9.130", true, true},
		{"u", "fd10:9::2", "far", "fd10:9::8130", true, true},
		// forged sources: of a local container, and of a host that is in no fleet
		{"far", "10.10.8.3", "t", "10.10.8.2", false, true},
		{"far", "fd10:8::3", "t", "fd10:8::2", false, true},
		{"ext", "10.10.8.130", "t", "10.10.8.2", false, true},
		// other networks
		{"far", "10.10.8.130", "u", "10.10.9.2", false, true},
		{"far", "10.10.9.130", "t", "10.10.8.2", false, true},
		{"far", "fd10:8::8130", "u", "fd10:9::2", false, true},
		{"t", "10.10.8.2", "far", "10.10.9.130", false, true},
		{"t", "fd10:8::2", "far", "fd10:9::8130", false, true},
		{"a", "10.10.1.2", "far", "10.10.8.130", false, true},
		// through the host, and to it
		{"ext", "10.1.0.2", "far", "10.10.9.130", false, true},
		{"far", "10.10.9.130", "ext", "10.1.0.2", false, true},
		{"far", "10.10.8.130", "host", "10.10.8.1", false, true},
		{"u", "10.10.9.2", "ext", "10.1.0.2", false, true},
		// encrypted
		{"far", "10.10.10.130", "v", "10.10.10.2", true, true},
		{"far", "fd10:10::8130", "v", "fd10:10::2", true, true},
		{"v", "10.10.10.2", "far", "10.10.10.130", true, true},
		{"v", "fd10:10::2", "far", "fd10:10::8130", true, true},
		{"far", "10.10.10.130", "host", "10.10.10.1", false, true},
		{"far", "10.10.10.130", "a", "10.10.1.2", false, true},
		{"a", "10.10.1.2", "far", "10.10.10.130", false, true},
	}
}

// tunnels checks all cases, frames that a container forges, and the MSS.
func tunnels(t *testing.T, tp *Topology, filtered bool) {
	for _, c := range spannedCases() {
		want := c.unfiltered
		if filtered {
			want = c.want
		}
		t.Run(fmt.Sprintf("%s as %s to %s is %t", c.from, c.source, c.target, want), func(t *testing.T) {
			t.Parallel()
			if got := tp.arrives(t, c, want); got != want {
				t.Errorf("got %t", got)
			}
		})
	}

	t.Run("frame forged by a container", func(t *testing.T) {
		t.Parallel()
		if got := tp.forgedArrives(t, !filtered); got == filtered {
			t.Errorf("arrives: got %t", got)
		}
	})
	for target, want := range map[string]bool{"10.10.8.131": true, "fd10:8::8131": true,
		"10.10.8.70": !filtered} { // of another host
		t.Run(fmt.Sprintf("ICMP error about %s is %t", target, want), func(t *testing.T) {
			t.Parallel()
			if got := tp.unreachable(t, target, want); got != want {
				t.Errorf("got %t", got)
			}
		})
	}
	t.Run("MSS", func(t *testing.T) {
		t.Parallel()
		for _, to := range []string{"10.10.8.130", "fd10:8::8130"} {
			headers := map[bool]int{true: 40, false: 60}[strings.Contains(to, ".")]
			if got := tp.receivedMSS(t, to); (got <= 1280-headers) != filtered {
				t.Errorf("to %s: got %d, lowered to %d is %t", to, got, 1280-headers, filtered)
			}
		}
	})
}

// arrives sends datagrams until one arrives with its source unchanged, or for a while if none is
// expected.
func (tp *Topology) arrives(t *testing.T, c spanned, want bool) bool {
	t.Helper()
	network := "udp4"
	if strings.Contains(c.target, ":") {
		network = "udp6"
	}
	at := tp.nodes[c.to].ListenPacket(network, net.JoinHostPort(c.target, "0"))
	src := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(c.source), 0))
	var conn *net.UDPConn
	var err error
	tp.nodes[c.from].Do(func() { conn, err = net.DialUDP(network, src, at.LocalAddr().(*net.UDPAddr)) })
	if err != nil {
		return false // no route
	}
	defer func() { _ = conn.Close() }()
	return received(at, host(src), want, func() { _, _ = conn.Write([]byte("spanned")) })
}

// received reports whether a datagram arrives while send is called repeatedly.
func received(at net.PacketConn, from string, want bool, send func()) bool {
	timeout := blockedWithin
	if want {
		timeout = answerWithin
	}
	for late := time.Now().Add(timeout); time.Now().Before(late); {
		send()
		_ = at.SetReadDeadline(time.Now().Add(blockedWithin / 3))
		if _, who, err := at.ReadFrom(make([]byte, 16)); err == nil {
			return host(who) == from
		}
	}
	return false
}

// unreachable sends datagrams from container t to an address and reports whether an ICMP error of host far comes
// back. far sends it from an address that is not in its blocks.
func (tp *Topology) unreachable(t *testing.T, target string, want bool) bool {
	t.Helper()
	conn, err := tp.nodes["t"].Dial("udp", net.JoinHostPort(target, "9"), answerWithin)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	timeout := blockedWithin
	if want {
		timeout = answerWithin
	}
	for late := time.Now().Add(timeout); time.Now().Before(late); {
		_, werr := conn.Write([]byte("lost"))
		_ = conn.SetReadDeadline(time.Now().Add(blockedWithin / 3))
		_, rerr := conn.Read(make([]byte, 16))
		for _, err := range []error{werr, rerr} { // "administratively prohibited", as IPv4 and IPv6 return it
			if errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.EACCES) {
				return true
			}
		}
	}
	return false
}

// forgedArrives sends from container t a frame of the fleet to far, as another container of the host.
func (tp *Topology) forgedArrives(t *testing.T, want bool) bool {
	t.Helper()
	at := tp.nodes["far"].ListenPacket("udp4", "10.10.9.130:0")
	conn, err := tp.nodes["t"].Dial("udp4", "10.2.0.2:4789", answerWithin)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	frame := forgedFrame("10.10.9.2", "10.10.9.130", at.LocalAddr().(*net.UDPAddr).Port)
	return received(at, "10.10.9.2", want, func() { _, _ = conn.Write(frame) })
}

// forgedFrame returns a VXLAN header with an Ethernet frame to far that contains a UDP datagram.
func forgedFrame(from, to string, port int) []byte {
	b := []byte{8, 0, 0, 0, 0, 0x1b, 0x5f, 0, 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0}
	ip := []byte{0x45, 0, 0, 29, 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
	ip = append(append(ip, netip.MustParseAddr(from).AsSlice()...), netip.MustParseAddr(to).AsSlice()...)
	sum := uint32(0)
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	b = append(b, ip...)
	b = binary.BigEndian.AppendUint16(b, 7)
	b = binary.BigEndian.AppendUint16(b, uint16(port))
	return append(b, 0, 9, 0, 0, '!') // without a checksum
}

// receivedMSS connects from container t to far and returns the MSS that far received.
func (tp *Topology) receivedMSS(t *testing.T, to string) (mss int) {
	t.Helper()
	l := tp.nodes["far"].Listen("tcp", net.JoinHostPort(to, "0")).(*net.TCPListener)
	conn, err := tp.nodes["t"].Dial("tcp", l.Addr().String(), answerWithin)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	c, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			mss, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG)
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return mss
}

// replaceTunnel checks that peers can be changed and the tunnel be removed.
func replaceTunnel(t *testing.T, tp *Topology, fw firewall.Firewall) {
	t.Run("replaced tunnel", func(t *testing.T) {
		ctx, all := context.Background(), tunnelState()
		fewer := tunnelState()
		fewer.Peers[0].Blocks = fewer.Peers[0].Blocks[1:]
		in, out := spannedCases()[0], spannedCases()[2]
		for _, step := range []struct {
			old, now  *firewall.Tunnel
			in, other bool
		}{{all, fewer, false, true}, {fewer, all, true, true}, {all, nil, false, false}, {nil, all, true, true}} {
			if err := fw.ReplaceTunnel(ctx, step.old, step.now); err != nil {
				t.Fatal(err)
			}
			if got := tp.arrives(t, in, step.in); got != step.in {
				t.Errorf("with %+v: arrives %t", step.now, got)
			}
			if got := tp.arrives(t, out, step.other); got != step.other {
				t.Errorf("with %+v: on the other network arrives %t", step.now, got)
			}
		}
		if c, err := fw.Sync(ctx, State()); err != nil || c.Rebuilt || c.Added != 0 || len(c.Removed) != 0 {
			t.Errorf("Sync changed %+v, %v; want nothing", c, err)
		}
	})
}
