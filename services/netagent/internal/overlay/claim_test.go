package overlay

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

func shortage(want string) network.PoolShortage {
	s := network.PoolShortage{NetworkID: app, Subnet: netip.MustParsePrefix("10.128.0.0/24")}
	if want != "" {
		s.Want = netip.MustParseAddr(want)
	}
	return s
}

// fill allocates addresses of the network.
func (h *host) fill(t *testing.T, count int) {
	t.Helper()
	n := h.network(t)
	for range count {
		if _, ok := h.control.Allocator.Allocate(app, n.Addresses(n.Spec.Pools[0]), "filler"); !ok {
			t.Fatal("no free address")
		}
	}
	h.control.Changed()
	time.Sleep(time.Second)
}

func TestClaimAheadAtThreeQuarters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.see("10.128.0.16/28")
		h.setUp(t)
		h.connect(t, "web", "10.128.0.16")
		h.fleet.claim = func(*fleetv1.ClaimBlockRequest) string { return "10.128.0.32/28" }

		h.fill(t, 11)
		later()
		h.expect(t, "", "claim")
		h.fill(t, 1)
		h.expect(t, "claim 10.128.0.0/24", "claim")
		h.expectBlocks(t, "10.128.0.16/28", "10.128.0.32/28")
		later()
		h.expect(t, "", "claim")

		h.see("10.128.0.16/28") // an older view
		h.expectBlocks(t, "10.128.0.16/28", "10.128.0.32/28")
		h.see("10.128.0.16/28", "10.128.0.32/28")
		h.expectBlocks(t, "10.128.0.16/28", "10.128.0.32/28")
		h.fail("claim", away)
		h.see("10.128.0.16/28") // it was released meanwhile
		h.expectBlocks(t, "10.128.0.16/28")
	})
}

func TestExhaustionNamesOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.see("10.128.0.16/30")
		h.setUp(t)
		h.connect(t, "web", "10.128.0.16")
		h.fail("claim", fault.New(fault.Exhausted, "subnet 10.128.0.0/24", "has no free block: two (3, lost)"))
		h.fill(t, 3)
		h.expect(t, "claim 10.128.0.0/24", "claim")
		later()
		h.expect(t, "claim 10.128.0.0/24", "claim")

		err := h.control.More(t.Context(), shortage(""))
		if !fault.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), "two (3, lost)") {
			t.Errorf("got %v", err)
		}
		h.expectBlocks(t, "10.128.0.16/30")
	})
}

func TestMoreClaimsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.see()
		h.fleet.claim = func(*fleetv1.ClaimBlockRequest) string {
			time.Sleep(time.Second)
			return "10.128.0.16/28"
		}
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := h.control.More(t.Context(), shortage("")); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		h.expect(t, "claim 10.128.0.0/24", "claim")
		h.expectBlocks(t, "10.128.0.16/28")
	})
}

func TestMoreClaimsStaticAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.see("10.128.0.16/28")
		h.fleet.claim = (*fleetv1.ClaimBlockRequest).GetPrefix
		if err := h.control.More(t.Context(), shortage("10.128.0.20")); err != nil {
			t.Error(err)
		}
		h.expect(t, "", "claim")
		if err := h.control.More(t.Context(), shortage("10.128.0.77")); err != nil {
			t.Error(err)
		}
		h.expect(t, "claim 10.128.0.0/24 10.128.0.77/32", "claim")
		h.expectBlocks(t, "10.128.0.16/28", "10.128.0.77/32")

		h.fail("claim", away)
		if err := h.control.More(t.Context(), shortage("10.128.0.78")); !fault.Is(err, fault.Unavailable) {
			t.Errorf("got %v", err)
		}
		h.expectBlocks(t, "10.128.0.16/28", "10.128.0.77/32")

		gone := shortage("10.128.0.78")
		gone.NetworkID = strings.Repeat("b", 64)
		if err := h.control.More(t.Context(), gone); err != nil {
			t.Errorf("deleted network: got %v", err)
		}
	})
}

func TestInvalidClaimRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.see()
		h.fleet.claim = func(*fleetv1.ClaimBlockRequest) string { return "10.128" }
		if err := h.control.More(t.Context(), shortage("")); !fault.Is(err, fault.Internal) {
			t.Errorf("got %v", err)
		}
		h.expectBlocks(t)
	})
}

// ask sends a request of another host.
func (h *host) ask(prefix, to, address string) {
	h.send(&fleetv1.WatchOverlayResponse{Requests: []*fleetv1.BlockRequest{{NetworkId: app, Prefix: prefix,
		ToHostId: to, Address: address}}})
}

func TestBlockRequestsGetFreeParts(t *testing.T) {
	for name, c := range map[string]struct {
		used        []string
		to, address string
		want        string
		left        []string
	}{
		"half":      {[]string{"10.128.0.18"}, two, "", "release 10.128.0.24/29 " + two, []string{"10.128.0.16/29"}},
		"low half":  {[]string{"10.128.0.25"}, two, "", "release 10.128.0.16/29 " + two, []string{"10.128.0.24/29"}},
		"of unused": {nil, two, "", "release 10.128.0.24/29 " + two, []string{"10.128.0.16/29"}},
		"quarter": {[]string{"10.128.0.18", "10.128.0.25"}, two, "", "release 10.128.0.28/30 " + two,
			[]string{"10.128.0.16/29", "10.128.0.24/30"}},
		"address": {nil, two, "10.128.0.31", "release 10.128.0.31/32 " + two,
			[]string{"10.128.0.16/29", "10.128.0.24/30", "10.128.0.28/31", "10.128.0.30/32"}},
		"address in use": {[]string{"10.128.0.31"}, two, "10.128.0.31", "", []string{"10.128.0.16/28"}},
		"unused":         {nil, "", "", "release 10.128.0.16/28", nil},
		"used":           {[]string{"10.128.0.31"}, "", "", "", []string{"10.128.0.16/28"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t)
				h.see("10.128.0.16/28")
				for i, a := range c.used {
					h.connect(t, "web"+strings.Repeat("x", i), a)
				}
				h.ask("10.128.0.16/28", c.to, c.address)
				h.expect(t, c.want, "release")
				h.expectBlocks(t, c.left...)
			})
		})
	}
}

func TestReleasedAddressNotGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.see("10.128.0.16/28")
		h.fill(t, 1)
		h.control.Allocator.Release(app, netip.MustParseAddr("10.128.0.16"))
		h.ask("10.128.0.16/28", two, "10.128.0.16")
		h.expect(t, "", "release")
		h.expectBlocks(t, "10.128.0.16/28")
		time.Sleep(time.Minute)
		h.ask("10.128.0.16/28", two, "10.128.0.16")
		h.expect(t, "release 10.128.0.16/32 "+two, "release")
	})
}

func TestGivenPartFollowsView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.see("10.128.0.16/28")
		h.fail("release", away)
		h.ask("10.128.0.16/28", two, "")
		h.expect(t, "release 10.128.0.24/29 "+two, "release")
		h.expectBlocks(t, "10.128.0.16/28")

		h.fail("release", nil)
		h.ask("10.128.0.16/28", two, "")
		h.expectBlocks(t, "10.128.0.16/29")
		h.see("10.128.0.16/28") // an older view
		h.expectBlocks(t, "10.128.0.16/29")
		h.see("10.128.0.16/29")
		h.see("10.128.0.16/29", "10.128.0.24/29") // it was claimed again
		h.expectBlocks(t, "10.128.0.16/29", "10.128.0.24/29")

		h.take()
		h.ask("10.128.0.64/28", two, "")
		h.expect(t, "", "release")
	})
}
