package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

func TestCheckLimits(t *testing.T) {
	few, slow := egress.Limits{Connections: 1}, egress.Limits{Packets: egress.Packets{In: 1}}
	for _, c := range []struct {
		mode   container.Mode
		limits egress.Limits
		want   string
	}{
		{container.ModeHost, egress.Limits{}, ""}, {"bridge", few, ""}, {"front", slow, ""},
		{container.ModeHost, few, "cannot be limited on network host"},
		{container.ModeNone, slow, "cannot be limited on network none"},
		{"container:web", few, "set --max-connections on that container"},
		{"container:web", slow, "set --packets on that container"},
	} {
		err := policy.CheckLimits("box", c.mode, c.limits)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %+v: got %v, want %q", c.mode, c.limits, err, c.want)
		}
	}
}

// TestLimitsByNetwork leaves out what the container has itself.
func TestLimitsByNetwork(t *testing.T) {
	theirs := egress.Defaults{Bandwidth: bandwidth.Limit{In: 1e6, Out: 8e6},
		Limits: egress.Limits{Connections: 3, Packets: egress.Packets{In: 9}}}
	on := []container.Endpoint{{NetworkID: "b", Limits: theirs},
		{NetworkID: "a", DefaultLimits: egress.Defaults{Limits: egress.Limits{Connections: 7}}}, {NetworkID: "c"}}
	connections := func(network string, n uint32) policy.NetworkLimits {
		return policy.NetworkLimits{NetworkID: network, Limits: egress.Limits{Connections: n}}
	}
	all := policy.NetworkLimits{NetworkID: "b", Limits: theirs.Limits, BytesOut: 1e6}
	noPackets, unlimited := all, all
	noPackets.Packets, noPackets.BytesOut = egress.Packets{}, 0
	unlimited.Connections, unlimited.BytesOut = 0, 2e6

	for name, c := range map[string]struct {
		own  egress.Limits
		rate bandwidth.Limit
		want []policy.NetworkLimits
	}{
		"nothing of its own": {want: []policy.NetworkLimits{connections("a", 7), all}},
		"packets, no bandwidth": {egress.Limits{Packets: egress.Packets{Out: 1}}, bandwidth.Limit{None: true},
			[]policy.NetworkLimits{connections("a", 7), noPackets}},
		"any connections, bandwidth": {egress.Limits{AnyConnections: true}, bandwidth.Limit{Out: 16e6},
			[]policy.NetworkLimits{{NetworkID: "a", BytesOut: 2e6}, unlimited, {NetworkID: "c", BytesOut: 2e6}}},
		"bandwidth that no interface has": {egress.Limits{Connections: 1, Packets: egress.Packets{None: true}},
			bandwidth.Limit{Out: bandwidth.Max}, nil},
	} {
		m := policy.Member{Own: policy.Rules{Limits: c.own}, Bandwidth: c.rate, Endpoints: on}
		if got := policy.LimitsByNetwork(m); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}
