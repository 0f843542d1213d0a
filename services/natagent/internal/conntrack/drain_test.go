package conntrack_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

func TestOpenConnectionsAreWaitedFor(t *testing.T) {
	for name, row := range map[string]struct{ listens, to, at, other string }{
		"answered by it":         {"10.2.0.2:80", "10.2.0.2:80", "10.2.0.2", "10.2.0.9"},
		"answered by it on IPv6": {"[fd02::2]:80", "[fd02::2]:80", "fd02::2", "10.2.0.2"},
		"opened by it":           {"10.2.0.2:80", "10.2.0.2:80", "10.1.0.2", "fd01::2"},
		"server behind DNAT":     {"10.2.0.2:5000", "10.1.0.1:80", "10.2.0.2", "10.1.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, host, a := worldOf(t)
			host.Run("nft", "add rule inet t pre ip daddr 10.1.0.1 tcp dport 80 dnat ip to 10.2.0.2:5000")
			l := a.Listen("tcp", row.listens)
			c, err := client.Dial("tcp", row.to, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if n := drain(t, host, row.at, 120*time.Millisecond); n != 1 {
				t.Errorf("%d connections are open, want 1", n)
			}
			if n := drain(t, host, row.other, time.Minute); n != 0 {
				t.Errorf("%d connections are open at another address", n)
			}
			done := make(chan int)
			go func() { done <- drain(t, host, row.at, time.Minute) }()
			time.Sleep(20 * time.Millisecond)
			_ = answer.Close()
			_ = c.Close()
			if n := <-done; n != 0 {
				t.Errorf("got %d open connections after close, want 0", n)
			}
		})
	}
}

func drain(t *testing.T, host *testns.NS, at string, atMost time.Duration) int {
	ctx, cancel := context.WithTimeout(context.Background(), atMost)
	defer cancel()
	n, err := conntrack.New(hostns.At(host.Fd())).Drain(ctx, []netip.Addr{netip.MustParseAddr(at)})
	if err != nil {
		t.Error(err)
	}
	return n
}
