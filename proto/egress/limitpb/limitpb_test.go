package limitpb_test

import (
	"testing"

	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/egress/limitpb"
)

// TestRoundTrip keeps what was given, nothing and none apart.
func TestRoundTrip(t *testing.T) {
	if limitpb.ToProto(egress.Defaults{}) != nil || limitpb.FromProto(nil) != (egress.Defaults{}) {
		t.Error("no limits are a message")
	}
	for _, rate := range []bandwidth.Limit{{}, {None: true}, {In: 16_000}, {Out: 1e9}} {
		for _, l := range []egress.Limits{{}, {AnyConnections: true}, {Connections: 3},
			{Packets: egress.Packets{None: true}},
			{Packets: egress.Packets{In: 1}}, {Connections: 1, Packets: egress.Packets{Out: 7}}} {
			want := egress.Defaults{Bandwidth: rate, Limits: l}
			if got := limitpb.FromProto(limitpb.ToProto(want)); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
	}
}
