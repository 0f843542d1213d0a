package protoconv

import (
	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/egress"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// BandwidthFromProto returns a limit, which is zero if there is none.
func BandwidthFromProto(in *containerv1.Bandwidth) bandwidth.Limit {
	return bandwidth.Limit{In: in.GetIn(), Out: in.GetOut()}
}

// PacketsFromProto returns limits of packets, which are zero if there are none.
func PacketsFromProto(in *containerv1.Packets) egress.Packets {
	return egress.Packets{In: in.GetIn(), Out: in.GetOut()}
}

func packetsToProto(p egress.Packets) *containerv1.Packets {
	if p == (egress.Packets{}) {
		return nil
	}
	return &containerv1.Packets{In: p.In, Out: p.Out}
}

func bandwidthToProto(l bandwidth.Limit) *containerv1.Bandwidth {
	if l == (bandwidth.Limit{}) {
		return nil
	}
	return &containerv1.Bandwidth{In: l.In, Out: l.Out}
}
