package protoconv

import (
	"github.com/fairlead/fairlead/proto/bandwidth"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// BandwidthFromProto returns a limit, which is zero if there is none.
func BandwidthFromProto(in *containerv1.Bandwidth) bandwidth.Limit {
	return bandwidth.Limit{In: in.GetIn(), Out: in.GetOut()}
}

func bandwidthToProto(l bandwidth.Limit) *containerv1.Bandwidth {
	if l == (bandwidth.Limit{}) {
		return nil
	}
	return &containerv1.Bandwidth{In: l.In, Out: l.Out}
}
