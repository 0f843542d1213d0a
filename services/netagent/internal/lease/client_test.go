package lease_test

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/services/netagent/internal/lease"
)

var (
	start = time.Unix(1_700_000_000, 0)
	ten   = netip.MustParsePrefix("10.0.0.10/24")
	other = netip.MustParsePrefix("10.0.0.11/24")
)

// granted returns a lease of 1000 seconds with T1 at 500 and T2 at 875.
func granted(at time.Time, p netip.Prefix) lease.Terms {
	return lease.Terms{Protocol: lease.ByDHCP, Address: p, Server: []byte{10, 0, 0, 1}}.For(at, 1000, 0, 0)
}

// run is a client with a clock.
type run struct {
	*testing.T
	m   *lease.Client
	now time.Time
}

// at advances the client to a time in seconds from the start and checks the result.
func (r *run) at(seconds float64, event lease.Event, ask bool, state lease.State) {
	r.Helper()
	r.now = start.Add(time.Duration(seconds * float64(time.Second)))
	gotEvent, gotAsk, _ := r.m.Tick(r.now)
	if gotEvent != event || gotAsk != ask || r.m.State != state {
		r.Errorf("after %gs: got event %d, request %v, state %s; want %d, %v, %s", seconds, gotEvent, gotAsk, r.m.State,
			event, ask, state)
	}
}

func (r *run) receive(a lease.Reply, event lease.Event, state lease.State) {
	r.Helper()
	if got := r.m.Receive(a, r.now); got != event || r.m.State != state {
		r.Errorf("reply %d: got event %d, state %s; want %d, %s", a.Kind, got, r.m.State, event, state)
	}
}

func TestLeaseAcquiredRenewedAndLost(t *testing.T) {
	r := &run{t, lease.NewInit(start, netip.Addr{}, netip.Addr{}), start}
	r.at(0, lease.NoEvent, true, lease.Selecting)
	r.at(0.5, lease.NoEvent, false, lease.Selecting)
	r.at(1, lease.NoEvent, true, lease.Selecting)
	// no request was sent
	r.receive(lease.Reply{Kind: lease.Ack, Terms: granted(r.now, ten)}, lease.NoEvent, lease.Selecting)
	r.receive(lease.Reply{Kind: lease.Offer, Terms: granted(r.now, ten)}, lease.NoEvent, lease.Requesting)
	r.receive(lease.Reply{Kind: lease.Offer, Terms: granted(r.now, other)}, lease.NoEvent, lease.Requesting) // too late
	r.at(1, lease.NoEvent, true, lease.Requesting)
	if r.m.HasAddress() || r.m.Terms.Address != ten {
		t.Errorf("got address %v %s", r.m.HasAddress(), r.m.Terms.Address)
	}

	r.receive(lease.Reply{Kind: lease.Ack, Terms: granted(start, ten)}, lease.Granted, lease.Bound)
	r.at(499, lease.NoEvent, false, lease.Bound)
	r.at(500, lease.NoEvent, true, lease.Renewing)
	r.at(509, lease.NoEvent, false, lease.Renewing)
	r.at(510, lease.NoEvent, true, lease.Renewing)
	r.at(529, lease.NoEvent, false, lease.Renewing)
	r.at(530, lease.NoEvent, true, lease.Renewing)
	r.at(875, lease.NoEvent, true, lease.Rebinding)
	r.at(885, lease.NoEvent, true, lease.Rebinding)
	r.at(940, lease.NoEvent, true, lease.Rebinding)
	r.receive(lease.Reply{Kind: lease.Ack, Terms: granted(r.now, ten)}, lease.Granted, lease.Bound)
	r.at(1439, lease.NoEvent, false, lease.Bound)
	r.at(1440, lease.NoEvent, true, lease.Renewing)
	r.receive(lease.Reply{Kind: lease.Nak}, lease.Lost, lease.Selecting)
	r.at(1440, lease.NoEvent, true, lease.Selecting)
	if r.m.Preferred.IsValid() {
		t.Errorf("got preferred address %s, which was denied", r.m.Preferred)
	}
}

func TestLeaseWithoutRenewalExpires(t *testing.T) {
	r := &run{t, lease.NewBound(granted(start, ten), netip.Addr{}), start}
	if event, ask, wake := r.m.Tick(start); event != lease.NoEvent || ask || !wake.Equal(start.Add(500*time.Second)) {
		t.Errorf("after a process restart: got event %d, request %v, wake %s", event, ask, wake.Sub(start))
	}

	r.at(900, lease.NoEvent, true, lease.Rebinding) // the process was not running
	r.at(1000, lease.Lost, true, lease.Selecting)
	if r.m.Preferred != ten.Addr() {
		t.Errorf("got preferred address %s", r.m.Preferred)
	}

	// The interval between requests grows to 64 seconds.
	requests := 0
	for s := 1000.5; s < 2000; s += 0.5 {
		if _, ask, _ := r.m.Tick(start.Add(time.Duration(s * float64(time.Second)))); ask {
			requests++
		}
	}

	if requests < 15 || requests > 25 {
		t.Errorf("got %d requests, want 15 to 25", requests)
	}
}

func TestRebootRequestsEarlierAddress(t *testing.T) {
	r := &run{t, lease.NewReboot(start.Add(100*time.Second), granted(start, ten), netip.Addr{}), start}
	r.at(100, lease.NoEvent, true, lease.Rebooting)
	r.at(101, lease.NoEvent, true, lease.Rebooting)
	r.at(103, lease.Granted, false, lease.Bound) // no server responded

	r.m = lease.NewReboot(start, granted(start, ten), netip.Addr{})
	r.at(0, lease.NoEvent, true, lease.Rebooting)
	r.receive(lease.Reply{Kind: lease.Nak}, lease.NoEvent, lease.Selecting)
	r.at(0, lease.NoEvent, true, lease.Selecting)

	r.m = lease.NewReboot(start.Add(time.Hour), granted(start, ten), netip.Addr{})
	r.at(3600, lease.NoEvent, true, lease.Selecting)
	if r.m.Preferred != ten.Addr() {
		t.Errorf("got preferred address %s", r.m.Preferred)
	}

	if m := lease.NewReboot(start, granted(start, ten), other.Addr()); m.State != lease.Selecting ||
		m.Preferred != other.Addr() {
		t.Errorf("another address is required: got %s, %s", m.State, m.Preferred)
	}
}

func TestOfferOfOtherAddressRefused(t *testing.T) {
	r := &run{t, lease.NewInit(start, ten.Addr(), netip.Addr{}), start}
	r.at(0, lease.NoEvent, true, lease.Selecting)
	if r.m.Preferred != ten.Addr() {
		t.Errorf("got preferred address %s", r.m.Preferred)
	}
	r.receive(lease.Reply{Kind: lease.Offer, Terms: granted(r.now, other)}, lease.Refused, lease.Selecting)
	if r.m.Offered != other.Addr() {
		t.Errorf("got %s refused", r.m.Offered)
	}
	r.receive(lease.Reply{Kind: lease.Offer, Terms: granted(r.now, ten)}, lease.NoEvent, lease.Requesting)
}

func TestUnacknowledgedOfferAbandoned(t *testing.T) {
	r := &run{t, lease.NewInit(start, netip.Addr{}, netip.Addr{}), start}
	r.at(0, lease.NoEvent, true, lease.Selecting)
	r.receive(lease.Reply{Kind: lease.Offer, Terms: granted(start, ten)}, lease.NoEvent, lease.Requesting)
	for _, at := range []float64{0, 1, 3} {
		r.at(at, lease.NoEvent, true, lease.Requesting)
	}
	r.at(7, lease.NoEvent, true, lease.Selecting)
}

func TestDeclinedAddressNotRequestedAgain(t *testing.T) {
	r := &run{t, lease.NewInit(start, netip.Addr{}, ten.Addr()), start}
	r.at(0, lease.NoEvent, true, lease.Selecting)
	r.receive(lease.Reply{Kind: lease.Offer, Terms: granted(start, ten)}, lease.NoEvent, lease.Requesting)
	r.receive(lease.Reply{Kind: lease.Ack, Terms: granted(start, ten)}, lease.Granted, lease.Bound)
	r.m.Declined(r.now)
	r.at(0, lease.NoEvent, true, lease.Selecting)
	if r.m.HasAddress() || r.m.Preferred.IsValid() {
		t.Errorf("got address %v, preferred %s", r.m.HasAddress(), r.m.Preferred)
	}
}

func TestInvalidTimersReplaced(t *testing.T) {
	for name, c := range map[string]struct {
		seconds, t1, t2                uint32
		wantRenew, wantRebind, wantEnd time.Duration
	}{
		"none":             {1000, 0, 0, 500 * time.Second, 875 * time.Second, 1000 * time.Second},
		"given":            {1000, 100, 200, 100 * time.Second, 200 * time.Second, 1000 * time.Second},
		"T1 after T2":      {1000, 300, 200, 200 * time.Second, 200 * time.Second, 1000 * time.Second},
		"T2 after the end": {1000, 100, 2000, 100 * time.Second, 875 * time.Second, 1000 * time.Second},
		"nearly infinite": {1<<32 - 2, 0, 0, (1<<31 - 1) * time.Second, 3758096382 * time.Second,
			(1<<32 - 2) * time.Second},
		"one second at a time": {1, 0, 0, 0, 0, time.Second},
	} {
		got := lease.Terms{}.For(start, c.seconds, c.t1, c.t2)
		if got.Renew.Sub(start) != c.wantRenew || got.Rebind.Sub(start) != c.wantRebind ||
			got.Expire.Sub(start) != c.wantEnd {
			t.Errorf("%s: got %s %s %s", name, got.Renew.Sub(start), got.Rebind.Sub(start), got.Expire.Sub(start))
		}
	}

	m := lease.NewBound(lease.Terms{Address: ten}.For(start, 1<<32-1, 5, 6), netip.Addr{})
	if event, ask, wake := m.Tick(start.AddDate(100, 0, 0)); event != lease.NoEvent || ask || !wake.IsZero() ||
		!m.HasAddress() {
		t.Errorf("infinite: got event %d, request %v, wake %s", event, ask, wake)
	}
}

// TestLeaseNeverOutlivesExpiry sends random replies and calls Tick late. The client must keep an
// address only until it expires, must not miss a timer and must not spin.
func TestLeaseNeverOutlivesExpiry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := start
		must := netip.Addr{}
		if rapid.Bool().Draw(t, "must") {
			must = ten.Addr()
		}
		m := lease.NewInit(now, must, netip.Addr{})
		asks, spins := 0, 0
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			had, until := m.HasAddress(), m.Terms.Expire
			event, ask, wake := m.Tick(now)
			if had && event != lease.Lost && !until.IsZero() && !now.Before(until) {
				t.Fatalf("at %s: got a lease that expired at %s", now.Sub(start), until.Sub(start))
			}
			if ask {
				asks++
			}
			if m.HasAddress() && must.IsValid() && m.Terms.Address.Addr() != must {
				t.Fatalf("got %s, want %s", m.Terms.Address, must)
			}
			if spins++; wake.IsZero() || wake.After(now) || event != lease.NoEvent {
				spins = 0
			}
			if spins > 3 {
				t.Fatalf("spins in %s", m.State)
			}
			if rapid.Bool().Draw(t, "reply") {
				addr := rapid.SampledFrom([]netip.Prefix{ten, other, {}}).Draw(t, "address")
				seconds := rapid.SampledFrom([]uint32{1, 2, 10, 120, 3600, 1<<32 - 1}).Draw(t, "seconds")
				terms := lease.Terms{Protocol: rapid.SampledFrom([]string{lease.ByDHCP, lease.ByDHCPv6,
					lease.BySLAAC}).Draw(t, "by"), Address: addr}
				m.Receive(lease.Reply{Kind: lease.ReplyKind(rapid.IntRange(1, 3).Draw(t, "kind")),
					Terms: terms.For(now, seconds, rapid.Uint32Range(0, 4000).Draw(t, "t1"),
						rapid.Uint32Range(0, 4000).Draw(t, "t2"))}, now)
			}
			if rapid.Bool().Draw(t, "punctual") && !wake.IsZero() && wake.After(now) {
				now = wake
			} else {
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(200*time.Second)).Draw(t, "late")))
			}
		}
	})
}

func TestIdentityIsStable(t *testing.T) {
	owner, networkID := "00112233445566778899aabbccddeeff"+"00000000000000000000000000000000", "deadbeef00000000"
	i := lease.IdentityOf(owner, networkID, "My_Web.1", net.HardwareAddr{2, 0, 0, 0, 0, 1})
	want := append([]byte{255, 0xde, 0xad, 0xbe, 0xef, 0, 4}, 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,
		0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff)
	if !bytes.Equal(i.ClientID(), want) || i.Hostname != "my-web-1" {
		t.Errorf("got %x %s", i.ClientID(), i.Hostname)
	}

	if got, ok := lease.EUI64Addr(netip.MustParsePrefix("fd00:8::/64"),
		netip.MustParseAddr("fe80::42:c0ff:fea8:840")); !ok || got.String() != "fd00:8::42:c0ff:fea8:840/64" {
		t.Errorf("got %s, %v", got, ok)
	}
}
