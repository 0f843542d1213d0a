package network_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// TestLimitsOfNetworks creates and updates networks with limits, which only some drivers enforce.
func TestLimitsOfNetworks(t *testing.T) {
	rate := egress.Defaults{Bandwidth: bandwidth.Limit{In: 1e6}}
	none := egress.Defaults{Bandwidth: bandwidth.Limit{None: true}}
	few := egress.Defaults{Limits: egress.Limits{Connections: 3}}
	slow := egress.Defaults{Limits: egress.Limits{Packets: egress.Packets{In: 9}}}
	parent := map[string]string{"parent": "eth0"}
	for _, c := range []struct {
		driver  string
		options map[string]string
		limits  egress.Defaults
		want    string
	}{
		{"bridge", nil, rate.Or(few).Or(slow), ""},
		{"bridge", nil, egress.Defaults{Bandwidth: bandwidth.Limit{In: 1}}, "1 bit/s is not between"},
		{"macvlan", parent, none, ""},
		{"macvlan", parent, rate, "bandwidth cannot be limited by a network of driver macvlan"},
		{"ipvlan", parent, few, "connections cannot be limited by a network of driver ipvlan"},
		{"overlay", nil, slow, "packets cannot be limited by a network of driver overlay"},
		{"overlay", nil, none, "bandwidth cannot be limited by a network of driver overlay"},
	} {
		n, err := network.Draft{Name: "n", Driver: c.driver, Options: c.options, Limits: c.limits}.Build()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %+v: got %v, want %q", c.driver, c.limits, err, c.want)
		}
		if err == nil && n.Spec.Limits != c.limits {
			t.Errorf("%s: got %+v, want %+v", c.driver, n.Spec.Limits, c.limits)
		}
	}

	n := bridgeOn(pool("10.1.0.0/16"))
	n.Spec.Limits = rate.Or(few)
	next, err := network.Update{Limits: none}.Apply(n)
	if want := none.Or(few); err != nil || next.Spec.Limits != want {
		t.Errorf("got %+v, %v, want %+v", next.Spec.Limits, err, want)
	}
	if _, err := (network.Update{Limits: egress.Defaults{Bandwidth: bandwidth.Limit{Out: 5}}}).Apply(n); err == nil {
		t.Error("an update accepts 5 bit/s")
	}
}
