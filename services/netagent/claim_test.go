package netagent

import (
	"net/netip"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/sandbox"
)

// probeBarrier is a LANDriver that completes a probe only after probes of both families started.
type probeBarrier struct {
	sandbox.LANDriver
	four, six chan struct{}
}

func (m probeBarrier) AddressOwner(_ network.Network, addr netip.Addr) (string, error) {
	mine, other := m.four, m.six
	if addr.Is6() {
		mine, other = m.six, m.four
	}
	close(mine)
	select {
	case <-other:
		return "", nil
	case <-time.After(waitTimeout):
		return "", fault.New(fault.Internal, "the LAN", "families are probed sequentially")
	}
}

func TestLANProbesFamiliesConcurrently(t *testing.T) {
	a := newHost(t).run()
	a.connectLAN()
	a.createLANNetwork("macvlan", nil, "10.9.0.0/24", "fd09::/64")
	a.sandboxes.LAN = probeBarrier{a.sandboxes.LAN, make(chan struct{}), make(chan struct{})}
	sb := a.create(onNetwork("lan", ""))
	if e := sb.Endpoints[0]; e.IPv4.String() != "10.9.0.1/24" || e.IPv6.String() != "fd09::1/64" ||
		e.MAC.String() != "02:42:0a:09:00:01" {
		t.Errorf("got endpoint %+v", e)
	}
}
