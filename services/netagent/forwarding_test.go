package netagent

import (
	"strings"
	"testing"
)

// A connection made the moment that CreateSandbox answers must not lose its first packet, which the bridge drops while it does not
// forward for the new port yet: the second one comes a second later.
func TestCreatedSandboxForwardsImmediately(t *testing.T) {
	a := newHost(t).run()
	for range 30 {
		sb := a.container()
		a.mustReach(a.ns.Path(), a.address(sb))
		a.release(sb)
	}
	if lost := a.counter("TCPSynRetrans"); lost != "0" {
		t.Errorf("%s of 30 first packets were lost", lost)
	}
}

// counter reads one of the host's TCP counters, see proc_net(5), netstat.
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
