package encryption_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/tunnelkey"
)

func TestWireHasNoClearTextAndKeyChangesLoseNothing(t *testing.T) {
	f := newFleet(t, 3)
	one, two, three := f.sites[0], f.sites[1], f.sites[2]
	f.sync() // all have keys
	f.sync() // all know them
	w := f.capture()

	port := f.echo(two)
	for _, from := range []*site{one, three} {
		if err := f.exchange(from, two, port); err != nil {
			t.Fatal(err)
		}
	}
	if w.encrypted.Load() == 0 {
		t.Error("no packet of WireGuard was captured")
	}

	for _, pair := range [][2]*site{{one, two}, {two, three}, {three, one}} { // all have sessions
		if err := f.exchange(pair[0], pair[1], f.echo(pair[1])); err != nil {
			t.Fatal(err)
		}
	}
	flows := []*flow{f.flow(one, two), f.flow(two, one), f.flow(three, one)}
	first, began := one.Published()[0], time.Now()
	for late := began.Add(4 * timeout); ; {
		f.sync()
		if p := one.Published(); len(p) == 1 && p[0].Generation >= first.Generation+2 || time.Now().After(late) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	for i, w := range flows {
		lost := w.stop()
		if len(lost) > 0 || len(w.sent) < 20 {
			t.Errorf("flow %d: %d of %d datagrams were lost, the first after %s, errors %v", i, len(lost), len(w.sent),
				append(lost, began)[0].Sub(began), w.failed)
		}
		t.Logf("flow %d: %d datagrams", i, len(w.sent))
	}
	t.Logf("keys were changed twice within %s", time.Since(began).Round(time.Millisecond))
	if p := one.Published(); len(p) != 1 || p[0].Generation < first.Generation+2 {
		t.Errorf("keys: got %v, want two changes since %v", p, first)
	}
	if n := w.clear.Load(); n > 0 {
		t.Errorf("%d packets in clear text", n)
	}
	f.send(one, "10.99.0.3:7")
	for late := time.Now().Add(timeout); w.clear.Load() == 0; {
		if time.Now().After(late) {
			t.Fatal("a packet that is not encrypted was not captured")
		}
	}
	f.repairs(one)
	f.foreignKey(three)
}

// repairs damages the tunnels of a host, and compares.
func (f *fleet) repairs(s *site) {
	f.t.Helper()
	port := f.echo(s)
	live := "wg0"
	if strings.Contains(s.ns.Run("ip", "route", "show", "proto", "70"), "wg1") {
		live = "wg1"
	}
	for _, damage := range []string{"ip link delete DEV", "ip link set DEV down", "ip route flush dev DEV",
		"ip link set DEV mtu 1300", "ip route add 10.200.0.0/24 dev DEV"} {
		s.ns.Run("sh", "-ec", strings.ReplaceAll(damage, "DEV", "fairlead-"+live))
		f.sync()
		if err := f.exchange(f.sites[1], s, port); err != nil {
			f.t.Errorf("after %s: %v", damage, err)
		}
		if routes := s.ns.Run("ip", "route"); strings.Contains(routes, "10.200.") {
			f.t.Errorf("after %s: routes\n%s", damage, routes)
		}
	}
}

// foreignKey checks that a host with a key that it has not published reaches no other host.
func (f *fleet) foreignKey(s *site) {
	f.t.Helper()
	to := f.sites[1]
	at := to.ns.ListenPacket("udp4", netip.AddrPortFrom(to.inside, 0).String())
	s.mu.Lock()
	s.keys.Keys = slices.Clone(s.keys.Keys)
	s.keys.Keys[0].Private = tunnelkey.Key{1, 2, 3}
	s.mu.Unlock()
	if _, err := s.Sync(f.viewOf(s)); err != nil {
		f.t.Fatal(err)
	}
	f.send(s, at.LocalAddr().String())
	_ = at.SetReadDeadline(time.Now().Add(2 * time.Second))
	if n, from, err := at.ReadFrom(make([]byte, 16)); err == nil {
		f.t.Errorf("received %d bytes from %s with an unknown key", n, from)
	}
}

// send sends the marker in a datagram.
func (f *fleet) send(from *site, to string) {
	f.t.Helper()
	c, err := from.ns.Dial("udp4", to, timeout)
	if err == nil {
		_, err = c.Write([]byte(marker))
		err = errors.Join(err, c.Close())
	}
	if err != nil {
		f.t.Error(err)
	}
}
