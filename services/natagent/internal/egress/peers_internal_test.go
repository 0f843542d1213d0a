package egress

import (
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
)

// TestPeersThatCut checks which changes of peers can end a connection: no other one reads all connections.
func TestPeersThatCut(t *testing.T) {
	two := []netip.Prefix{netip.MustParsePrefix("10.9.0.3/32"), netip.MustParsePrefix("10.9.0.4/32")}
	for name, c := range map[string]struct {
		rules, ingress []string
		have, want     []netip.Prefix
		cut            bool
	}{
		"allowed peer gains":          {rules: []string{"container:db"}, have: two[:1], want: two},
		"allowed peer loses":          {rules: []string{"container:db"}, have: two, want: two[:1], cut: true},
		"allowed peer moves":          {rules: []string{"container:db"}, have: two[:1], want: two[1:], cut: true},
		"denied peer gains":           {rules: []string{"all", "!container:db"}, have: two[:1], want: two, cut: true},
		"denied peer loses":           {rules: []string{"all", "!container:db"}, have: two, want: two[:1]},
		"allowed source loses":        {ingress: []string{"container:db"}, have: two, want: nil, cut: true},
		"denied source gains":         {ingress: []string{"all", "!container:db"}, want: two, cut: true},
		"another peer":                {rules: []string{"container:web"}, have: two, want: nil},
		"label with the name of peer": {rules: []string{"label:db"}, have: two, want: nil},
	} {
		installed := map[string]*plan.Plan{
			"a": plan.New(&plan.Container{Rules: c.rules, Ingress: c.ingress}, nil)}
		have := map[string][]netip.Prefix{"container:db": c.have}
		got := cutsOf(installed, func(peer string) []netip.Prefix { return have[peer] },
			map[string][]netip.Prefix{"container:db": c.want})
		if (len(got) == 1) != c.cut {
			t.Errorf("%s: got %d containers to cut, want %v", name, len(got), c.cut)
		}
	}
}
