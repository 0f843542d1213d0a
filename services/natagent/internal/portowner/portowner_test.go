package portowner_test

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/portowner"
)

func TestFindNamesProcess(t *testing.T) {
	n := testns.New(t)
	n.Listen("tcp4", "127.0.0.1:80")
	n.ListenPacket("udp6", "[::]:53")
	for _, row := range []struct {
		proto port.Protocol
		at    string
		want  bool
	}{
		{"tcp", "0.0.0.0:80", true},
		{"tcp", "127.0.0.1:80", true},
		{"tcp", "127.0.0.2:80", false},
		{"tcp", "0.0.0.0:81", false},
		{"udp", "0.0.0.0:80", false},
		{"udp", "[::1]:53", true},
		{"udp", "0.0.0.0:53", true},
		{"sctp", "0.0.0.0:80", false},
	} {
		p, ok := portowner.Find(hostns.At(n.Fd()), row.proto, netip.MustParseAddrPort(row.at))
		if ok != row.want || ok && p.PID != os.Getpid() {
			t.Errorf("%s/%s: %v, %v; want %v, pid %d", row.at, row.proto, p, ok, row.want, os.Getpid())
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 " +
		"00000000     0        0 12345 1 0000 100 0 0 10 0\n")
	f.Add("0: 00000000000000000000000001000000:0035 0:0 07 0:0 0:0 0 0 0 99 2\n")
	f.Fuzz(func(t *testing.T, text string) {
		sockets, _ := portowner.Parse(strings.NewReader(text))
		for _, s := range sockets {
			if !s.Local.IsValid() || s.Inode == "" {
				t.Errorf("%q gave %v", text, s)
			}
		}
	})
}
