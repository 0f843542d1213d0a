package firewalltest

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// Topology is a host with several networks, and an external host with routes to the containers'
// subnets through it.
//
//	ext 10.1.0.2 fd01::2 ── host 10.1.0.1, 10.1.0.5, 10.1.0.7, 10.1.0.9, fd01::1, fd01::7
//	    10.1.0.3 fd01::3
//	                         ├─ brA 10.10.1.1 fd10:1::1   a .2, b .3, and rogue .66, which forges addresses
//	                         ├─ brB 10.10.2.1 fd10:2::1   c .2, g .3, which has no IPv6, and p .4, on brA, too
//	                         ├─ brI 10.10.3.1 fd10:3::1   d .2 (internal)
//	                         ├─ brO 10.10.5.1 fd10:5::1   h .2 (nat-unprotected, SNAT to 10.1.0.5)
//	                         ├─ brR 10.10.6.1 fd10:6::1   j .2, k .3 (routed)
//	                         ├─ brM 10.10.7.1 fd10:7::1   m .2 (nat for IPv4, routed for IPv6)
//	                         ├─ brX 10.10.4.1 fd10:4::1   e .2, f .3 (no ICC)
//	                         ├─ brT 10.10.8.1 fd10:8::1   t .2, on far .130 (spans hosts)
//	                         ├─ brU 10.10.9.1 fd10:9::1   u .2, on far .130 (spans hosts, internal)
//	                         ├─ brV 10.10.10.1 fd10:10::1 v .2, on far .130 (spans hosts, encrypted)
//	                         ├─ enc0                      to far, the device of encrypted networks
//	                         └─ far0 10.2.0.1 fd02::1     far 10.2.0.2, another host of the fleet
type Topology struct {
	Host  *testns.NS
	nodes map[string]*testns.NS
}

// HostNS returns the namespace of the backend.
func (tp *Topology) HostNS() hostns.NS { return hostns.At(tp.Host.Fd()) }

// State returns the desired state of the topology.
func State() firewall.State {
	network := func(name, v4, v6 string) firewall.Network {
		return firewall.Network{ID: name, Bridge: "br" + name, Masquerade: true, ICC: true,
			Subnets: []netip.Prefix{netip.MustParsePrefix(v4), netip.MustParsePrefix(v6)}}
	}

	a := network("A", "10.10.1.0/24", "fd10:1::/64")
	b := network("B", "10.10.2.0/24", "fd10:2::/64")
	i := network("I", "10.10.3.0/24", "fd10:3::/64")
	x := network("X", "10.10.4.0/24", "fd10:4::/64")
	o := network("O", "10.10.5.0/24", "fd10:5::/64")
	i.Internal, x.ICC = true, false
	o.Unprotected, o.SNAT4 = o.Subnets, netip.MustParseAddr("10.1.0.5")
	x.Trusted = []string{"ext0"}
	r, m := network("R", "10.10.6.0/24", "fd10:6::/64"), network("M", "10.10.7.0/24", "fd10:7::/64")
	r.Routed, m.Routed = r.Subnets, m.Subnets[1:]
	t, u := network("T", "10.10.8.0/24", "fd10:8::/64"), network("U", "10.10.9.0/24", "fd10:9::/64")
	t.Tunnel, u.Tunnel, u.Internal = true, true, true
	v := network("V", "10.10.10.0/24", "fd10:10::/64")
	v.Tunnel, v.Encrypted = true, true
	return firewall.State{Networks: []firewall.Network{a, b, i, x, o, r, m, t, u, v}, Tunnel: tunnelState(),
		Bindings: bindings()}
}

func bindings() []port.Binding {
	var out []port.Binding
	publish := func(proto port.Protocol, host string, number uint16, target string) {
		to := netip.MustParseAddrPort(target)
		out = append(out, port.Binding{Protocol: proto, HostIP: netip.MustParseAddr(host), Host: port.Single(number),
			ContainerIP: to.Addr(), Container: port.Single(to.Port())})
	}

	for _, proto := range []port.Protocol{port.TCP, port.UDP} {
		publish(proto, "0.0.0.0", 8080, "10.10.1.2:80")
		publish(proto, "::", 8080, "[fd10:1::2]:80")
		publish(proto, "0.0.0.0", 8108, "10.10.2.4:80")
		publish(proto, "::", 8108, "[fd10:2::4]:80")
	}

	publish(port.TCP, "10.1.0.1", 9090, "10.10.1.2:80")
	publish(port.TCP, "fd01::1", 9090, "[fd10:1::2]:80")
	publish(port.TCP, "127.0.0.1", 9191, "10.10.1.2:80")
	for i := range uint16(11) {
		publish(port.TCP, "0.0.0.0", 7000+i, fmt.Sprintf("10.10.1.2:%d", 75+i))
	}

	publish(port.TCP, "0.0.0.0", 8099, "10.10.4.2:80")
	publish(port.TCP, "0.0.0.0", 8100, "10.10.2.3:80")
	publish(port.TCP, "10.1.0.7", 8081, "10.10.1.2:80")
	return slices.Concat(out, ranges(), restricted(), direct(), dualBindings())
}

// span returns a range. A last port of 0 means a single port.
func span(first, last uint16) port.Range { return port.Range{First: first, Last: max(first, last)} }

// ranges returns bindings of port ranges and published addresses.
func ranges() []port.Binding {
	run := func(proto port.Protocol, host string, first, last uint16, target string) port.Binding {
		return port.Binding{Protocol: proto, HostIP: netip.MustParseAddr(host), Host: span(first, last),
			ContainerIP: netip.MustParseAddr(target), Container: span(first, last)}
	}

	whole := func(host, target string) port.Binding {
		return port.Binding{Protocol: port.All, HostIP: netip.MustParseAddr(host),
			ContainerIP: netip.MustParseAddr(target), SNAT: true}
	}

	return []port.Binding{
		run(port.UDP, "0.0.0.0", 20000, 60000, "10.10.1.2"),
		run(port.UDP, "::", 20000, 60000, "fd10:1::2"),
		run(port.UDP, "10.1.0.1", 10000, 10100, "10.10.1.2"),
		whole("10.1.0.7", "10.10.1.3"),
		whole("fd01::7", "fd10:1::3"),
	}
}

// restricted returns bindings with allowed sources. A port of a published address has another target
// than the address; a source that is not allowed for the port must not reach the address instead.
func restricted() []port.Binding {
	from := func(host, target string, end uint16, sources port.Sources) port.Binding {
		h, to := netip.MustParseAddrPort(host), netip.MustParseAddrPort(target)
		b := port.Binding{Protocol: port.UDP, HostIP: h.Addr(), Host: span(h.Port(), end),
			ContainerIP: to.Addr(), Container: port.Single(to.Port()), OwnerName: "some", Sources: sources}
		if end == 0 {
			b.Protocol = port.TCP
		}
		return b
	}

	whole := from("10.1.0.9:0", "10.10.1.3:0", 0, "10.1.0.3/32,10.10.0.0/16")
	whole.Protocol = port.All
	return []port.Binding{
		from("0.0.0.0:8301", "10.10.1.2:80", 0, "10.1.0.3/32,10.10.2.0/24"),
		from("[::]:8301", "[fd10:1::2]:80", 0, "fd01::3/128"),
		from("10.1.0.1:8302", "10.10.1.2:80", 0, "10.1.0.0/24"),
		from("10.1.0.7:8303", "10.10.1.2:80", 0, "10.1.0.3/32"),
		from("0.0.0.0:15000", "10.10.1.2:15000", 15100, "10.1.0.3/32"),
		from("127.0.0.1:8304", "10.10.1.2:80", 0, "10.9.0.0/16"),
		whole,
	}
}

// NewTopology creates the topology without a firewall, and starts the servers.
func NewTopology(t testing.TB) *Topology {
	t.Helper()
	tp := &Topology{Host: testns.New(t), nodes: map[string]*testns.NS{}}
	tp.nodes["host"] = tp.Host
	// accept_local and route_localnet are set everywhere, so that not the kernel drops what the
	// firewall must drop.
	script(tp.Host, `
		sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0
		sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.all.accept_local=1
		for f in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do [ ! -e $f ] || echo 0 > $f; done`)

	tp.addOutside(t)
	for i, name := range []string{"A", "B", "I", "X", "O", "R", "M", "T", "U", "V"} {
		script(tp.Host, fmt.Sprintf(`
			ip link add br%[1]s type bridge
			ip addr add 10.10.%[2]d.1/24 dev br%[1]s
			ip addr add fd10:%[2]d::1/64 dev br%[1]s nodad
			ip link set br%[1]s up
			ip -6 route append local ::1/128 dev br%[1]s table local`, name, i+1))
	}

	for _, c := range []struct {
		name, bridge string
		network, ip  int
	}{{"a", "A", 1, 2}, {"b", "A", 1, 3}, {"rogue", "A", 1, 66}, {"c", "B", 2, 2}, {"g", "B", 2, 3},
		{"d", "I", 3, 2}, {"e", "X", 4, 2}, {"f", "X", 4, 3}, {"h", "O", 5, 2}, {"j", "R", 6, 2}, {"k", "R", 6, 3},
		{"m", "M", 7, 2}, {"t", "T", 8, 2}, {"u", "U", 9, 2}, {"v", "V", 10, 2}} {
		tp.addContainer(t, c.name, c.bridge, c.network, c.ip)
	}

	tp.addContainer(t, "p", "B", 2, 4)
	tp.connect("p", "A", 1, 4)
	script(tp.nodes["g"], "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1")
	fakeLoopback(tp.nodes["rogue"], "10.10.1.1")
	fakeLoopback(tp.nodes["ext"], "10.1.0.1")
	tp.addTunnel(t)
	tp.addEncrypted(t)
	tp.serve()
	return tp
}

func (tp *Topology) addOutside(t testing.TB) {
	t.Helper()
	ext := testns.New(t)
	tp.nodes["ext"] = ext
	testns.Connect(t, tp.Host, "ext0", "10.1.0.1/24 10.1.0.5/24 10.1.0.7/24 10.1.0.9/24 fd01::7/64 fd01::1/64", ext,
		"eth0", "10.1.0.2/24 10.1.0.3/24 fd01::2/64 fd01::3/64")
	script(ext, "ip route add 10.10.0.0/16 via 10.1.0.1; ip -6 route add fd10::/16 via fd01::1")
}

func (tp *Topology) addContainer(t testing.TB, name, bridge string, network, ip int) {
	t.Helper()
	c := testns.New(t)
	tp.nodes[name] = c
	isolated := "off"
	if bridge == "X" { // as netagent isolates containers of a bridge
		isolated = "on"
	}

	script(tp.Host, fmt.Sprintf(`
		ip link add veth%[1]s type veth peer name eth0 netns %[2]s
		ip link set veth%[1]s master br%[3]s
		ip link set veth%[1]s type bridge_slave hairpin on isolated %[4]s
		ip link set veth%[1]s up`, name, c.Path(), bridge, isolated))

	script(c, fmt.Sprintf(`
		ip addr add 10.10.%[1]d.%[2]d/24 dev eth0
		ip addr add fd10:%[1]d::%[2]d/64 dev eth0 nodad
		ip link set eth0 up
		ip route add default via 10.10.%[1]d.1
		ip -6 route add default via fd10:%[1]d::1`, network, ip))
}

// connect connects a container to a second network, which does not get the default routes.
func (tp *Topology) connect(name, bridge string, network, ip int) {
	c := tp.nodes[name]
	script(tp.Host, fmt.Sprintf(`
		ip link add veth%[1]s1 type veth peer name eth1 netns %[2]s
		ip link set veth%[1]s1 master br%[3]s up`, name, c.Path(), bridge))
	script(c, fmt.Sprintf(`
		ip addr add 10.10.%[1]d.%[2]d/24 dev eth1
		ip addr add fd10:%[1]d::%[2]d/64 dev eth1 nodad
		ip link set eth1 up`, network, ip))
}

// fakeLoopback routes 127.0.0.1 to a gateway, and permits loopback addresses as a source.
func fakeLoopback(n *testns.NS, gateway string) {
	script(n, fmt.Sprintf(`
		sysctl -qw net.ipv4.conf.all.route_localnet=1
		ip addr del 127.0.0.1/8 dev lo
		ip addr add 127.0.0.99/32 dev lo
		ip route add 127.0.0.1/32 via %s`, gateway))
}

func script(n *testns.NS, text string) { n.Run("sh", "-ec", text) }

// serve starts servers that respond with their name and the address that they see.
func (tp *Topology) serve() {
	for name, n := range tp.nodes {
		if name == "host" {
			tp.serveTCP(n.Listen("tcp4", "127.0.0.1:7777"), name)
			continue
		}
		first, last := 80, 80
		if name == "a" {
			first, last = 75, 85
		}
		for _, family := range []string{"4", "6"} {
			any := map[string]string{"4": "0.0.0.0", "6": "[::]"}[family]
			for number := first; number <= last; number++ {
				tp.serveTCP(n.Listen("tcp"+family, fmt.Sprintf("%s:%d", any, number)), name)
			}
			tp.serveUDP(n.ListenPacket("udp"+family, any+":80"), name)
			if name == "a" || name == "j" || name == "k" {
				for _, number := range []string{"10000", "10050", "10100", "10101", "15050", "20000", "40000",
					"60000"} {
					tp.serveUDP(n.ListenPacket("udp"+family, any+":"+number), name)
				}
			}
		}
	}
}

func (tp *Topology) serveTCP(l net.Listener, name string) {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprint(c, name+" sees "+host(c.RemoteAddr()))
			_ = c.Close()
		}
	}()
}

func (tp *Topology) serveUDP(c net.PacketConn, name string) {
	go func() {
		for {
			_, from, err := c.ReadFrom(make([]byte, 16))
			if err != nil {
				return
			}
			_, _ = c.WriteTo([]byte(name+" sees "+host(from)), from)
		}
	}()
}

func host(a net.Addr) string {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return a.String()
	}
	return ap.Addr().Unmap().WithZone("").String()
}
