package netagent

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// told is a log that a test reads.
type told struct {
	logTo
	mu   sync.Mutex
	text strings.Builder
}

func (l *told) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	return l.logTo.Write(b)
}

func (l *told) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (h *host) listen() *told {
	l := &told{logTo: logTo{h.t}}
	h.cfg.Log = slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return l
}

// settled waits until the host can be answered at its own link-local address on the LANDriver.
func (h *host) settled() {
	h.t.Helper()
	h.eventually("lan0 has a link-local address", func() bool {
		return strings.Contains(h.ns.Run("ip", "-6", "addr", "show", "dev", "lan0"), "fe80:") &&
			h.ns.Run("ip", "-6", "addr", "show", "dev", "lan0", "tentative") == ""
	})
}

// rest ends a sandbox whose owner will come back.
func (a *agent) rest(sb network.Sandbox) {
	a.t.Helper()
	if err := a.sandboxes.Release(context.Background(), sb.Owner, network.ReleaseKeep{Addresses: true}); err != nil {
		a.t.Fatal(err)
	}
}

const leaseWarning = "lease release failed"

func TestDeletedNetworkReleasesHeldLeases(t *testing.T) {
	a := newHost(t).run()
	lan := a.cable()
	lan.has("10.9.0.1/24", "fd09::1/64")
	s := lan.serve("--dhcp-range=10.9.0.48,10.9.0.63,120s", "--dhcp-range=fd09::100,fd09::1ff,64,120s", "--enable-ra")
	n := leasedLAN(t, a, true)
	var all []network.Endpoint
	for range 3 {
		sb := a.create(onNetwork("lan", ""))
		all = append(all, sb.Endpoints[0])
		a.rest(sb)
	}
	if held := a.store.HeldOn(n.ID); len(held) != 3 || strings.Contains(s.read("log"), "DHCPRELEASE") {
		t.Fatalf("held are %v", held)
	}
	if _, err := a.networks.Delete(context.Background(), "lan"); err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		s.eventually("released", "DHCPRELEASE(wire) "+e.IPv4.Addr().String(), e.IPv6.Addr().String())
	}
	a.eventually("the server has no leases", func() bool {
		return !strings.Contains(s.read("leases"), "10.9.0.") && !strings.Contains(s.read("leases"), "fd09::1")
	})
	if held := a.store.HeldOn(n.ID); len(held) > 0 {
		t.Errorf("still held are %v", held)
	}
}

func TestDHCPv6ReleaseIsConfirmed(t *testing.T) {
	h := newHost(t)
	log := h.listen()
	a := h.run()
	lan := a.cable()
	lan.has("10.9.0.1/24", "fd09::1/64")
	lan.serve("--dhcp-range=10.9.0.48,10.9.0.63,120s", "--dhcp-range=fd09::100,fd09::1ff,64,120s", "--enable-ra")
	leasedLAN(t, a, true)
	a.settled()
	for range 10 { // it may not get there in time on a busy machine, but not every time
		before := strings.Count(log.String(), leaseWarning)
		a.release(a.create(onNetwork("lan", "")))
		if strings.Count(log.String(), leaseWarning) == before {
			return
		}
	}
	t.Error("it is never heard")
}

func TestUnconfirmedReleaseDoesNotBlock(t *testing.T) {
	h := newHost(t)
	log := h.listen()
	a := h.run()
	lan := a.cable()
	lan.has("10.9.0.1/24", "fd09::1/64")
	s := lan.serve("--dhcp-range=10.9.0.48,10.9.0.63,120s", "--dhcp-range=fd09::100,fd09::1ff,64,120s", "--enable-ra")
	leasedLAN(t, a, true)
	stopped, runs := a.create(onNetwork("lan", "")), a.create(onNetwork("lan", ""))
	a.rest(stopped)
	s.stop()
	a.release(runs)
	a.eventually("it is told", func() bool { return strings.Contains(log.String(), leaseWarning) })
	has(t, "what is told", log.String(), "network=lan", runs.Endpoints[0].IPv6.Addr().String())
	if _, err := a.networks.Delete(context.Background(), "lan"); err != nil {
		t.Fatal(err)
	}
	has(t, "what is told", log.String(), stopped.Endpoints[0].IPv6.Addr().String())

	// Nor does a LANDriver that cannot be reached at all.
	s.start("--dhcp-range=10.9.0.48,10.9.0.63,120s")
	leasedLAN(t, a, false)
	a.rest(a.create(onNetwork("lan", "")))
	a.ns.Run("ip", "link", "set", "lan0", "down")
	if _, err := a.networks.Delete(context.Background(), "lan"); err != nil {
		t.Fatal(err)
	}
	has(t, "what is told", log.String(), "parent interface lan0 is down")
}

func TestDisconnectReleasesHeldLease(t *testing.T) {
	a := newHost(t).run()
	lan := a.cable()
	lan.has("10.9.0.1/24")
	s := &script{gives: "10.9.0.40", seconds: 3600}
	lan.play(s)
	leasedLAN(t, a, false)
	sb := a.create(onNetwork("lan", ""))
	a.rest(sb)
	if _, err := a.sandboxes.Disconnect(context.Background(), sb.Owner, "lan"); !fault.Is(err, fault.NotFound) {
		t.Errorf("disconnected: %v", err)
	}
	a.eventually("it is given back", func() bool { return s.heard(dhcpv4.MessageTypeRelease) == 1 })
	if held := a.store.Held(sb.Owner); len(held) > 0 {
		t.Errorf("held: %v", held)
	}
	a.release(sb) // for good, with nothing to give back

	// What has ended meanwhile may be somebody else's.
	s.set(func(s *script) { s.seconds = 2 })
	sb = a.create(onNetwork("lan", ""))
	a.rest(sb)
	ends := sb.Endpoints[0].Lease4.Expire
	time.Sleep(time.Until(ends.Add(100 * time.Millisecond)))
	a.release(sb)
	if _, err := a.networks.Delete(context.Background(), "lan"); err != nil {
		t.Fatal(err)
	}
	if got := s.heard(dhcpv4.MessageTypeRelease); got != 1 {
		t.Errorf("%d were given back", got)
	}
}
