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
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
)

// logCapture is a log that a test can read.
type logCapture struct {
	testLog
	mu   sync.Mutex
	text strings.Builder
}

func (l *logCapture) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	return l.testLog.Write(b)
}

func (l *logCapture) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (h *host) captureLog() *logCapture {
	l := &logCapture{testLog: testLog{h.t}}
	h.cfg.Log = slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return l
}

// waitLinkLocal waits until lan0 has a link-local address that completed DAD.
func (h *host) waitLinkLocal() {
	h.t.Helper()
	h.eventually("lan0 has a link-local address", func() bool {
		return strings.Contains(h.ns.Run("ip", "-6", "addr", "show", "dev", "lan0"), "fe80:") &&
			h.ns.Run("ip", "-6", "addr", "show", "dev", "lan0", "tentative") == ""
	})
}

// releaseKeepAddresses releases a sandbox whose owner is going to restart.
func (a *agent) releaseKeepAddresses(sb endpoint.Sandbox) {
	a.t.Helper()
	if err := a.sandboxes.Release(context.Background(), sb.Owner, endpoint.ReleaseKeep{Addresses: true}); err != nil {
		a.t.Fatal(err)
	}
}

const leaseWarning = "lease release failed"

func TestDeletedNetworkReleasesHeldLeases(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24", "fd09::1/64")
	s := lan.serve("--dhcp-range=10.9.0.48,10.9.0.63,120s", "--dhcp-range=fd09::100,fd09::1ff,64,120s", "--enable-ra")
	n := createDHCPNetwork(t, a, true)
	var all []endpoint.Endpoint
	for range 3 {
		sb := a.create(onNetwork("lan", ""))
		all = append(all, sb.Endpoints[0])
		a.releaseKeepAddresses(sb)
	}
	if held := a.store.HeldOn(n.ID); len(held) != 3 || strings.Contains(s.read("log"), "DHCPRELEASE") {
		t.Fatalf("got held leases %v, want 3, and no release", held)
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
		t.Errorf("got held leases %v after deletion", held)
	}
}

func TestDHCPv6ReleaseIsConfirmed(t *testing.T) {
	h := newHost(t)
	log := h.captureLog()
	a := h.run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24", "fd09::1/64")
	lan.serve("--dhcp-range=10.9.0.48,10.9.0.63,120s", "--dhcp-range=fd09::100,fd09::1ff,64,120s", "--enable-ra")
	createDHCPNetwork(t, a, true)
	a.waitLinkLocal()
	for range 10 { // on a busy machine some confirmations arrive too late, but not all
		before := strings.Count(log.String(), leaseWarning)
		a.release(a.create(onNetwork("lan", "")))
		if strings.Count(log.String(), leaseWarning) == before {
			return
		}
	}

	t.Error("no DHCPv6 release was confirmed")
}

func TestUnconfirmedReleaseDoesNotBlock(t *testing.T) {
	h := newHost(t)
	log := h.captureLog()
	a := h.run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24", "fd09::1/64")
	s := lan.serve("--dhcp-range=10.9.0.48,10.9.0.63,120s", "--dhcp-range=fd09::100,fd09::1ff,64,120s", "--enable-ra")
	createDHCPNetwork(t, a, true)
	stopped, runs := a.create(onNetwork("lan", "")), a.create(onNetwork("lan", ""))
	a.releaseKeepAddresses(stopped)
	s.stop()
	a.release(runs)
	a.eventually("a warning is logged", func() bool { return strings.Contains(log.String(), leaseWarning) })
	has(t, "the log", log.String(), "network=lan", runs.Endpoints[0].IPv6.Addr().String())
	if _, err := a.networks.Delete(context.Background(), "lan"); err != nil {
		t.Fatal(err)
	}

	has(t, "the log", log.String(), stopped.Endpoints[0].IPv6.Addr().String())

	// Neither does a parent interface that is down.
	s.start("--dhcp-range=10.9.0.48,10.9.0.63,120s")
	createDHCPNetwork(t, a, false)
	a.releaseKeepAddresses(a.create(onNetwork("lan", "")))
	a.ns.Run("ip", "link", "set", "lan0", "down")
	if _, err := a.networks.Delete(context.Background(), "lan"); err != nil {
		t.Fatal(err)
	}

	has(t, "the log", log.String(), "parent interface lan0 is down")
}

func TestDisconnectReleasesHeldLease(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24")
	s := &fakeDHCP{address: "10.9.0.40", seconds: 3600}
	lan.serveFake(s)
	createDHCPNetwork(t, a, false)
	sb := a.create(onNetwork("lan", ""))
	a.releaseKeepAddresses(sb)
	if _, err := a.sandboxes.Disconnect(context.Background(), sb.Owner, "lan"); !fault.Is(err, fault.NotFound) {
		t.Errorf("disconnect: got %v, want NotFound", err)
	}

	a.eventually("the lease is released", func() bool { return s.received(dhcpv4.MessageTypeRelease) == 1 })
	if held := a.store.Held(sb.Owner); len(held) > 0 {
		t.Errorf("got held leases %v", held)
	}

	a.release(sb) // has no lease to release

	// An expired lease is not released, as the server may have granted the address to another client.
	s.set(func(s *fakeDHCP) { s.seconds = 2 })
	sb = a.create(onNetwork("lan", ""))
	a.releaseKeepAddresses(sb)
	ends := sb.Endpoints[0].Lease4.Expire
	time.Sleep(time.Until(ends.Add(100 * time.Millisecond)))
	a.release(sb)
	if _, err := a.networks.Delete(context.Background(), "lan"); err != nil {
		t.Fatal(err)
	}
	if got := s.received(dhcpv4.MessageTypeRelease); got != 1 {
		t.Errorf("got %d DHCP releases, want 1", got)
	}
}
