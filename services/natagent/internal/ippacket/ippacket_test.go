package ippacket_test

import (
	"testing"

	"github.com/fairlead/fairlead/services/natagent/internal/ippacket"
)

func TestParse(t *testing.T) {
	v4 := append([]byte{0x45, 0, 0, 24, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}, 0x30, 0x39, 0, 80)
	v6 := append([]byte{0x60, 0, 0, 0, 0, 4, 17, 64}, make([]byte, 32)...)
	v6[23], v6[39] = 1, 2
	v6 = append(v6, 0, 1, 0, 53)
	for want, data := range map[string][]byte{"tcp 10.0.0.1 10.0.0.2:80": v4, "udp ::1 [::2]:53": v6,
		"icmp 10.0.0.1 10.0.0.2:0": append(append([]byte{}, v4[:9]...), append([]byte{1}, v4[10:]...)...)} {
		p, ok := ippacket.Parse(data)
		if got := ippacket.ProtocolName(p.Protocol) + " " + p.From.String() + " " + p.To.String(); !ok || got != want {
			t.Errorf("got %q, %v, want %q", got, ok, want)
		}
	}
	for _, data := range [][]byte{nil, v4[:19], v6[:39], {0x10}} {
		if p, ok := ippacket.Parse(data); ok {
			t.Errorf("%x: got %v", data, p)
		}
	}
}
