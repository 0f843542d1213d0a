package resolver_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver"
)

// held holds lookups until resume is closed.
type held struct {
	resolver.Names
	asked, resume chan struct{}
}

func (h *held) Lookup(client, name string, want func(netip.Addr) bool) ([]netip.Addr, bool) {
	h.asked <- struct{}{}
	<-h.resume
	return h.Names.Lookup(client, name, want)
}

// asks sends a question on a new connection without waiting for the response.
func (b *bench) asks(network, name string) *dns.Conn {
	b.t.Helper()
	conn, err := dns.DialTimeout(network, map[string]string{"udp": b.address, "tcp": b.tcp}[network], timeout)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(timeout))
	if err := conn.WriteMsg(question(name, dns.TypeA)); err != nil {
		b.t.Fatal(err)
	}
	return conn
}

// reached waits until the server has received the given number of queries.
func (s *server) reached(t *testing.T, times int64) {
	t.Helper()
	for deadline := time.Now().Add(timeout); s.asked.Load() != times; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("got %d queries, want %d", s.asked.Load(), times)
		}
	}
}

func TestShutdownCompletesPendingQueries(t *testing.T) {
	h := &held{asked: make(chan struct{}), resume: make(chan struct{})}
	b := startWith(t, func(cfg *resolver.Config) { h.Names, cfg.Names = cfg.Names, h })
	udp, tcp := b.asks("udp", "web"), b.asks("tcp", "web")
	<-h.asked
	<-h.asked
	finished := make(chan struct{})
	go func() { defer close(finished); b.resolver.Shutdown() }()
	for { // until the shutdown has started
		conn, err := net.DialTimeout("tcp", b.tcp, timeout)
		if err != nil {
			break
		}
		_ = conn.Close()
	}

	close(h.resume)
	for network, conn := range map[string]*dns.Conn{"udp": udp, "tcp": tcp} {
		if got, err := conn.ReadMsg(); err != nil || len(got.Answer) != 1 {
			t.Errorf("over %s: got %v, %v", network, got, err)
		}
	}

	<-finished
}

func TestShutdownMakesClientsRetry(t *testing.T) {
	up := serve(t, func(*dns.Msg) *dns.Msg { return nil })
	up.route.Time = time.Hour
	ends := map[string]func(*resolver.Resolver){
		"shutdown": (*resolver.Resolver).Shutdown, "close": (*resolver.Resolver).Close,
	}
	for name, end := range ends {
		before := up.asked.Load()
		b := start(t, up.route)
		udp, tcp := b.asks("udp", "example.org"), b.asks("tcp", "example.org")
		up.reached(t, before+2)
		end(b.resolver)
		if got, err := tcp.ReadMsg(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: over TCP: got %v, %v, want a reset, after which the C library retries", name, got, err)
		}
		_ = udp.SetDeadline(time.Now().Add(50 * time.Millisecond))
		// the socket is closed
		if got, err := udp.ReadMsg(); !os.IsTimeout(err) && !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: over UDP: got %v, %v, want no response", name, got, err)
		}
	}
}
