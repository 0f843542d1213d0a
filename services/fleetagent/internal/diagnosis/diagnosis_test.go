package diagnosis

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

func TestHintsOpenExactlyTheClosedPorts(t *testing.T) {
	for _, c := range []struct {
		tool   string
		closed []uint32
		want   string
	}{
		{"", nil, "raise the MTU of the way, or lower that of the interfaces of the hosts"},
		{"", []uint32{4789}, "open it in the firewall of both hosts: iptables -I INPUT -p udp --dport 4789 -j ACCEPT"},
		{"", []uint32{4789, 51820},
			"open them in the firewall of both hosts: iptables -I INPUT -p udp -m multiport --dports 4789,51820 " +
				"-j ACCEPT"},
		{"ufw", []uint32{51820, 51821}, "open them in the firewall of both hosts: ufw allow 51820,51821/udp"},
		{"firewall-cmd", []uint32{51820, 51821}, "open them in the firewall of both hosts: firewall-cmd --permanent " +
			"--add-port=51820/udp --add-port=51821/udp && firewall-cmd --reload"},
	} {
		programs := t.TempDir()
		t.Setenv("PATH", programs)
		if c.tool != "" {
			if err := os.WriteFile(filepath.Join(programs, c.tool), nil,
				0o700); err != nil { //nolint:gosec // a program
				t.Fatal(err)
			}
		}
		if got := pathHint(&fleetv1.PathProblem{ClosedPorts: c.closed}); got != c.want {
			t.Errorf("%q %v: got %q, want %q", c.tool, c.closed, got, c.want)
		}
	}
}

func TestBlockedPortsAreGrouped(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	tcp, udp := natv1.Protocol_PROTOCOL_TCP, natv1.Protocol_PROTOCOL_UDP
	port := func(protocol natv1.Protocol, number uint32, reason string) *natv1.BlockedPort {
		return &natv1.BlockedPort{Port: &natv1.HostPort{Protocol: protocol, Port: number}, Reason: reason}
	}
	messages, hints := blocked([]*natv1.BlockedPort{port(tcp, 7450, "closed by A"), port(tcp, 7451, "closed by B"),
		port(tcp, 7452, "closed by A"), port(udp, 4789, "closed by A")})
	want := "TCP ports 7450 and 7452 are closed by A, TCP port 7451 is closed by B, UDP port 4789 is closed by A"
	if got := strings.Join(messages, ", "); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	want = "open them in the firewall of this host: iptables -I INPUT -p tcp -m multiport --dports 7450,7452 -j ACCEPT"
	if len(hints) != 3 || hints[0] != want {
		t.Errorf("got hints %q, want %q first", hints, want)
	}
}
