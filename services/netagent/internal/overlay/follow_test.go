package overlay

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// hostCalls are the calls that change a host.
var hostCalls = []string{"mark", "up", "down", "rules", "norules", "tunnel", "notunnel", "local"}

func TestNetworkUpWithFirstContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.see("10.128.0.16/28")
		h.send(&fleetv1.WatchOverlayResponse{Blocks: owns(two, "10.128.0.64/28")})
		h.expect(t, "notunnel; norules; notunnel", hostCalls...)
		if got := h.actions(); !slices.Equal(got, []string{"create app"}) {
			t.Errorf("events: got %v", got)
		}

		h.setUp(t)
		h.expect(t, "mark; up; rules; tunnel", hostCalls...)
		if !slices.Equal(h.tunnelTo, prefixes("10.128.0.64/28")) {
			t.Errorf("routes: got %v", h.tunnelTo)
		}
		h.connect(t, "web", "10.128.0.17")
		h.connect(t, "db", "10.128.0.18")
		h.setUp(t)
		later()
		h.expect(t, "", hostCalls...)

		if _, err := h.disconnect(t.Context(), "db", app); err != nil {
			t.Error(err)
		}
		later()
		h.expect(t, "", hostCalls...)
		if _, err := h.disconnect(t.Context(), "web", app); err != nil {
			t.Error(err)
		}
		h.control.Changed()
		time.Sleep(time.Second)
		h.expect(t, "", hostCalls...) // the next container may come at any moment
		later()
		h.expect(t, "down; notunnel; norules", hostCalls...)

		h.setUp(t)
		h.expect(t, "up; rules; tunnel", hostCalls...) // the fleet knows it
	})
}

func TestFailedRemovalRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.see("10.128.0.16/28")
		h.setUp(t)
		h.take()
		h.fail("down", away)
		later()
		h.expect(t, "down", "down")
		later()
		h.expect(t, "down", "down")
		h.fail("down", nil)
		later()
		h.expect(t, "down", "down")
		later()
		h.expect(t, "", "down")
	})
}

func TestTearDownSparesContainers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.see("10.128.0.16/28")
		h.setUp(t)
		h.connect(t, "web", "10.128.0.17")
		if err := h.control.tearDown(t.Context(), app); err != nil || !h.network(t).Status.Up {
			t.Errorf("got %v, up %t", err, h.network(t).Status.Up)
		}
		h.expect(t, "", "down")
	})
}

func TestLocalNetworkNeedsNoFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		err := h.control.Require(t.Context(), store.Network{Network: network.Network{Scope: network.Local}})
		if err != nil {
			t.Error(err)
		}
		h.expect(t, "local", hostCalls...)
	})
}

func TestNetworkDeletedWhileCutOff(t *testing.T) {
	for name, gone := range map[string][]*fleetv1.OverlayNetwork{"purged": nil,
		"deleted": {{Id: app, Name: "app", Deleted: true}}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t)
				h.see("10.128.0.16/28")
				h.setUp(t)
				h.connect(t, "web", "10.128.0.17")
				h.fleet.views <- nil // cut off
				later()
				h.take()
				h.actions()

				h.fail("disconnect", errors.New("busy"))
				h.fail("confirm", away)
				back := func() *fleetv1.WatchOverlayResponse {
					return &fleetv1.WatchOverlayResponse{Reset_: true, Self: self(one), Networks: gone}
				}
				h.send(back())
				h.expect(t, "disconnect web", "disconnect", "down", "confirm")
				h.network(t)
				h.fail("disconnect", nil)
				want, confirm := "disconnect web; down", ""
				if gone != nil {
					h.fail("down", away)
					later()
					h.expect(t, want, "disconnect", "down", "confirm")
					h.fail("down", nil)
					want, confirm = "down; confirm", "confirm"
				}
				later()
				h.expect(t, want, "disconnect", "down", "confirm")
				if all := h.store.Networks(); len(all) > 0 {
					t.Errorf("stored: got %v", all)
				}
				lost := []string{"overlay-lost app", "overlay-lost app", "destroy app"}
				if got := h.actions(); !slices.Equal(got, lost) {
					t.Errorf("events: got %v", got)
				}

				h.fail("confirm", nil)
				later()
				h.expect(t, confirm, "confirm")
				h.send(back())
				later()
				h.expect(t, "", "confirm", "down")
			})
		})
	}
}

func TestStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		if err := h.control.Check(t.Context(), network.Network{Name: "app"}); !fault.Is(err, fault.Unavailable) ||
			!strings.Contains(err.Error(), "does not respond") {
			t.Errorf("before the first view: got %v", err)
		}
		h.see("10.128.0.16/28")
		h.take()
		h.fail("mark", away)
		if err := h.control.Require(t.Context(), h.network(t)); !fault.Is(err, fault.Unavailable) {
			t.Errorf("first container: got %v", err)
		}
		h.expect(t, "mark", hostCalls...)
		if h.network(t).Status.Up {
			t.Error("network is up")
		}

		h.fail("mark", nil)
		h.setUp(t)
		h.connect(t, "web", "10.128.0.17")
		h.take()
		for _, word := range []string{"mark", "watch", "claim", "release", "publish", "report", "confirm"} {
			h.fail(word, away)
		}
		h.fleet.views <- nil
		time.Sleep(time.Minute)
		if got := strings.Count(h.take("watch"), "watch"); got < 30 || got > 40 { // every 2 seconds at last
			t.Errorf("attempts within a minute: got %d", got)
		}
		h.setUp(t)
		h.expect(t, "", hostCalls...)
		h.expectBlocks(t, "10.128.0.16/28")
		if err := h.control.Check(t.Context(), h.network(t).Network); err != nil {
			t.Error(err)
		}

		h.fail("watch", nil)
		time.Sleep(lastPause)
		h.see("10.128.0.16/28", "10.128.0.32/28")
		h.expectBlocks(t, "10.128.0.16/28", "10.128.0.32/28")
	})
}

func TestNatagentAwayKeepsTunnelPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.see("10.128.0.16/28")
		h.take()
		h.fail("rules", away)
		if err := h.control.Require(t.Context(), h.network(t)); !fault.Is(err, fault.Unavailable) {
			t.Errorf("got %v", err)
		}
		h.expect(t, "mark; up; rules", hostCalls...) // no tunnel without rules
		h.fail("rules", nil)
		h.setUp(t)
		h.expect(t, "up; rules; tunnel", hostCalls...)
	})
}

func TestPublisherFollowsFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.routes = []kernel.Route{{To: netip.MustParsePrefix("192.0.2.0/24"), Link: "eth1"},
			{To: netip.MustParsePrefix("10.128.0.64/28"), Link: network.TunnelDevice},
			{To: netip.MustParsePrefix("fe80::/64"), Link: "eth1"},
			{To: netip.MustParsePrefix("10.99.0.0/24"), Link: "eth0"}}
		h.fail("publish", away)
		h.see()
		const published = "publish 10.99.0.0/24 192.0.2.0/24"
		h.expect(t, published, "publish")
		h.fail("publish", nil)
		later()
		h.expect(t, published, "publish")
		later()
		h.expect(t, "", "publish")
		h.routes = h.routes[:1]
		later()
		h.expect(t, "publish 192.0.2.0/24", "publish")

		h.send(&fleetv1.WatchOverlayResponse{Reset_: true}) // it has left
		later()
		h.expect(t, "", "publish", "report", "claim")
		h.send(&fleetv1.WatchOverlayResponse{Reset_: true, Self: self(three)})
		h.expect(t, "publish 192.0.2.0/24", "publish")
	})
}

func TestLeavingRemovesTunnelAndNetworks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.see("10.128.0.16/28")
		h.setUp(t)
		h.connect(t, "web", "10.128.0.17")
		h.take()
		h.send(&fleetv1.WatchOverlayResponse{Reset_: true})
		h.expect(t, "notunnel; norules; disconnect web; down; notunnel", append(hostCalls, "disconnect")...)
		err := h.control.Check(t.Context(), network.Network{Name: "app"})
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "this host is in none") {
			t.Errorf("got %v", err)
		}
	})
}

func TestUsageReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.see("10.128.0.0/28", "10.128.0.16/28") // the first contains the gateway
		h.connect(t, "web", "10.128.0.17")
		h.connect(t, "db", "10.128.0.2")
		h.take()
		later()
		h.expect(t, "report 10.128.0.0/28 + 10.128.0.16/28 +", "report")
	})
}

func TestChangedNetworkFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.see()
		h.take()
		changed := overlay()
		changed.Mtu = 1300
		h.send(&fleetv1.WatchOverlayResponse{Networks: []*fleetv1.OverlayNetwork{changed}})
		h.expect(t, "follow app", "follow")
		if got := h.network(t).Spec.MTU; got != 1300 {
			t.Errorf("MTU: got %d", got)
		}
		h.send(&fleetv1.WatchOverlayResponse{Hosts: []*fleetv1.OverlayHost{{Id: two}}})
		h.expect(t, "", "follow")
		if got := h.actions(); !slices.Equal(got, []string{"create app", "update app"}) {
			t.Errorf("events: got %v", got)
		}
	})
}

func TestCreatedNetworkSurvivesOlderView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.send(&fleetv1.WatchOverlayResponse{Reset_: true, Self: self(one)})
		want, err := network.Draft{ID: app, Name: "app", Driver: network.DriverOverlay}.Build()
		if err != nil {
			t.Fatal(err)
		}
		pools := []network.PoolSpec{{Subnet: netip.MustParsePrefix("10.128.0.0/24")},
			{Subnet: netip.MustParsePrefix("::/0")}}
		got, err := h.control.Create(t.Context(), want, pools)
		if err != nil || len(got.Spec.Pools) != 2 || !got.HasIPv6() {
			t.Fatalf("got %+v, %v", got, err)
		}
		h.send(&fleetv1.WatchOverlayResponse{Hosts: []*fleetv1.OverlayHost{{Id: two}}}) // an older view
		later()
		h.network(t)
		h.see() // one that has it
		h.send(&fleetv1.WatchOverlayResponse{RemovedNetworks: []string{app}})
		later()
		if all := h.store.Networks(); len(all) > 0 {
			t.Errorf("got %v", all)
		}
		if got := h.actions(); !slices.Equal(got, []string{"create app", "update app", "destroy app"}) {
			t.Errorf("events: got %v", got)
		}
	})
}

func TestDeleteNeedsStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.see()
		h.fail("delete", fault.New(fault.Busy, "network app", "has containers on host two"))
		if err := h.control.Delete(t.Context(), h.network(t).Network); !fault.Is(err, fault.Busy) {
			t.Errorf("got %v", err)
		}
		h.network(t)
		h.fail("delete", nil)
		if err := h.control.Delete(t.Context(), h.network(t).Network); err != nil {
			t.Error(err)
		}
		if all := h.store.Networks(); len(all) > 0 {
			t.Errorf("got %v", all)
		}
	})
}

func TestSubnetChangeRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.see()
		_, err := h.control.Update(t.Context(), h.network(t).Network, network.Update{Renumber: true}, h.follow)
		if f := new(fault.Fault); !errors.As(err, &f) || f.Kind != fault.Invalid || f.Field != "subnet" {
			t.Errorf("got %v", err)
		}
	})
}

func TestHostWithoutFleet(t *testing.T) {
	c := New(Config{})
	c.Run(t.Context(), Containers{})
	if err := c.Check(t.Context(), network.Network{Name: "app"}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
}
