package frame_test

import (
	"bytes"
	"encoding/hex"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/services/netagent/internal/frame"
)

var (
	mac   = net.HardwareAddr{0x02, 0x42, 0xc0, 0xa8, 0x08, 0x40}
	other = net.HardwareAddr{0x02, 0, 0, 0, 0, 9}
	four  = netip.MustParseAddr("192.168.8.64")
	six   = netip.MustParseAddr("fd00:8::40")
)

// wire decodes hexadecimal with spaces.
func wire(s string) []byte {
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "", "\t", "").Replace(s))
	if err != nil {
		panic(err)
	}
	return b
}

func TestFramesMatchStandards(t *testing.T) {
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"an ARP probe": {frame.Probe(mac, four), `ffffffffffff 0242c0a80840 0806 0001 0800 06 04 0001
			0242c0a80840 00000000 000000000000 c0a80840`},
		"a gratuitous ARP": {frame.Announce(mac, four), `ffffffffffff 0242c0a80840 0806 0001 0800 06 04 0001
			0242c0a80840 c0a80840 000000000000 c0a80840`},
		"a probe for IPv6": {frame.Probe(mac, six), `3333ff000040 0242c0a80840 86dd 60000000 0018 3a ff
			00000000000000000000000000000000 ff0200000000000000000001ff000040
			8700 7d1f 00000000 fd000008000000000000000000000040`},
		"an unsolicited neighbour advertisement": {frame.Announce(mac, six), `333300000001 0242c0a80840 86dd 60000000 0020 3a ff
			fd000008000000000000000000000040 ff020000000000000000000000000001
			8800 90e3 20000000 fd000008000000000000000000000040 0201 0242c0a80840`},
	} {
		if !bytes.Equal(c.got, wire(c.want)) {
			t.Errorf("%s: got\n%x, want\n%x", name, c.got, wire(c.want))
		}
	}
}

func TestConflictFrom(t *testing.T) {
	zero := netip.IPv4Unspecified()
	client := netip.MustParseAddr("192.168.8.2")
	for name, c := range map[string]struct {
		data []byte
		addr netip.Addr
		want bool
	}{
		"a reply": {frame.ARP{Reply: true, SenderMAC: other, SenderIP: four,
			TargetIP: zero}.Frame(), four, true},
		"a request from its holder": {frame.ARP{SenderMAC: other, SenderIP: four, TargetIP: client}.Frame(), four,
			true},
		"a probe from another host": {frame.Probe(other, four), four, true},
		"an own probe":              {frame.Probe(mac, four), four, false},
		"a request for it": {frame.ARP{SenderMAC: other, SenderIP: client, TargetIP: four}.Frame(), four,
			false},
		"a reply for another": {frame.ARP{Reply: true, SenderMAC: other, SenderIP: client,
			TargetIP: zero}.Frame(), four, false},
		"an advertisement":                {frame.Announce(other, six), six, true},
		"an advertisement of another":     {frame.Announce(other, six.Next()), six, false},
		"an IPv6 probe from another host": {frame.Probe(other, six), six, true},
		"an own IPv6 probe":               {frame.Probe(mac, six), six, false},
		"the other family":                {frame.Announce(other, six), four, false},
		"nothing":                         {nil, four, false},
	} {
		sender, ok := frame.ConflictFrom(c.data, c.addr, mac)
		if ok != c.want || ok && !bytes.Equal(sender, other) {
			t.Errorf("%s: got %v, %v, want %v", name, sender, ok, c.want)
		}
	}

	bad := frame.Announce(other, six)
	bad[len(bad)-1]++
	if _, ok := frame.ConflictFrom(bad, six, mac); ok {
		t.Error("got a conflict from a frame with a wrong checksum")
	}

	far := frame.Announce(other, six)
	far[14+7]-- // the hop limit, which no checksum includes
	if _, ok := frame.ConflictFrom(far, six, mac); ok {
		t.Error("got a conflict from a forwarded frame")
	}
}

// advert returns a router advertisement with the given message and computes its checksum.
func advert(t *testing.T, message string) []byte {
	t.Helper()

	m := wire(message)
	head := wire("333300000001 020000000009 86dd 60000000")
	head = append(head, byte(len(m)>>8), byte(len(m)), 0x3a, 0xff)
	head = append(head, wire("fe800000000000000000000000000001 ff020000000000000000000000000001")...)
	s := uint32(len(m)) + 0x3a

	for _, part := range [][]byte{head[22:54], m} {
		for i := 0; i+1 < len(part); i += 2 {
			s += uint32(part[i])<<8 | uint32(part[i+1])
		}
	}

	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}

	m[2], m[3] = byte(^s>>8), byte(^s)
	return append(head, m...)
}

const (
	raHead   = "86000000 40 80 0708 00000000 00000000 "
	raPrefix = "0304 40 c0 00000e10 00000708 00000000 fd000008000000000000000000000000 "
)

func TestReadRouter(t *testing.T) {
	got, ok := frame.ReadRouter(advert(t, raHead+"0501 0000 00000578"+raPrefix+
		"1903 0000 00000e10 fd000008000000000000000000000001"+
		"1f02 0000 00000e10 036c616e 00000000"+"1f02 0000 00000000 04676f6e 65000000"))
	want := frame.Router{Addr: netip.MustParseAddr("fe80::1"), Lifetime: 1800 * time.Second, Managed: true, MTU: 1400,
		Prefixes: []frame.Prefix{{Prefix: netip.MustParsePrefix("fd00:8::/64"), OnLink: true, Autonomous: true,
			Valid: time.Hour, Preferred: 30 * time.Minute}},
		Servers: []netip.Addr{netip.MustParseAddr("fd00:8::1")}, Search: []string{"lan"}}
	if !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v %+v, want %+v", ok, got, want)
	}

	for name, message := range map[string]string{"an option without length": raHead + "0500 0000 00000578",
		"an option cut off": raHead + "0304 40c0"} {
		if r, ok := frame.ReadRouter(advert(t, message)); ok {
			t.Errorf("%s: got %+v", name, r)
		}
	}

	if _, ok := frame.ReadRouter(frame.SolicitRouter(mac, netip.MustParseAddr("fe80::1"))); ok {
		t.Error("got an advertisement from a solicitation")
	}
}

func TestUDPRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := frame.UDP{FromMAC: mac, ToMAC: other, Payload: rapid.SliceOfN(rapid.Byte(), 0, 1400).Draw(t, "payload")}
		from, to := four, netip.MustParseAddr("192.168.8.2")
		if rapid.Bool().Draw(t, "ipv6") {
			from, to = six, netip.MustParseAddr("ff02::1:2")
		}
		u.From = netip.AddrPortFrom(from, rapid.Uint16().Draw(t, "from"))
		u.To = netip.AddrPortFrom(to, rapid.Uint16().Draw(t, "to"))
		data := u.Frame()
		got, ok := frame.ReadUDP(append(bytes.Clone(data), 0, 0, 0), false) // with padding, as short frames have
		if !ok || got.From != u.From || got.To != u.To || !bytes.Equal(got.Payload, u.Payload) ||
			!bytes.Equal(got.FromMAC, mac) {
			t.Fatalf("got %v %+v, want %+v", ok, got, u)
		}
		at := rapid.IntRange(14, len(data)-1).Draw(t, "at")
		data[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if got, ok := frame.ReadUDP(data, false); ok &&
			(got.From != u.From || got.To != u.To || !bytes.Equal(got.Payload, u.Payload)) {
			t.Fatalf("got %+[2]v with a flipped bit at %[1]d", at, got)
		}
	})
}

func FuzzFrames(f *testing.F) {
	f.Add(frame.Probe(mac, four))
	f.Add(frame.Announce(mac, six))
	f.Add(frame.UDP{FromMAC: mac, From: netip.AddrPortFrom(four, 68), To: netip.AddrPortFrom(four, 67),
		Payload: []byte("x")}.Frame())
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		frame.ReadRouter(data)
		frame.ConflictFrom(data, four)
		frame.ConflictFrom(data, six)
		if u, ok := frame.ReadUDP(data, true); ok && len(u.Payload) > len(data) {
			t.Errorf("got %d bytes from %d", len(u.Payload), len(data))
		}
		if !bytes.Equal(before, data) {
			t.Error("got changed input")
		}
	})
}
