package overlay

import (
	"cmp"
	"net/netip"

	"github.com/fairlead/fairlead/agent/notify"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/pathprobe"
)

// setPaths makes the prober check the way to each other host that is alive.
func setPaths(p *pathprobe.Prober, v *view) {
	if p == nil {
		return
	}
	var local netip.Addr
	var peers []pathprobe.Peer
	if v.self != nil && !v.self.GetRemoved() {
		local, _ = netip.ParseAddr(v.self.GetAddress())
	}
	for id, h := range v.hosts {
		if id != v.self.GetHostId() && h.GetState() == fleetv1.HostState_HOST_STATE_ALIVE {
			peers = append(peers, pathprobe.Peer{ID: id, Address: h.GetAddress()})
		}
	}
	p.Set(local.Unmap(), cmp.Or(int(v.self.GetUnderlayMtu()), usualMTU), peers)
}

// pathsChanged is notified when the way to a host was broken or restored. Nil never is.
func pathsChanged(p *pathprobe.Prober) notify.Signal {
	if p == nil {
		return nil
	}
	return p.Changed()
}

// addPaths adds what the prober has found.
func addPaths(prober *pathprobe.Prober, req *fleetv1.PublishHostRequest) {
	if prober == nil {
		return
	}
	problems, decided := prober.Problems()
	req.Probed = uint32(decided) //nolint:gosec // a number of hosts
	for _, p := range problems {
		req.Problems = append(req.Problems, &fleetv1.PathProblem{HostId: p.Host, Reason: p.Reason})
	}
}
