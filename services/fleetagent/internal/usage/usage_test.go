package usage

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

func block(network, prefix string, used, free uint64) *fleetv1.BlockUsage {
	return &fleetv1.BlockUsage{NetworkId: network, Prefix: prefix, Used: used, Free: free}
}

func TestEmptyBlocksAreReturned(t *testing.T) {
	start := time.Unix(1000, 0)
	for name, c := range map[string]struct{ blocks, want string }{
		"used":                     {"a 10.1.0.0/28 1 15", ""},
		"no containers":            {"a 10.1.0.0/28 0 16", "10.1.0.0/28"},
		"the only free addresses":  {"a 10.1.0.0/28 16 0, a 10.1.0.16/28 0 16", ""},
		"enough free addresses":    {"a 10.1.0.0/28 2 14, a 10.1.0.16/28 0 16", "10.1.0.16/28"},
		"one of two is needed":     {"a 10.1.0.0/28 16 0, a 10.1.0.16/28 0 16, a 10.1.0.32/28 0 16", "10.1.0.16/28"},
		"another network has some": {"b 10.2.0.0/28 9 7, a 10.1.0.0/28 0 16", "10.1.0.0/28"},
		"families apart":           {"a 10.1.0.0/28 1 15, a fd00::/122 1 60, a 10.1.0.16/28 0 16", "10.1.0.16/28"},
	} {
		t.Run(name, func(t *testing.T) {
			var tracker Tracker
			var blocks []*fleetv1.BlockUsage
			for text := range strings.SplitSeq(c.blocks, ", ") {
				b := &fleetv1.BlockUsage{}
				if _, err := fmt.Sscan(text, &b.NetworkId, &b.Prefix, &b.Used, &b.Free); err != nil {
					t.Fatal(err)
				}
				blocks = append(blocks, b)
			}
			tracker.Report(blocks, start)
			tracker.Report(blocks, start.Add(IdleTime/2)) // the time goes on
			if got := tracker.Idle(start.Add(IdleTime-1), IdleTime); len(got) > 0 {
				t.Errorf("got %v too early", got)
			}
			var got []string
			for _, b := range tracker.Idle(start.Add(IdleTime), IdleTime) {
				got = append(got, b.GetPrefix())
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
		})
	}
}

func TestUseStartsTheTimeAgain(t *testing.T) {
	start := time.Unix(1000, 0)
	var tracker Tracker
	tracker.Report([]*fleetv1.BlockUsage{block("a", "10.1.0.0/28", 0, 16)}, start)
	tracker.Report([]*fleetv1.BlockUsage{block("a", "10.1.0.0/28", 1, 15)}, start.Add(time.Minute))
	tracker.Report([]*fleetv1.BlockUsage{block("a", "10.1.0.0/28", 0, 16)}, start.Add(2*time.Minute))
	if got := tracker.Idle(start.Add(IdleTime), IdleTime); len(got) > 0 {
		t.Errorf("got %v", got)
	}
	if got := tracker.Idle(start.Add(IdleTime+2*time.Minute), IdleTime); len(got) != 1 {
		t.Errorf("got %v", got)
	}
}

func TestDonorsWithMostFreeAddressesComeFirst(t *testing.T) {
	p := netip.MustParsePrefix
	all := map[netip.Prefix]*fleetv1.OverlayBlock{}
	free := map[netip.Prefix]uint64{p("10.1.0.0/28"): 3, p("10.1.0.16/28"): 9, p("10.1.0.32/28"): 0,
		p("10.1.0.48/28"): 14, p("10.1.0.64/28"): 15, p("10.2.0.0/28"): 16}
	owner := map[netip.Prefix]string{p("10.1.0.0/28"): "a", p("10.1.0.16/28"): "b", p("10.1.0.32/28"): "c",
		p("10.1.0.48/28"): "dead", p("10.1.0.64/28"): "me", p("10.2.0.0/28"): "a"}
	for prefix, host := range owner {
		all[prefix] = &fleetv1.OverlayBlock{Prefix: prefix.String(), HostId: host}
	}
	donors := func(address netip.Addr) string {
		var got []string
		for _, d := range Donors(all, "me", p("10.1.0.0/24"), address, func(h string) bool { return h != "dead" },
			func(_ string, p netip.Prefix) uint64 { return free[p] }) {
			got = append(got, d.Host+" "+d.Prefix.String())
		}
		return strings.Join(got, ", ")
	}
	if got := donors(netip.Addr{}); got != "b 10.1.0.16/28, a 10.1.0.0/28" {
		t.Errorf("got %s", got)
	}
	if got := donors(netip.MustParseAddr("10.1.0.5")); got != "a 10.1.0.0/28" {
		t.Errorf("for an address: got %s", got)
	}
}
