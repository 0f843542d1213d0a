package hostfirewall

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// listening returns a reader that receives events.
func listening(t *testing.T) (*Reader, *testns.NS) {
	t.Helper()
	n := testns.New(t)
	r := New(hostns.At(n.Fd()), nfevents.New(hostns.At(n.Fd())), "fairlead")
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		r.Watch(ctx)
		close(done)
	}()

	t.Cleanup(func() {
		stop()
		<-done
		_ = r.Close()
	})

	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		r.cache.mu.Lock()
		listening := r.cache.listening
		r.cache.mu.Unlock()
		if listening {
			return r, n
		}
		if time.Now().After(deadline) {
			t.Fatal("no events are received")
		}
	}
}

func isShut(r *Reader) bool {
	_, closed := r.Blocked(context.Background(), port.TCP, netip.MustParseAddrPort("10.9.0.1:80"),
		netip.MustParseAddr("10.9.0.5"))
	return closed
}

func TestChangeIsSeenImmediately(t *testing.T) {
	r, n := listening(t)
	for _, scripts := range [][2]string{
		{"nft 'table inet mine { chain in { type filter hook input priority 0; policy drop; }; }'",
			"nft delete table inet mine"},
		{"nft 'table inet mine { chain more { drop; }; chain in { type filter hook input priority 0; jump more; }; }'",
			"nft flush chain inet mine more"},
		{"iptables-nft -A INPUT -j DROP", "iptables-nft -D INPUT -j DROP"},
		{"iptables-legacy -P INPUT DROP", "iptables-legacy -P INPUT ACCEPT"},
		{"iptables-legacy -F INPUT; iptables-legacy -A INPUT -p tcp --dport 80 -j DROP",
			"iptables-legacy -R INPUT 1 -p tcp --dport 81 -j DROP"},
	} {
		for range 3 {
			n.Run("sh", "-ec", scripts[0])
			if !isShut(r) {
				t.Errorf("not blocked after %s", scripts[0])
			}
			n.Run("sh", "-ec", scripts[1])
			if isShut(r) {
				t.Errorf("blocked after %s", scripts[1])
			}
		}
	}
}

func TestUnrelatedChangesKeepCache(t *testing.T) {
	r, n := listening(t)
	ctx := context.Background()
	n.Run("nft", "table inet mine { chain in { type filter hook input priority 0; policy drop; jump more; }; chain "+
		"more { tcp dport 81 accept; }; chain other { }; }")

	first := r.cache.get(ctx)
	for _, script := range []string{
		"table inet fairlead { map m { type inet_service : ipv4_addr; elements = { 80 : 10.0.0.1 }; }; chain c { " +
			"type nat hook prerouting priority 0; }; }",
		"add element inet fairlead m { 81 : 10.0.0.2 }", "add rule inet mine other accept",
		"table bridge mine { chain in { type filter hook input priority 0; }; }",
		"table ip mine { chain f { type filter hook forward priority 0; policy drop; }; }", "delete table bridge mine",
	} {
		n.Run("nft", script)
		if r.cache.get(ctx) != first {
			t.Errorf("cache invalidated by %q", script)
		}
	}

	for _, script := range []string{"add rule inet mine more accept", "add chain inet mine in { policy accept; }",
		"table ip mine { flags dormant; }",
		"table ip yours { chain in { type filter hook input priority 0; }; }", "delete table inet mine"} {
		n.Run("nft", script)
		next := r.cache.get(ctx)
		if next == first && script != "table ip mine { flags dormant; }" {
			t.Errorf("cache not invalidated by %q", script)
		}
		first = next
	}
}

func TestInterfaceOfRoute(t *testing.T) {
	host, peer := testns.New(t), testns.New(t)
	testns.Connect(t, host, "eth0", "10.9.0.1/24 fd09::1/64", peer, "eth0", "10.9.0.5/24")
	ns := hostns.At(host.Fd())
	for a, want := range map[string]string{"10.9.0.5": "eth0", "fd09::7": "eth0", "127.0.0.1": "lo", "203.0.113.1": "",
		"2001:db8::1": ""} {
		if name, index := interfaceTo(ns, netip.MustParseAddr(a)); name != want || (index != 0) != (want != "") {
			t.Errorf("%s: got interface %q (%d), want %q", a, name, index, want)
		}
	}

	host.Run("ip", "route", "add", "default", "via", "10.9.0.5")
	if name, _ := interfaceTo(ns, ExternalAddr(true)); name != "eth0" {
		t.Errorf("default route: got interface %q", name)
	}
}
