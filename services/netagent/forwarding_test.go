package netagent

import (
	"strings"
	"testing"
)

// A connection right after CreateSandbox returns must not lose its first packet. A bridge drops packets
// of a new port that is not in the forwarding state yet, and TCP retransmits only after a second.
func TestCreatedSandboxForwardsImmediately(t *testing.T) {
	a := newHost(t).run()
	for range 30 {
		sb := a.container()
		a.mustReach(a.ns.Path(), a.address(sb))
		a.release(sb)
	}
	if lost := a.counter("TCPSynRetrans"); lost != "0" {
		t.Errorf("got %s retransmitted SYN packets of 30, want 0", lost)
	}
}

// counter returns one of the host's TCP counters, see /proc/net/netstat in proc_net(5).
func (a *agent) counter(name string) string {
	lines := strings.Split(a.ns.Run("cat", "/proc/net/netstat"), "\n")
	names, values := strings.Fields(lines[0]), strings.Fields(lines[1])
	for i, n := range names {
		if n == name {
			return values[i]
		}
	}
	return "no " + name
}
