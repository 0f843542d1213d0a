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

// held knows names, but does not tell before it may.
type held struct {
	resolver.Names
	asked, tell chan struct{}
}

func (h *held) Lookup(asker, name string, want func(netip.Addr) bool) ([]netip.Addr, bool) {
	h.asked <- struct{}{}
	<-h.tell
	return h.Names.Lookup(asker, name, want)
}

// asks sends a question on a connection of its own, and does not wait for the answer.
func (b *bench) asks(network, name string) *dns.Conn {
	b.t.Helper()
	conn, err := dns.DialTimeout(network, map[string]string{"udp": b.address, "tcp": b.tcp}[network], patience)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	if err := conn.WriteMsg(question(name, dns.TypeA)); err != nil {
		b.t.Fatal(err)
	}
	return conn
}

// reached waits until the server was asked so often.
func (s *server) reached(t *testing.T, times int64) {
	t.Helper()
	for deadline := time.Now().Add(patience); s.asked.Load() != times; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the server was asked %d times, want %d", s.asked.Load(), times)
		}
	}
}

func TestWhatWasReadIsAnsweredBeforeTheEnd(t *testing.T) {
	h := &held{asked: make(chan struct{}), tell: make(chan struct{})}
	b := startWith(t, func(cfg *resolver.Config) { h.Names, cfg.Names = cfg.Names, h })
	udp, tcp := b.asks("udp", "web"), b.asks("tcp", "web")
	<-h.asked
	<-h.asked
	finished := make(chan struct{})
	go func() { defer close(finished); b.resolver.Shutdown() }()
	for { // until the end has begun
		conn, err := net.DialTimeout("tcp", b.tcp, patience)
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	close(h.tell)
	for network, conn := range map[string]*dns.Conn{"udp": udp, "tcp": tcp} {
		if got, err := conn.ReadMsg(); err != nil || len(got.Answer) != 1 {
			t.Errorf("by %s: %v, %v", network, got, err)
		}
	}
	<-finished
}

func TestAQuestionThatTheEndLeavesUnansweredIsAskedAgain(t *testing.T) {
	up := serve(t, func(*dns.Msg) *dns.Msg { return nil })
	up.route.Time = time.Hour
	for name, end := range map[string]func(*resolver.Resolver){"finish": (*resolver.Resolver).Shutdown, "close": (*resolver.Resolver).Close} {
		before := up.asked.Load()
		b := start(t, up.route)
		udp, tcp := b.asks("udp", "example.org"), b.asks("tcp", "example.org")
		up.reached(t, before+2)
		end(b.resolver)
		if got, err := tcp.ReadMsg(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: by TCP: %v, %v; want a reset, as only then the C library asks again", name, got, err)
		}
		_ = udp.SetDeadline(time.Now().Add(50 * time.Millisecond))
		if got, err := udp.ReadMsg(); !os.IsTimeout(err) && !errors.Is(err, syscall.ECONNREFUSED) { // nobody has the socket any more
			t.Errorf("%s: by UDP: %v, %v; want no answer", name, got, err)
		}
	}
}
