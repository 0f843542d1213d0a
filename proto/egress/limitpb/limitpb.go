// Package limitpb converts the limits of networks, which package proto/egress defines, to and from their messages.
// Services, the command line and the Go client use it. It validates nothing.
package limitpb

import (
	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/egress"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// FromProto converts a message, which can be nil.
func FromProto(in *networkv1.Limits) (out egress.Defaults) {
	if b := in.GetBandwidth(); b != nil {
		out.Bandwidth = bandwidth.Limit{In: b.GetIn(), Out: b.GetOut(), None: b.GetIn() == 0 && b.GetOut() == 0}
	}
	if p := in.GetPackets(); p != nil {
		out.Limits.Packets = egress.Packets{In: p.GetIn(), Out: p.GetOut(), None: p.GetIn() == 0 && p.GetOut() == 0}
	}
	if in != nil && in.MaxConnections != nil {
		out.Limits.Connections, out.Limits.AnyConnections = in.GetMaxConnections(), in.GetMaxConnections() == 0
	}
	return out
}

// ToProto converts limits. It returns nil if none were given.
func ToProto(in egress.Defaults) *networkv1.Limits {
	if in == (egress.Defaults{}) {
		return nil
	}
	out := &networkv1.Limits{}
	if in.Bandwidth.IsGiven() {
		out.Bandwidth = &networkv1.Bandwidth{In: in.Bandwidth.In, Out: in.Bandwidth.Out}
	}
	if p := in.Limits.Packets; p != (egress.Packets{}) {
		out.Packets = &networkv1.Packets{In: p.In, Out: p.Out}
	}
	if n := in.Limits.Connections; n != 0 || in.Limits.AnyConnections {
		out.MaxConnections = &n
	}
	return out
}
