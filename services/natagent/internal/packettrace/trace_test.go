package packettrace_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/firewalltest"
	"github.com/fairlead/fairlead/services/natagent/internal/packettrace"
)

// nodes are the hosts of the test topology, by the N and M of 10.10.N.M and fd10:N::M.
var nodes = map[string]string{"a": "1.2", "b": "1.3", "rogue": "1.66", "c": "2.2", "g": "2.3", "p": "2.4",
	"d": "3.2", "e": "4.2", "f": "4.3", "h": "5.2", "j": "6.2", "k": "6.3", "m": "7.2"}

// addressOf returns the address of a node; zero for the host.
func addressOf(name string, v6 bool) netip.Addr {
	if name == "host" {
		return netip.Addr{}
	}

	v4, six := "10.1.0.", "fd01::"
	last, outside := strings.CutPrefix(name, "ext")
	if outside && last == "" {
		last = "2"
	}

	if !outside {
		network, machine, _ := strings.Cut(nodes[name], ".")
		v4, six, last = "10.10."+network+".", "fd10:"+network+"::", machine
	}

	if v6 {
		return netip.MustParseAddr(six + last)
	}

	return netip.MustParseAddr(v4 + last)
}

func isHosts(a netip.Addr) bool {
	switch s := a.String(); s {
	case "10.1.0.1", "10.1.0.5", "10.1.0.7", "10.1.0.9", "fd01::1", "fd01::7":
		return true
	default:
		return strings.HasPrefix(s, "10.10.") && strings.HasSuffix(s, ".1") || strings.HasPrefix(s, "fd10:") &&
			strings.HasSuffix(s, "::1")
	}
}

// TestTraceMatchesCases uses the cases that the backends are tested with.
func TestTraceMatchesCases(t *testing.T) {
	for _, c := range firewalltest.Cases() {
		t.Run(c.Name(), func(t *testing.T) {
			to := netip.MustParseAddrPort(c.To)
			p := packettrace.Packet{Source: addressOf(c.From, to.Addr().Is6()), Target: to,
				Protocol: port.Protocol(c.Network)}
			if strings.HasPrefix(c.From, "ext") {
				p.Interface = "ext0"
			}
			got := packettrace.Trace(firewalltest.State(), isHosts, p)
			if len(got.Steps) == 0 || got.Steps[len(got.Steps)-1].Text == "" {
				t.Fatal("got no steps")
			}
			why := got.Steps[len(got.Steps)-1].Text
			name, _, answered := strings.Cut(c.Want, " sees ")
			switch {
			case got.Reached && (c.Want == "refused" || c.To == "10.1.0.7:40000"): // no server listens there
			case !answered && got.Reached:
				t.Errorf("want %s, got target %s: %s", c.Want, got.Target, why)
			case answered && name == "host" && got.Reached:
				t.Errorf("got target %s, want the host", got.Target)
			case answered && name != "host" && !got.Reached:
				t.Errorf("want target %s, got none: %s", name, why)
			case answered && name != "host" && got.Target.Addr() != addressOf(name, to.Addr().Is6()):
				t.Errorf("want target %s, got %s", name, got.Target)
			}
		})
	}
}
