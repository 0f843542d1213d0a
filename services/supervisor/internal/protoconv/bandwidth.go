package protoconv

import (
	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/egress"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// BandwidthFromProto returns a limit, which is zero if none was given.
func BandwidthFromProto(in *containerv1.Bandwidth) bandwidth.Limit {
	return bandwidth.Limit{In: in.GetIn(), Out: in.GetOut(), None: in != nil && in.GetIn() == 0 && in.GetOut() == 0}
}

// PacketsFromProto returns limits of packets, which are zero if none were given.
func PacketsFromProto(in *containerv1.Packets) egress.Packets {
	return egress.Packets{In: in.GetIn(), Out: in.GetOut(), None: in != nil && in.GetIn() == 0 && in.GetOut() == 0}
}

// limitsFromProto returns the limits of a container.
func limitsFromProto(n *containerv1.NetworkConfig) egress.Limits {
	return egress.Limits{Connections: n.GetMaxConnections(), AnyConnections: n.GetUnlimitedConnections(),
		Packets: PacketsFromProto(n.GetPackets())}
}

func packetsToProto(p egress.Packets) *containerv1.Packets {
	if p == (egress.Packets{}) {
		return nil
	}
	return &containerv1.Packets{In: p.In, Out: p.Out}
}

func bandwidthToProto(l bandwidth.Limit) *containerv1.Bandwidth {
	if !l.IsGiven() {
		return nil
	}
	return &containerv1.Bandwidth{In: l.In, Out: l.Out}
}
