package overlay

import (
	"cmp"
	"net/netip"

	"github.com/fairlead/fairlead/agent/notify"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/pathprobe"
	"github.com/fairlead/fairlead/services/netagent/internal/tunnelkey"
)

// setPaths makes the prober check the way to each other host that is alive. The ports of encrypted tunnels are checked
// if the fleet has an encrypted network. own are the keys of this host.
func setPaths(p *pathprobe.Prober, v *view, own []tunnelkey.Public) {
	if p == nil {
		return
	}
	var local netip.Addr
	var peers []pathprobe.Peer
	if v.self != nil && !v.self.GetRemoved() {
		local, _ = netip.ParseAddr(v.self.GetAddress())
	}
	encrypted := v.hasEncrypted()
	for id, h := range v.hosts {
		if id != v.self.GetHostId() && h.GetState() == fleetv1.HostState_HOST_STATE_ALIVE {
			peer := pathprobe.Peer{ID: id, Address: h.GetAddress()}
			if keys := keysFromProto(h.GetTunnelKeys()); encrypted && len(own) > 0 && len(keys) > 0 {
				peer.Ports = tunnelkey.Ports(keys[0])
			}
			peers = append(peers, peer)
		}
	}
	var ports []uint16
	if len(own) > 0 {
		ports = tunnelkey.Ports(own[0])
	}
	p.Set(local.Unmap(), ports, cmp.Or(int(v.self.GetUnderlayMtu()), usualMTU), peers)
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
		var closed []uint32
		for _, port := range p.Closed {
			closed = append(closed, uint32(port))
		}
		req.Problems = append(req.Problems, &fleetv1.PathProblem{HostId: p.Host, Reason: p.Reason,
			ClosedPorts: closed})
	}
}
