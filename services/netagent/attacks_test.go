package netagent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/frame"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/portguard"
)

// attack is a network with a victim, an attacker and a third container.
type attack struct {
	*agent
	t                       *testing.T
	victim, attacker, third network.Sandbox
}

// attackCase is an attack with the configuration that it needs.
type attackCase struct {
	name string
	edit func(*Config)
	try  func(*attack) (succeeded bool)
}

func attackCases() []attackCase {
	none := func(*Config) {}
	ipv6 := func(c *Config) { c.FixedCIDRv6 = netip.MustParsePrefix("fd00:7::/64") }
	return []attackCase{
		{"a MAC taken over by raw frames", none, (*attack).takeMAC},
		{"a MAC taken over without traffic between containers", func(c *Config) { c.Isolated = true },
			(*attack).takeMAC},
		{"an ARP reply for another address", none, (*attack).poisonARP},
		{"a neighbour advertisement for another address", ipv6, (*attack).poisonND},
		{"spoofed ARP fills the neighbour table", none, (*attack).fillNeighbours},
		{"UDP from a forged source", none, (*attack).forgeUDP},
		{"UDP from a forged source without traffic between containers", func(c *Config) { c.Isolated = true },
			(*attack).forgeUDP},
		{"a router advertisement", ipv6, (*attack).advertiseRouter},
		{"an answer of a DHCP server", none, (*attack).serveDHCP},
		{"a frame for the port itself", none, (*attack).enterPort},
		{"a double VLAN tag", none, (*attack).tagged},
	}
}

func TestAttacksFromContainers(t *testing.T) {
	for _, s := range attackCases() {
		for _, guarded := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, guarded %v", s.name, guarded), func(t *testing.T) {
				h := newHost(t)
				s.edit(&h.cfg)
				h.cfg.unguarded = !guarded
				a := &attack{agent: h.run(), t: t}
				for _, sb := range []*network.Sandbox{&a.victim, &a.attacker, &a.third} {
					sysctls := acceptRA(len(s.name) > 0 && strings.Contains(s.name, "router"))
					*sb = a.create(network.Request{Owner: id.New(), Mode: network.Private,
						Endpoints: []network.EndpointSpec{{Network: "bridge", Sysctls: sysctls}}})
				}
				if got := s.try(a); got == guarded {
					t.Errorf("the attack succeeds: got %v, want %v", got, !guarded)
				}
				a.mustReach(a.ns.Path(), a.address(a.third)) // the guard accepts valid traffic
				a.mustReach(a.attacker.NetnsPath, "172.17.0.1")
			})
		}
	}
}

// acceptRA returns sysctls that accept router advertisements, so that only the guard stops them.
func acceptRA(yes bool) []string {
	if !yes {
		return nil
	}
	return []string{"net.ipv6.conf.IFNAME.accept_ra=1", "net.ipv6.conf.IFNAME.autoconf=1"}
}

// send sends raw frames from eth0 of a sandbox.
func (a *attack) send(from network.Sandbox, frames ...[]byte) {
	a.t.Helper()
	err := kernel.WithPinned(from.NetnsPath, func(ns *kernel.Namespace) error {
		p, err := ns.Packets("eth0", kernel.FilterNone())
		if err != nil {
			return err
		}
		defer p.Close()
		for _, f := range frames {
			err = errors.Join(err, p.Write(f))
		}
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *attack) ip(sb network.Sandbox) netip.Addr { return sb.Endpoints[0].IPv4.Addr() }

// takeMAC makes the bridge send the victim's traffic to the attacker.
func (a *attack) takeMAC() bool {
	for range 20 {
		a.send(a.attacker, frame.Announce(a.victim.Endpoints[0].MAC, a.ip(a.victim)))
		if !a.reachesWithin(a.ns.Path(), a.ip(a.victim).String(), 200*time.Millisecond) {
			return true
		}
	}
	return false
}

// neighbour returns the neighbour entry of an address in a sandbox.
func (a *attack) neighbour(sb network.Sandbox, of netip.Addr) string {
	return a.in(sb, "ip", "neigh", "show", of.String(), "dev", "eth0")
}

func (a *attack) poisonARP() bool {
	a.mustReach(a.third.NetnsPath, a.ip(a.victim).String())
	time.Sleep(1100 * time.Millisecond) // the kernel ignores a second ARP reply within one second (locktime)
	mine := a.attacker.Endpoints[0].MAC
	lie := frame.ARP{Reply: true, SenderMAC: mine, SenderIP: a.ip(a.victim), TargetIP: a.ip(a.third)}
	return a.within(func() bool {
		a.send(a.attacker, lie.Frame())
		return strings.Contains(a.neighbour(a.third, a.ip(a.victim)), mine.String())
	})
}

func (a *attack) poisonND() bool {
	victim := a.victim.Endpoints[0].IPv6.Addr()
	a.mustReach(a.third.NetnsPath, victim.String())
	mine := a.attacker.Endpoints[0].MAC
	return a.within(func() bool {
		a.send(a.attacker, frame.Announce(mine, victim))
		return strings.Contains(a.neighbour(a.third, victim), mine.String())
	})
}

// within repeats an attempt up to 20 times and reports whether it succeeded.
func (a *attack) within(ok func() bool) bool {
	for range 20 {
		if ok() {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

func (a *attack) fillNeighbours() bool {
	gateway := netip.MustParseAddr("172.17.0.1")
	var frames [][]byte
	for i := range 50 {
		from := netip.AddrFrom4([4]byte{172, 17, 9, byte(i + 1)})
		frames = append(frames, frame.ARP{SenderMAC: a.attacker.Endpoints[0].MAC, SenderIP: from,
			TargetIP: gateway}.Frame())
	}
	a.send(a.attacker, frames...)
	return a.within(func() bool {
		return strings.Count(a.ns.Run("ip", "neigh", "show", "dev", "docker0"), "172.17.9.") > 20
	})
}

// udp returns an Ethernet frame with a UDP packet.
func udp(to, from net.HardwareAddr, source, destination netip.AddrPort, data []byte) []byte {
	return frame.UDP{FromMAC: from, ToMAC: to, From: source, To: destination, Payload: data}.Frame()
}

func (a *attack) forgeUDP() bool {
	conn := a.ns.ListenPacket("udp4", "172.17.0.1:5353")
	a.send(a.attacker, udp(network.MACOf(netip.MustParseAddr("172.17.0.1")), a.attacker.Endpoints[0].MAC,
		netip.MustParseAddrPort("172.17.77.77:7"), netip.MustParseAddrPort("172.17.0.1:5353"), []byte("forged")))
	return receives(conn)
}

func receives(c net.PacketConn) bool {
	_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	_, _, err := c.ReadFrom(make([]byte, 100))
	return err == nil
}

// advertiseRouter sends router advertisements with a prefix.
func (a *attack) advertiseRouter() bool {
	mac := a.attacker.Endpoints[0].MAC
	ra := routerAdvertisement(mac, netip.MustParsePrefix("fd00:bad::/64"))
	return a.within(func() bool {
		a.send(a.attacker, ra)
		return strings.Contains(a.in(a.victim, "ip", "-6", "addr"), "fd00:bad") ||
			strings.Contains(a.in(a.victim, "ip", "-6", "route"), "proto ra")
	})
}

func (a *attack) serveDHCP() bool {
	var got bool
	received := make(chan bool, 1)
	open := make(chan struct{})
	go func() {
		received <- kernel.WithPinned(a.victim.NetnsPath, func(*kernel.Namespace) error {
			c, err := net.ListenPacket("udp4", "0.0.0.0:68")
			close(open)
			if err != nil {
				return err
			}
			defer c.Close()
			if !receives(c) {
				return errors.New("nothing")
			}
			return nil
		}) == nil
	}()

	<-open
	a.send(a.attacker, udp(frame.Broadcast(), a.attacker.Endpoints[0].MAC,
		netip.AddrPortFrom(a.ip(a.attacker), 67), netip.MustParseAddrPort("255.255.255.255:68"), []byte("offer")))
	got = <-received
	return got
}

// enterPort sends to a link-local multicast group. A bridge passes such frames to the host as received
// on the port, so rules for the bridge do not match them.
func (a *attack) enterPort() bool {
	conn := a.ns.ListenPacket("udp4", "172.17.0.1:5353")
	group := net.HardwareAddr{0x01, 0x80, 0xc2, 0, 0, 0x0e}
	a.send(a.attacker, udp(group, a.attacker.Endpoints[0].MAC,
		netip.AddrPortFrom(a.ip(a.attacker), 7), netip.MustParseAddrPort("172.17.0.1:5353"), []byte("past")))
	return receives(conn)
}

// tagged hides a forged packet behind two priority tags (VLAN 0). The kernel removes one at the port and
// one at the bridge.
func (a *attack) tagged() bool {
	conn := a.ns.ListenPacket("udp4", "172.17.0.1:5353")
	plain := udp(network.MACOf(netip.MustParseAddr("172.17.0.1")), a.attacker.Endpoints[0].MAC,
		netip.MustParseAddrPort("172.17.77.77:7"), netip.MustParseAddrPort("172.17.0.1:5353"), []byte("tagged"))
	tag := binary.BigEndian.AppendUint32(nil, 0x81000000)
	for _, tags := range [][]byte{tag, append(tag, tag...)} {
		a.send(a.attacker, append(append(append([]byte{}, plain[:12]...), tags...), plain[12:]...))
	}
	return receives(conn)
}

func TestContainersIgnoreRouterAdvertisements(t *testing.T) {
	h := newHost(t)
	h.cfg.FixedCIDRv6 = netip.MustParsePrefix("fd00:7::/64")
	a := h.run()
	show := func(sb network.Sandbox) string {
		return strings.Join(strings.Fields(a.in(sb, "sysctl", "-n", "net.ipv6.conf.eth0.accept_ra",
			"net.ipv6.conf.eth0.autoconf",
			"net.ipv6.conf.eth0.accept_redirects", "net.ipv4.conf.eth0.accept_redirects",
			"net.ipv4.conf.all.accept_redirects")), " ")
	}
	if got := show(a.container()); got != "0 0 0 0 0" {
		t.Errorf("got %s, want zeros", got)
	}

	requested := a.create(network.Request{Owner: id.New(), Mode: network.Private,
		Endpoints: []network.EndpointSpec{{Network: "bridge", Sysctls: acceptRA(true)}}})
	if got := show(requested); got != "1 1 0 0 0" {
		t.Errorf("got %s, want the requested sysctls", got)
	}
}

func TestAllowedAddressesPass(t *testing.T) {
	a := newHost(t).run()
	router := a.create(network.Request{Owner: id.New(), Mode: network.Private,
		Endpoints: []network.EndpointSpec{{Network: "bridge",
			Allowed: []netip.Prefix{netip.MustParsePrefix("10.80.0.0/16"), netip.MustParsePrefix("172.17.200.0/24")}}}})
	a.in(router, "ip", "addr", "add", "10.80.3.3/32", "dev", "eth0")
	a.in(router, "ip", "addr", "add", "172.17.200.9/32", "dev", "eth0")
	a.ns.Run("ip", "route", "add", "10.80.0.0/16", "via", a.address(router))
	a.mustReach(a.ns.Path(), "10.80.3.3")
	a.mustReach(a.ns.Path(), "172.17.200.9") // the container responds to ARP for it
	other := a.container()
	a.in(other, "ip", "addr", "add", "172.17.0.99/32", "dev", "eth0")
	if a.reachesWithin(a.ns.Path(), "172.17.0.99", 500*time.Millisecond) {
		t.Error("an address that was not allocated is reached")
	}
}

func TestInternalContainersReachOnlyTheirBridge(t *testing.T) {
	for _, guarded := range []bool{false, true} {
		h := newHost(t)
		h.cfg.unguarded = !guarded
		a := h.run()
		a.ns.Run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1")
		a.ns.Run("ip", "addr", "add", "192.0.2.1/24", "dev", "up0")
		a.ns.Run("ip", "link", "set", "up0", "up")
		if _, err := a.networks.Create(context.Background(), network.Draft{Name: "apart", Internal: true}); err != nil {
			t.Fatal(err)
		}
		sb := a.create(network.Request{Owner: id.New(), Mode: network.Private,
			Endpoints: []network.EndpointSpec{{Network: "apart"}}})
		gateway := sb.Endpoints[0].IPv4.Masked().Addr().Next().String()
		a.in(sb, "ip", "route", "add", "192.0.2.1", "via", gateway) // raw frames do not need it
		a.mustReach(sb.NetnsPath, gateway)
		if got := a.reachesWithin(sb.NetnsPath, "192.0.2.1", time.Second); got == guarded {
			t.Errorf("guarded %v: another address of the host is reachable: %v", guarded, got)
		}
	}
}

// scan sends a datagram to 20 addresses of each prefix.
func scan(from *testns.NS, prefixes ...string) {
	from.Do(func() {
		for _, p := range prefixes {
			for i := range 20 {
				if c, err := net.Dial("udp", net.JoinHostPort(fmt.Sprint(p, i+1), "9")); err == nil {
					_, _ = c.Write([]byte("?"))
					_ = c.Close()
				}
			}
		}
	})
}

func TestLANScansCreateNoNeighbourEntries(t *testing.T) {
	for _, guarded := range []bool{false, true} {
		h := newHost(t)
		h.cfg.unguarded = !guarded
		h.cfg.FixedCIDRv6 = netip.MustParsePrefix("fd00:7::/64")
		a := h.run()
		lan := testns.New(t)
		testns.Connect(t, a.ns, "up0", "192.0.2.1/24 2001:db8::1/64", lan, "eth0", "192.0.2.2/24 2001:db8::2/64")
		lan.Run("ip", "route", "add", "172.17.0.0/16", "via", "192.0.2.1")
		lan.Run("ip", "route", "add", "fd00:7::/64", "via", "2001:db8::1")
		a.ns.Run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
		sb := a.container()
		a.mustReach(lan.Path(), a.address(sb))
		a.mustReach(lan.Path(), sb.Endpoints[0].IPv6.Addr().String())
		scan(lan, "172.17.5.", "fd00:7::5:")
		count := func() int {
			out := a.ns.Run("ip", "neigh", "show", "dev", "docker0")
			return strings.Count(out, "172.17.5.") + strings.Count(out, "fd00:7::5:")
		}
		if guarded {
			time.Sleep(300 * time.Millisecond)
			if n := count(); n > 0 {
				t.Errorf("got %d neighbour entries, want 0", n)
			}
			continue
		}
		a.eventually("the scan fills the neighbour table", func() bool { return count() > 20 })
	}
}

// routerAdvertisement returns a frame that advertises a prefix for SLAAC (RFC 4861, section 4.2).
func routerAdvertisement(mac net.HardwareAddr, prefix netip.Prefix) []byte {
	message := []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1}
	message = append(message, mac...)
	message = append(message, 3, 4, byte(prefix.Bits()), 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0, 0, 0, 0)
	message = append(message, prefix.Addr().AsSlice()...)
	from, to := portguard.LinkLocal(mac), netip.MustParseAddr("ff02::1")
	head := append(append(from.AsSlice(), to.AsSlice()...), 0, 0, 0, byte(len(message)), 0, 0, 0, 58)
	total := uint32(0)
	for _, b := range [][]byte{head, message} {
		for i := 0; i < len(b); i += 2 {
			total += uint32(binary.BigEndian.Uint16(b[i:]))
		}
	}

	total = total>>16 + total&0xffff
	binary.BigEndian.PutUint16(message[2:], ^uint16(total+total>>16))
	packet := append([]byte{0x60, 0, 0, 0, 0, byte(len(message)), 58, 255}, from.AsSlice()...)
	packet = append(append(packet, to.AsSlice()...), message...)
	return append(append([]byte{0x33, 0x33, 0, 0, 0, 1}, mac...), append([]byte{0x86, 0xdd}, packet...)...)
}

func TestListedAttacksHaveTests(t *testing.T) {
	list, err := os.ReadFile("ATTACKS.md")
	if err != nil {
		t.Fatal(err)
	}

	source, err := os.ReadFile("attacks_test.go")
	if err != nil {
		t.Fatal(err)
	}

	rows := 0
	for line := range strings.Lines(string(list)) {
		if !strings.HasPrefix(line, "| A ") && !strings.HasPrefix(line, "| The ") &&
			!strings.HasPrefix(line, "| VLAN ") {
			continue
		}
		rows++
		named := regexp.MustCompile("`(Test[A-Za-z]+)`").FindAllStringSubmatch(line, -1)
		if len(named) == 0 {
			t.Errorf("no test named in row %s", line)
		}
		for _, n := range named {
			if !strings.Contains(string(source), "func "+n[1]+"(") {
				t.Errorf("test %s does not exist", n[1])
			}
		}
	}
	if rows < 12 {
		t.Errorf("got %d rows, want 12 or more", rows)
	}
}
