package tables

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// After another program has removed all rules, limits are written again with the tables.
func TestRebuildReadsLimitsAgain(t *testing.T) {
	host := testns.New(t)
	k := New(hostns.At(host.Fd()))
	if err := k.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	k.flags = 0 // so that another program can change them

	rebuild := func() error {
		return k.Rebuild(nil, func(string) map[answered.Open]time.Duration { return nil },
			func(string) []netip.Prefix { return nil })
	}
	limited := []*plan.Container{{Owner: strings.Repeat("a", 64), Limits: egress.Limits{Connections: 5},
		Endpoints: []plan.Endpoint{{MAC: "02:00:00:00:00:0a", Addresses: []netip.Addr{
			netip.MustParseAddr("10.9.0.2")}}}}}
	for range 2 {
		if err := rebuild(); err != nil {
			t.Fatal(err)
		}
		if err := k.WriteLimits(limited); err != nil {
			t.Fatal(err)
		}
		host.Run("sh", "-c", "nft list ruleset | grep -q 'ct count over 5'")
		host.Run("nft", "flush", "ruleset")
	}
}
