package servername

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/services/natagent/internal/quictest"
	"github.com/fairlead/fairlead/services/natagent/internal/servername/quichello"
)

// quicHello returns the first datagrams of a QUIC client that asks for a name. There are several.
func quicHello(t *testing.T, name string) (all [][]byte) {
	t.Helper()
	conn := quictest.Client(t, name)
	var f quichello.Flow
	for state := quichello.Waiting; state != quichello.Complete; {
		buffer := make([]byte, 4096)
		n, _, err := conn.ReadFrom(buffer)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, buffer[:n])
		if _, state, err = f.Datagram(buffer[:n]); err != nil {
			t.Fatal(err)
		}
	}
	if len(all) < 2 {
		t.Fatalf("%d datagrams, want several", len(all))
	}
	return all
}

// udpPacket returns a packet of IPv4 or IPv6.
func udpPacket(from, to string, data []byte) []byte {
	src, dst := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	udp := binary.BigEndian.AppendUint16(nil, src.Port())
	udp = binary.BigEndian.AppendUint16(udp, dst.Port())
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(data)))
	udp = append(append(udp, 0, 0), data...)
	var ip []byte
	if src.Addr().Is4() {
		ip = binary.BigEndian.AppendUint16([]byte{0x45, 0}, uint16(20+len(udp)))
		ip = append(ip, 0, 0, 0x40, 0, 64, protoUDP, 0, 0)
	} else {
		ip = binary.BigEndian.AppendUint16([]byte{0x60, 0, 0, 0}, uint16(len(udp)))
		ip = append(ip, protoUDP, 64)
	}
	return append(append(append(ip, src.Addr().AsSlice()...), dst.Addr().AsSlice()...), udp...)
}

func TestQUIC(t *testing.T) {
	good, bad := quicHello(t, "a.test"), quicHello(t, "b.test")
	for _, addrs := range [][2]string{{clientAddr, tlsAddr}, {"[fd09::2]:40000", "[2001:db8::7]:443"}} {
		c, id := newChecker(t, "a.test/quic"), uint32(0)
		send := func(mac MAC, data []byte) Verdict {
			id++
			return c.Check(Packet{Data: udpPacket(addrs[0], addrs[1], data), MAC: mac, ID: id})
		}
		want := func(what string, v Verdict, a Action, released ...uint32) {
			t.Helper()
			if v.Action != a || !v.UDP || !slices.Equal(v.Release, released) {
				t.Errorf("%s: got %+v, want %d and %v", what, v, a, released)
			}
		}
		short := []byte("\x40abcdefgh")
		want("before the handshake", send(clientMAC, short), Drop)
		want("another interface", send(routerMAC, good[0]), Drop)
		want("no interface", send(MAC{}, good[0]), Drop)
		last := len(good) - 1
		var held []uint32
		for _, part := range good[:last] {
			want("first part", send(clientMAC, part), Hold)
			held = append(held, id)
		}
		want("last part of another interface", send(secondMAC, good[last]), Drop)
		want("last part", send(clientMAC, good[last]), Verified, held...)
		want("after the handshake", send(clientMAC, short), Verified)
		want("a part of a packet that was split", send(MAC{}, short), Verified)
		for _, part := range bad[:len(bad)-1] {
			v := send(clientMAC, part)
			if v.Action == Refuse { // the name is in this part
				break
			}
			want("first part of another connection", v, Hold)
		}
		v := send(clientMAC, bad[len(bad)-1])
		if v.Action != Refuse || v.Name != "b.test" || v.Owner != "box" || v.Client.String() != addrs[0] ||
			v.Server.String() != addrs[1] || len(v.Release) != len(bad)-1 {
			t.Errorf("got %+v", v)
		}
		want("after the refusal", send(clientMAC, short), Drop)
		for _, part := range bad {
			if v = send(clientMAC, part); v.Owner != "" {
				t.Error("one flow is recorded twice")
			}
		}
		if v = send(clientMAC, []byte("\xc0\xff\x00\x00\x1d abc")); v.Action != Refuse || v.Name != "" {
			t.Errorf("another version: got %+v", v)
		}
		if len(c.quic.flows) != 0 || len(c.quic.count) != 0 || len(c.quic.waiting) != 0 {
			t.Errorf("%d flows are left, %d datagrams", len(c.quic.flows), len(c.quic.waiting))
		}
	}
}

// TestQUICFirstPacketsSplit sends the first datagrams of a client in a packet that the kernel splits.
func TestQUICFirstPacketsSplit(t *testing.T) {
	c := newChecker(t, "a.test/quic")
	for _, k := range []struct {
		name string
		end  Action
	}{{"a.test", Verified}, {"b.test", Refuse}} {
		parts := quicHello(t, k.name)
		var v Verdict
		for i, part := range parts {
			v = c.Check(Packet{Data: udpPacket(knownAddr, tlsAddr, part), ID: uint32(i)})
			if i == 0 && v.Action != Hold {
				t.Errorf("%s: first part: got %+v", k.name, v)
			}
		}
		if v.Action != k.end {
			t.Errorf("%s: last part: got %+v", k.name, v)
		}
	}
	short := udpPacket(knownAddr, tlsAddr, []byte("\x40abcdefgh"))
	if v := c.Check(Packet{Data: short, MAC: secondMAC}); v.Action != Drop {
		t.Errorf("another interface with the address: got %+v", v)
	}
}

func TestQUICLimits(t *testing.T) {
	good := quicHello(t, "a.test")
	synctest.Test(t, func(t *testing.T) {
		c := newChecker(t, "a.test/quic")
		id := uint32(0)
		send := func(port uint16) Verdict {
			id++
			from := netip.AddrPortFrom(netip.MustParseAddr("10.9.0.2"), port).String()
			return c.Check(Packet{Data: udpPacket(from, tlsAddr, good[0]), MAC: clientMAC, ID: id})
		}
		for port := range uint16(maxWaitingPerOwner) {
			if v := send(port + 1); v.Action != Hold {
				t.Fatalf("datagram %d: got %+v", port, v)
			}
		}
		if v := send(1); v.Action != Drop || len(v.Late) > 0 {
			t.Errorf("too many datagrams wait: got %+v", v)
		}
		time.Sleep(waitTime + time.Second)
		if v := send(1); v.Action != Hold || len(v.Late) != maxWaitingPerOwner || v.Late[0] != 1 {
			t.Errorf("later: got %+v", v)
		}
		for port := range uint16(maxQUICPerOwner + 1) {
			send(port + 1)
		}
		if len(c.quic.flows) != maxQUICPerOwner {
			t.Errorf("%d flows, want %d", len(c.quic.flows), maxQUICPerOwner)
		}
		time.Sleep(idleQUIC + sweepEvery)
		send(1)
		if len(c.quic.flows) != 1 || c.quic.count["box"] != 1 {
			t.Errorf("%d flows are left, want 1", len(c.quic.flows))
		}
	})
}

// A client must not have parts of a ClientHello released by the ClientHello of another connection.
func TestQUICPartsWaitForTheirOwnName(t *testing.T) {
	good, bad := quicHello(t, "a.test"), quicHello(t, "b.test")
	c := newChecker(t, "a.test/quic")
	id := uint32(0)
	send := func(data []byte) Verdict {
		id++
		return c.Check(Packet{Data: udpPacket("10.9.0.2:4000", tlsAddr, data), MAC: clientMAC, ID: id})
	}
	held := uint32(0)
	for _, part := range bad {
		if v := send(part); v.Action == Hold { // the name is in another part
			held = id
			break
		}
	}
	if held == 0 {
		t.Fatal("no part waits")
	}
	for _, part := range good {
		if v := send(part); slices.Contains(v.Release, held) {
			t.Errorf("a part with another name was released: %+v", v)
		}
	}
	if v := send(good[len(good)-1]); v.Action != Verified {
		t.Errorf("sent again: got %+v", v)
	}
}
