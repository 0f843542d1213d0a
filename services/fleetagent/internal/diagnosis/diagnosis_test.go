package diagnosis

import (
	"os"
	"path/filepath"
	"testing"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
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
