package resolver_test

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver/cache"
	"github.com/fairlead/fairlead/services/dnsagent/internal/zone"
)

// pausing is a zone whose lookups wait for resume.
type pausing struct {
	*zone.Zone
	asked, resume chan struct{}
}

func (p pausing) Lookup(client, name string, want func(netip.Addr) bool) ([]netip.Addr, bool) {
	p.asked <- struct{}{}
	<-p.resume
	return p.Zone.Lookup(client, name, want)
}

func duplicateOf(t *testing.T, conn *net.UDPConn) int {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	own, derr := -1, error(nil)
	err = raw.Control(func(fd uintptr) { own, derr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(err, derr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(own) })
	return own
}

func TestQueryStaysInSocketUntilAnswered(t *testing.T) {
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}

	next := duplicateOf(t, udp) // the socket of the next process
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	names := pausing{&zone.Zone{}, make(chan struct{}), make(chan struct{})}
	names.Put(zone.Container{Owner: owner, Members: []zone.Member{{Network: "1", NetworkName: "n",
		Names:     []string{"web"},
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.2")}}}})
	r := resolver.New(resolver.Config{Owner: owner, Names: names, Budgets: resolver.NewBudgets(1, 1),
		Cache:  cache.New(1),
		Routes: func(string) []resolver.Upstream { return nil }, Log: slog.New(slog.DiscardHandler)})
	conn, err := dns.Dial("udp", udp.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}

	defer conn.Close()

	r.Serve(udp, tcp)
	defer r.Close()

	waits := func() bool {
		_, _, err := unix.Recvfrom(next, make([]byte, 512), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return !errors.Is(err, unix.EAGAIN)
	}

	for range 2 {
		if err := conn.WriteMsg(question("web", dns.TypeA)); err != nil {
			t.Fatal(err)
		}
		<-names.asked
		if !waits() {
			t.Error("pending query is not in the socket")
		}
		names.resume <- struct{}{}
		_ = conn.SetReadDeadline(time.Now().Add(timeout))
		if got, err := conn.ReadMsg(); err != nil || len(got.Answer) != 1 {
			t.Fatalf("got %v, %v", got, err)
		}
	}

	for deadline := time.Now().Add(timeout); waits(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("answered query is still in the socket")
		}
	}
}
