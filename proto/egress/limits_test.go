package egress_test

import (
	"testing"

	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/egress"
)

func TestParsePackets(t *testing.T) {
	for text, want := range map[string]egress.Packets{"1000": {In: 1000, Out: 1000}, "in=5": {In: 5},
		"out=7,in=5": {In: 5, Out: 7}, "none": {None: true}} {
		got, err := egress.ParsePackets(text)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
		if again, err := egress.ParsePackets(got.String()); want != (egress.Packets{}) && (err != nil || again != got) {
			t.Errorf("%s: got %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "in=", "in=1,in=2", "up=1", "in=1,", "5000000000", "1k"} {
		if got, err := egress.ParsePackets(text); err == nil {
			t.Errorf("%q: got %+v", text, got)
		}
	}
}

// TestDefaultsOr decides for each kind of limit.
func TestDefaultsOr(t *testing.T) {
	own := egress.Defaults{Bandwidth: bandwidth.Limit{None: true}, Limits: egress.Limits{Connections: 5}}
	network := egress.Defaults{Bandwidth: bandwidth.Limit{In: 1e6}, Limits: egress.Limits{AnyConnections: true,
		Packets: egress.Packets{Out: 7}}}
	want := own
	want.Limits.Packets.Out = 7
	if got := own.Or(network); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := (egress.Defaults{}).Or(network); got != network || got.Limits.InForce().AnyConnections {
		t.Errorf("got %+v, want %+v", got, network)
	}
	if !network.IsLimited() || (egress.Defaults{Limits: egress.Limits{AnyConnections: true}}).IsLimited() {
		t.Error("IsLimited is wrong")
	}
	for _, bad := range []egress.Defaults{{Bandwidth: bandwidth.Limit{In: 1}},
		{Limits: egress.Limits{Connections: 1, AnyConnections: true}},
		{Limits: egress.Limits{Packets: egress.Packets{In: 1, None: true}}}} {
		if bad.Validate() == nil || want.Validate() != nil {
			t.Errorf("%+v is accepted, or %+v is not", bad, want)
		}
	}
}
