package netagent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/frame"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// attack is a network with a victim, an attacker and a third container.
type attack struct {
	*agent
	t                       *testing.T
	victim, attacker, third endpoint.Sandbox
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
				for _, sb := range []*endpoint.Sandbox{&a.victim, &a.attacker, &a.third} {
					sysctls := acceptRA(len(s.name) > 0 && strings.Contains(s.name, "router"))
					*sb = a.create(endpoint.Request{Owner: id.New(), Mode: endpoint.Private,
						Endpoints: []endpoint.Spec{{Network: "bridge", Sysctls: sysctls}}})
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
func (a *attack) send(from endpoint.Sandbox, frames ...[]byte) {
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

func (a *attack) ip(sb endpoint.Sandbox) netip.Addr { return sb.Endpoints[0].IPv4.Addr() }

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
func (a *attack) neighbour(sb endpoint.Sandbox, of netip.Addr) string {
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
