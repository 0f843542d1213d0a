package pathprobe

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
)

// waitLimit limits the wait for a condition on a loaded machine.
const waitLimit = time.Minute

// await waits until the problems of a prober contain a text, or until there are none.
func await(t *testing.T, p *Prober, want string) {
	t.Helper()
	got, decided := "", 0
	for began := time.Now(); time.Since(began) < waitLimit; time.Sleep(20 * time.Millisecond) {
		var all []Problem
		all, decided = p.Problems()
		if got = fmt.Sprint(all); decided == 1 && (want == "" && len(all) == 0 || want != "" && strings.Contains(got,
			want)) {
			return
		}
	}
	t.Errorf("got problems %s of %d hosts, want %q", got, decided, want)
}

// TestProbesMeetFirewallsAndMTUs probes over real sockets, between two namespaces.
func TestProbesMeetFirewallsAndMTUs(t *testing.T) {
	one, two := testns.New(t), testns.New(t)
	testns.Connect(t, one, "one0", "192.0.2.1/24 2001:db8::1/64", two, "two0", "192.0.2.2/24 2001:db8::2/64")
	for _, family := range []struct{ one, two string }{{"192.0.2.1", "192.0.2.2"}, {"2001:db8::1", "2001:db8::2"}} {
		first := start(t, one, family.one, family.two)
		start(t, two, family.two, family.one)
		await(t, first, "")

		two.Run("nft", "add table inet stop")
		two.Run("nft", "add chain inet stop in { type filter hook input priority 0 ; }")
		two.Run("nft", "add rule inet stop in udp dport 4789 drop")
		await(t, first, "no packet to UDP port 4789 comes back")
		two.Run("nft", "flush chain inet stop in")
		two.Run("nft", "add rule inet stop in udp length > 1200 drop")
		await(t, first, "packets of 1500 bytes are lost, small ones arrive")
		two.Run("nft", "flush chain inet stop in")
		two.Run("nft", "add rule inet stop in udp dport { 4789, 51821 } drop")
		await(t, first, "no packet to UDP ports 4789, 51821 comes back")
		one.Run("nft", "add table inet stop")
		one.Run("nft", "add chain inet stop in { type filter hook input priority 0 ; }")
		one.Run("nft", "add rule inet stop in udp dport 51820 drop")
		two.Run("nft", "flush chain inet stop in")
		await(t, first, "no packet to UDP port 51820 comes back")
		one.Run("nft", "delete table inet stop")
		two.Run("nft", "delete table inet stop")
		await(t, first, "")
	}
}

// start runs a prober in a namespace.
func start(t *testing.T, in *testns.NS, local, peer string) *Prober {
	t.Helper()
	p := newProber(slog.New(slog.DiscardHandler), func(a netip.Addr) (c conn, err error) {
		in.Do(func() { c, err = openRaw(a) })
		return c, err
	})
	p.paths.times = times{fast: 100 * time.Millisecond, check: 100 * time.Millisecond, slow: 200 * time.Millisecond}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	ports := []uint16{51820, 51821}
	p.Set(netip.MustParseAddr(local), ports, 1500, []Peer{{"peer", peer, ports}})
	return p
}

func TestRepliesAreLimited(t *testing.T) {
	p := newProber(slog.New(slog.DiscardHandler), nil)
	p.Set(netip.MustParseAddr("192.0.2.1"), []uint16{500, 501}, 1500, []Peer{{"two", "192.0.2.2", []uint16{600, 601}},
		{"old", "192.0.2.3", nil}})
	for _, c := range []struct {
		from       string
		port, back uint16
		may        bool
	}{{"192.0.2.9", tunnelPort, 0, false}, {"192.0.2.2", 601, 0, false}, {"192.0.2.2", tunnelPort, tunnelPort, true},
		{"192.0.2.2", 501, 601, true}, {"192.0.2.3", 501, 501, true}} {
		if back, may := p.mayReply(c.from, c.port); back != c.back || may != c.may {
			t.Errorf("%s to port %d: got port %d, %t", c.from, c.port, back, may)
		}
	}
	n := 0
	for range 10 * maxReplies {
		if _, may := p.mayReply("192.0.2.2", tunnelPort); may {
			n++
		}
	}
	if n < maxReplies-2 || n > 5*maxReplies {
		t.Errorf("got %d replies in a burst, want about %d", n, maxReplies)
	}
}

func TestOnlyOtherProblemsAreNotified(t *testing.T) {
	p := newProber(slog.New(slog.DiscardHandler), nil)
	notified := func() bool {
		select {
		case <-p.Changed():
			return true
		default:
			return false
		}
	}
	local, peers := netip.MustParseAddr("192.0.2.1"), []Peer{{"two", "192.0.2.2", nil}}
	p.Set(local, nil, 1500, peers)
	p.Set(local, nil, 1500, append(peers, Peer{"three", "192.0.2.3", nil}))
	p.Set(local, nil, 1400, peers)
	if notified() {
		t.Error("notified without a problem")
	}
	p.paths.all[way{"two", 0}].health = broken
	p.Set(local, nil, 1400, peers)
	if notified() {
		t.Error("notified of the same problem")
	}
	p.Set(local, nil, 1400, nil)
	if !notified() {
		t.Error("not notified of the end of a problem")
	}
}
