package resolver_test

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver/cache"
	"github.com/fairlead/fairlead/services/dnsagent/internal/zone"
)

const (
	owner   = "client"
	timeout = 10 * time.Second
)

// bench is a resolver on loopback sockets with its upstreams.
type bench struct {
	t        testing.TB
	zone     *zone.Zone
	resolver *resolver.Resolver
	routes   atomic.Pointer[[]resolver.Upstream]
	address  string // UDP address
	tcp      string // TCP address
}

func start(t testing.TB, routes ...resolver.Upstream) *bench {
	t.Helper()
	return startWith(t, func(*resolver.Config) {}, routes...)
}

func startWith(t testing.TB, change func(*resolver.Config), routes ...resolver.Upstream) *bench {
	t.Helper()
	b := &bench{t: t, zone: &zone.Zone{}}
	b.routes.Store(&routes)
	b.zone.Put(zone.Container{Owner: owner, Members: []zone.Member{{Network: "1", NetworkName: "front",
		Names: []string{"me"}}}})
	b.put("web", "172.18.0.2")
	b.put("six", "fd00::6")
	b.put("two", "172.18.0.3", "fd00::3")
	cfg := resolver.Config{
		Owner: owner, Names: b.zone, Budgets: resolver.NewBudgets(4096, 2048),
		Log: slog.New(slog.DiscardHandler), Cache: cache.New(256),
		Routes: func(string) []resolver.Upstream { return *b.routes.Load() },
	}

	change(&cfg)
	b.resolver = resolver.New(cfg)
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}

	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	b.address, b.tcp = udp.LocalAddr().String(), tcp.Addr().String()
	b.resolver.Serve(udp, tcp)
	t.Cleanup(b.resolver.Close)
	return b
}

// put registers a container on the client's network.
func (b *bench) put(name string, addresses ...string) {
	var all []netip.Addr
	for _, a := range addresses {
		all = append(all, netip.MustParseAddr(a))
	}
	b.zone.Put(zone.Container{Owner: name, Members: []zone.Member{{Network: "1", NetworkName: "front",
		Names: []string{name}, Addresses: all}}})
}

func (b *bench) ask(network string, m *dns.Msg) *dns.Msg {
	b.t.Helper()
	client := &dns.Client{Net: network, Timeout: timeout, UDPSize: 65535}
	to := b.address
	if network == "tcp" {
		to = b.tcp
	}
	answer, _, err := client.Exchange(m, to)
	if err != nil {
		b.t.Fatalf("%s, %v: %v", network, m.Question, err)
	}
	return answer
}

func question(name string, kind uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
}

// server is a name server with a fixed behavior that counts its queries.
type server struct {
	asked atomic.Int64
	route resolver.Upstream
}

// serve starts a server on the same UDP and TCP port.
func serve(t testing.TB, answer func(m *dns.Msg) *dns.Msg) *server {
	t.Helper()
	s := &server{}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		s.asked.Add(1)
		if out := answer(m); out != nil {
			_ = w.WriteMsg(out)
		}
	})

	tcp, udp, at := bothAt(t)
	for _, one := range []*dns.Server{{Listener: tcp, Handler: handler}, {PacketConn: udp, Handler: handler}} {
		started, ended := make(chan struct{}), make(chan error, 1)
		one.NotifyStartedFunc = func() { close(started) }
		go func() { ended <- one.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			_ = one.ShutdownContext(ctx) // also closes open connections
			<-ended
		})
	}

	s.route = resolver.Upstream{Server: at, Dial: dial, Time: timeout}
	return s
}

// bothAt listens on one port over TCP and UDP. Sockets of pending queries use the same port range.
func bothAt(t testing.TB) (net.Listener, net.PacketConn, netip.AddrPort) {
	t.Helper()
	for range 100 {
		tcp, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at := tcp.Addr().(*net.TCPAddr).AddrPort()
		if udp, err := net.ListenPacket("udp4", at.String()); err == nil {
			return tcp, udp, at
		}
		_ = tcp.Close()
	}

	t.Fatal("no free port")
	return nil, nil, netip.AddrPort{}
}

func dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, to.String())
}

// says responds to every question with one address.
func says(address string) func(m *dns.Msg) *dns.Msg {
	return func(m *dns.Msg) *dns.Msg {
		out := new(dns.Msg).SetReply(m)
		out.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeA,
			Class: dns.ClassINET, Ttl: 7}, A: net.ParseIP(address)}}
		return out
	}
}

// fails responds with a code only.
func fails(code int) func(m *dns.Msg) *dns.Msg {
	return func(m *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(m, code) }
}

// addressesOf returns the addresses of a response as text.
func addressesOf(m *dns.Msg) (all []string) {
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			all = append(all, rr.A.String())
		case *dns.AAAA:
			all = append(all, rr.AAAA.String())
		}
	}
	return all
}
