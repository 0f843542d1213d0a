package frame_test

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/services/netagent/internal/frame"
)

// hardware returns a generator of unicast MAC addresses.
func hardware() *rapid.Generator[net.HardwareAddr] {
	return rapid.Custom(func(t *rapid.T) net.HardwareAddr {
		b := rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, "mac")
		b[0] &^= 1
		return b
	})
}

func ip4() *rapid.Generator[netip.Addr] {
	return rapid.Custom(func(t *rapid.T) netip.Addr {
		return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "ip")))
	})
}

func TestARPRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := frame.ARP{Reply: rapid.Bool().Draw(t, "reply"), SenderMAC: hardware().Draw(t, "sender"),
			SenderIP: ip4().Draw(t, "from"), TargetIP: ip4().Draw(t, "to")}
		data := a.Frame()
		got, ok := frame.ReadARP(append(bytes.Clone(data), make([]byte, 18)...)) // padded to 60 bytes
		if !ok || got.Reply != a.Reply || !bytes.Equal(got.SenderMAC, a.SenderMAC) || got.SenderIP != a.SenderIP ||
			got.TargetIP != a.TargetIP {
			t.Fatalf("got %+v, %v, want %+v", got, ok, a)
		}

		data[6] ^= 0xff // the result is a copy
		clear(data[22:28])
		if !bytes.Equal(got.SenderMAC, a.SenderMAC) {
			t.Fatalf("got %s after a change of the frame", got.SenderMAC)
		}
	})
}

// TestTruncatedFramesRejected cuts valid frames at each length.
func TestTruncatedFramesRejected(t *testing.T) {
	router := advert(t, raHead+raPrefix)
	datagram := frame.UDP{FromMAC: mac, From: netip.AddrPortFrom(four, 68), To: netip.AddrPortFrom(four, 67),
		Payload: []byte("payload")}.Frame()
	datagram6 := frame.UDP{FromMAC: mac, From: netip.AddrPortFrom(six, 546), To: netip.AddrPortFrom(six, 547),
		Payload: []byte("payload")}.Frame()
	for name, c := range map[string]struct {
		data []byte
		read func([]byte) bool
	}{
		"ARP":              {frame.Probe(other, four), func(b []byte) bool { _, ok := frame.ReadARP(b); return ok }},
		"ARP conflict":     {frame.Announce(other, four), func(b []byte) bool { return conflict(b, four) }},
		"advertisement":    {frame.Announce(other, six), func(b []byte) bool { return conflict(b, six) }},
		"solicitation":     {frame.Probe(other, six), func(b []byte) bool { return conflict(b, six) }},
		"router":           {router, func(b []byte) bool { _, ok := frame.ReadRouter(b); return ok }},
		"UDP":              {datagram, func(b []byte) bool { _, ok := frame.ReadUDP(b, true); return ok }},
		"UDP over IPv6":    {datagram6, func(b []byte) bool { _, ok := frame.ReadUDP(b, true); return ok }},
		"UDP with its sum": {datagram, func(b []byte) bool { _, ok := frame.ReadUDP(b, false); return ok }},
	} {
		if !c.read(c.data) {
			t.Errorf("%s: the complete frame is rejected", name)
		}
		for n := range c.data {
			if c.read(c.data[:n]) {
				t.Errorf("%s: got a result from %d of %d bytes", name, n, len(c.data))
			}
		}
	}
}

func conflict(data []byte, addr netip.Addr) bool {
	_, ok := frame.ConflictFrom(data, addr, mac)
	return ok
}

// TestDamagedDiscoveryRejected flips one bit of the IPv6 part of neighbour discovery messages.
func TestDamagedDiscoveryRejected(t *testing.T) {
	router := advert(t, raHead+raPrefix+"0501 0000 00000578")
	for name, c := range map[string]struct {
		data []byte
		read func([]byte) bool
	}{
		"advertisement": {frame.Announce(other, six), func(b []byte) bool { return conflict(b, six) }},
		"solicitation":  {frame.Probe(other, six), func(b []byte) bool { return conflict(b, six) }},
		"router":        {router, func(b []byte) bool { _, ok := frame.ReadRouter(b); return ok }},
	} {
		for bit := 18 * 8; bit < len(c.data)*8; bit++ { // from the payload length on
			damaged := bytes.Clone(c.data)
			damaged[bit/8] ^= 0x80 >> (bit % 8)
			if c.read(damaged) {
				t.Errorf("%s: got a result with bit %d of byte %d flipped", name, bit%8, bit/8)
			}
		}
	}
}

func TestConflictIgnoresAllOwnAddresses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		own := rapid.SliceOfN(hardware(), 0, 4).Draw(t, "own")
		sender := hardware().Draw(t, "sender")
		if len(own) > 0 && rapid.Bool().Draw(t, "is own") {
			sender = rapid.SampledFrom(own).Draw(t, "which")
		}
		isOwn := false
		for _, m := range own {
			isOwn = isOwn || bytes.Equal(m, sender)
		}
		for _, addr := range []netip.Addr{four, six} {
			for _, data := range [][]byte{frame.Announce(sender, addr), frame.Probe(sender, addr)} {
				got, ok := frame.ConflictFrom(data, addr, own...)
				if ok == isOwn || ok && !bytes.Equal(got, sender) {
					t.Fatalf("%s of %s: got %s, %v", addr, sender, got, ok)
				}
			}
		}
	})
}

func TestRouterFlags(t *testing.T) {
	option := func(length, flags, valid, preferred, prefix string) string {
		return "0304" + length + flags + valid + preferred + "00000000" + prefix
	}
	const (
		long, hour = "00000e10", "00000708"
		ula        = "fd000008000000000000000000000000"
	)
	for name, c := range map[string]struct {
		message string
		check   func(frame.Router) bool
	}{
		"no default router": {strings.Replace(raHead, "0708", "0000", 1),
			func(r frame.Router) bool { return r.Lifetime == 0 && r.Managed }},
		"not managed": {strings.Replace(raHead, " 80 ", " 00 ", 1),
			func(r frame.Router) bool { return !r.Managed && r.Lifetime == 30*time.Minute }},
		"on-link only": {raHead + option("40", "80", long, hour, ula), func(r frame.Router) bool {
			return len(r.Prefixes) == 1 && r.Prefixes[0].OnLink && !r.Prefixes[0].Autonomous
		}},
		"autonomous only": {raHead + option("40", "40", long, hour, ula), func(r frame.Router) bool {
			return len(r.Prefixes) == 1 && !r.Prefixes[0].OnLink && r.Prefixes[0].Autonomous
		}},
		"host bits": {raHead + option("20", "c0", long, hour, ula), func(r frame.Router) bool {
			return len(r.Prefixes) == 1 && r.Prefixes[0].Prefix == netip.MustParsePrefix("fd00:8::/32")
		}},
		"link-local prefix": {raHead + option("40", "c0", long, hour, "fe80"+ula[4:]),
			func(r frame.Router) bool { return len(r.Prefixes) == 0 }},
		"multicast prefix": {raHead + option("40", "c0", long, hour, "ff02"+ula[4:]),
			func(r frame.Router) bool { return len(r.Prefixes) == 0 }},
		"length of 129": {raHead + option("81", "c0", long, hour, ula),
			func(r frame.Router) bool { return len(r.Prefixes) == 0 }},
		"withdrawn server": {raHead + "1903 0000 00000000 fd000008000000000000000000000001",
			func(r frame.Router) bool { return len(r.Servers) == 0 }},
		"two servers": {raHead + "1905 0000 00000e10 fd000008000000000000000000000001 fd000008000000000000000000000002",
			func(r frame.Router) bool {
				return len(r.Servers) == 2 && r.Servers[1] == netip.MustParseAddr("fd00:8::2")
			}},
		"huge MTU": {raHead + "0501 0000 ffffffff", func(r frame.Router) bool { return r.MTU == 1<<16 }},
		"unknown option": {raHead + "fe01 0000 00000000 0501 0000 00000578",
			func(r frame.Router) bool { return r.MTU == 1400 }},
	} {
		if got, ok := frame.ReadRouter(advert(t, c.message)); !ok || !c.check(got) {
			t.Errorf("%s: got %+v, %v", name, got, ok)
		}
	}

	foreign := advert(t, raHead)
	copy(foreign[22:], wire("fd00")) // the source is not link-local; the sum of the header follows
	foreign[56], foreign[57] = foreign[56]+1, foreign[57]+0x80
	if r, ok := frame.ReadRouter(foreign); ok {
		t.Errorf("got %+v from an address that is not link-local", r)
	}
}

func TestUDPVariants(t *testing.T) {
	u := frame.UDP{FromMAC: mac, From: netip.AddrPortFrom(four, 68), To: netip.AddrPortFrom(four, 67),
		Payload: []byte("x")}
	if got := net.HardwareAddr(u.Frame()[:6]); !bytes.Equal(got, frame.Broadcast()) {
		t.Errorf("got destination %s, want broadcast", got)
	}
	group := netip.AddrPortFrom(netip.MustParseAddr("ff02::1:2"), 547)
	if got := net.HardwareAddr(frame.UDP{FromMAC: mac, From: netip.AddrPortFrom(six, 546),
		To: group}.Frame()[:6]); got.String() != "33:33:00:01:00:02" {
		t.Errorf("got destination %s, want that of the group", got)
	}

	for name, c := range map[string]struct {
		change          func([]byte)
		summed, partial bool // accepted with the sums compared, and without that of UDP
	}{
		"no checksum":        {func(b []byte) { b[40], b[41] = 0, 0 }, true, true},
		"partial checksum":   {func(b []byte) { b[41]++ }, false, true},
		"header checksum":    {func(b []byte) { b[24]++ }, false, false},
		"a later fragment":   {func(b []byte) { b[21]++; b[25]-- }, false, false},
		"more fragments":     {func(b []byte) { b[20] |= 0x20; b[24] -= 0x20 }, false, false},
		"TCP":                {func(b []byte) { b[23] = 6; b[25] += 11 }, false, false},
		"a longer datagram":  {func(b []byte) { b[39]++ }, false, false},
		"a shorter datagram": {func(b []byte) { b[39] = 7 }, false, false},
		"IPv6 in its type":   {func(b []byte) { b[12], b[13] = 0x86, 0xdd }, false, false},
	} {
		data := u.Frame()
		c.change(data)
		if _, ok := frame.ReadUDP(data, false); ok != c.summed {
			t.Errorf("%s: got %v, want %v", name, ok, c.summed)
		}
		if _, ok := frame.ReadUDP(data, true); ok != c.partial {
			t.Errorf("%s, without the checksum of UDP: got %v, want %v", name, ok, c.partial)
		}
	}
}
