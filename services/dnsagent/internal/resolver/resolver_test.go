package resolver_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContainerNamesAreNotForwarded(t *testing.T) {
	up := serve(t, says("6.6.6.6"))
	b := start(t, up.route)
	for _, c := range []struct {
		name string
		kind uint16
		want string
	}{
		{"web", dns.TypeA, "172.18.0.2"},
		{"WeB.FRONT", dns.TypeA, "172.18.0.2"},
		{"web", dns.TypeAAAA, ""}, // exists without such an address
		{"six", dns.TypeA, ""},
		{"six", dns.TypeAAAA, "fd00::6"},
		{"web", dns.TypeMX, ""},
		{"web", dns.TypeSRV, ""},
		{"web", dns.TypeTXT, ""},
		{"web", dns.TypeANY, "172.18.0.2"},
		{"six", dns.TypeANY, "fd00::6"},
		{"web", dns.TypeHTTPS, ""},
	} {
		for _, network := range []string{"udp", "tcp"} {
			got := b.ask(network, question(c.name, c.kind))
			if got.Rcode != dns.RcodeSuccess || strings.Join(addressesOf(got), " ") != c.want ||
				len(got.Answer) != len(strings.Fields(c.want)) || !got.RecursionAvailable || got.Authoritative {
				t.Errorf("%s, %s %s:\n%v\nwant %q", network, c.name, dns.TypeToString[c.kind], got, c.want)
			}
			for _, rr := range got.Answer {
				if h := rr.Header(); h.Name != dns.Fqdn(c.name) || h.Ttl != 600 {
					t.Errorf("%s: %v", c.name, h)
				}
			}
		}
	}

	if n := up.asked.Load(); n != 0 {
		t.Errorf("got %d forwarded queries, want none", n)
	}
}

func TestContainerAddressesHavePTRRecords(t *testing.T) {
	up := serve(t, fails(dns.RcodeNameError))
	b := start(t, up.route)
	for address, want := range map[string]string{"172.18.0.3": "two.front.", "fd00::3": "two.front."} {
		name, _ := dns.ReverseAddr(address)
		got := b.ask("udp", question(name, dns.TypePTR))
		if len(got.Answer) != 1 || got.Answer[0].(*dns.PTR).Ptr != want {
			t.Errorf("%s:\n%v", address, got)
		}
	}

	name, _ := dns.ReverseAddr("9.9.9.9")
	if got := b.ask("udp", question(name, dns.TypePTR)); got.Rcode != dns.RcodeNameError || up.asked.Load() != 1 {
		t.Errorf("got %d forwarded queries, want 1:\n%v", up.asked.Load(), got)
	}
}

func TestLongResponsesAreTruncated(t *testing.T) {
	b := start(t)
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("10.0.0.%d", i))
	}

	b.put("many", many...)
	for _, c := range []struct {
		network string
		edns    uint16
		all     bool
	}{{"udp", 0, false}, {"udp", 1232, false}, {"udp", 4096, true}, {"tcp", 0, true}} {
		m := question("many", dns.TypeA)
		size := 512
		if c.edns > 0 {
			m.SetEdns0(c.edns, false)
			size = int(c.edns)
		}
		got := b.ask(c.network, m)
		got.Compress = true // as on the wire
		if got.Truncated == c.all || (len(got.Answer) == len(many)) != c.all || c.network == "udp" &&
			got.Len() > size || (got.IsEdns0() != nil) != (c.edns > 0) {
			t.Errorf("%s, EDNS %d: %d records in %d bytes, truncated %v", c.network, c.edns, len(got.Answer),
				got.Len(), got.Truncated)
		}
	}
}

func TestUpstreamsAreQueriedInOrder(t *testing.T) {
	mute := serve(t, func(*dns.Msg) *dns.Msg { return nil })
	mute.route.Time = 50 * time.Millisecond
	absent := resolver.Upstream{Server: mute.route.Server, Dial: func() resolver.Dial {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close() // the port is unused now
		return dial
	}(), Time: 50 * time.Millisecond}
	good, other := serve(t, says("1.2.3.4")), serve(t, says("6.6.6.6"))
	servfail, refused, nx := serve(t, fails(dns.RcodeServerFailure)), serve(t, fails(dns.RcodeRefused)),
		serve(t, fails(dns.RcodeNameError))
	for name, c := range map[string]struct {
		routes []resolver.Upstream
		code   int
		want   string
	}{
		"first responds":     {[]resolver.Upstream{good.route, other.route}, 0, "1.2.3.4"},
		"one fails":          {[]resolver.Upstream{servfail.route, good.route}, 0, "1.2.3.4"},
		"one refuses":        {[]resolver.Upstream{refused.route, good.route}, 0, "1.2.3.4"},
		"one is silent":      {[]resolver.Upstream{mute.route, good.route}, 0, "1.2.3.4"},
		"one does not exist": {[]resolver.Upstream{absent, good.route}, 0, "1.2.3.4"},
		"NXDOMAIN is final":  {[]resolver.Upstream{nx.route, good.route}, dns.RcodeNameError, ""},
		"all refuse":         {[]resolver.Upstream{servfail.route, refused.route}, dns.RcodeRefused, ""},
		"the last is silent": {[]resolver.Upstream{refused.route, mute.route}, dns.RcodeRefused, ""},
		"no server":          {nil, dns.RcodeServerFailure, ""},
		"fourth is not queried": {[]resolver.Upstream{servfail.route, servfail.route,
			servfail.route, good.route}, dns.RcodeServerFailure, ""},
	} {
		b := start(t, c.routes...)
		for _, network := range []string{"udp", "tcp"} {
			got := b.ask(network, question("example.org", dns.TypeA))
			if got.Rcode != c.code || strings.Join(addressesOf(got), " ") != c.want {
				t.Errorf("%s, %s:\n%v", name, network, got)
			}
		}
	}
}

func TestForwardingCleansQueries(t *testing.T) {
	seen := make(chan *dns.Msg, 1)
	up := serve(t, func(m *dns.Msg) *dns.Msg {
		seen <- m.Copy()
		out := says("1.2.3.4")(m)
		out.AuthenticatedData = true
		out.SetEdns0(1400, true)
		return out
	})

	b := start(t, up.route)
	m := question("Example.ORG", dns.TypeA)
	m.SetEdns0(1300, true)
	m.CheckingDisabled = true
	junk := &dns.TXT{Hdr: dns.RR_Header{Name: "junk.", Rrtype: dns.TypeTXT, Class: dns.ClassINET},
		Txt: []string{strings.Repeat("x", 200)}}
	m.Answer, m.Ns, m.Extra = []dns.RR{junk}, []dns.RR{junk}, append(m.Extra, junk)
	got := b.ask("udp", m)
	if !got.AuthenticatedData || got.IsEdns0() == nil || got.IsEdns0().UDPSize() != 1400 ||
		got.Answer[0].Header().Ttl != 7 {
		t.Errorf("answer:\n%v", got)
	}

	m.SetEdns0(65535, false)
	m.Question[0].Name = "other.example.org."
	asked := <-seen
	if b.ask("udp", m); (<-seen).IsEdns0().UDPSize() != 4096 {
		t.Error("upstream query allows more than 4096 bytes")
	}

	if len(asked.Answer)+len(asked.Ns) != 0 || len(asked.Extra) != 1 || asked.IsEdns0().UDPSize() != 1300 ||
		!asked.IsEdns0().Do() || !asked.CheckingDisabled {
		t.Errorf("got query:\n%v", asked)
	}

	if asked.Question[0].Name != "Example.ORG." {
		t.Errorf("got question for %s", asked.Question[0].Name)
	}
}

func TestMismatchedResponsesAreIgnored(t *testing.T) {
	up, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	defer up.Close()

	b := start(t, resolver.Upstream{Server: up.LocalAddr().(*net.UDPAddr).AddrPort(), Dial: dial, Time: timeout})
	go func() {
		buf := make([]byte, 512)
		n, from, err := up.ReadFrom(buf)
		m := new(dns.Msg)
		if err != nil || m.Unpack(buf[:n]) != nil {
			return
		}
		send := func(change func(*dns.Msg)) {
			out := says("6.6.6.6")(m)
			change(out)
			data, _ := out.Pack()
			_, _ = up.WriteTo(data, from)
		}
		_, _ = up.WriteTo([]byte{1}, from)
		send(func(m *dns.Msg) { m.Id++ })
		send(func(m *dns.Msg) { m.Question[0].Name = "example.com." })
		send(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA })
		send(func(m *dns.Msg) { m.Question = nil })
		send(func(m *dns.Msg) { m.Response = false })
		send(func(m *dns.Msg) { m.Answer[0].(*dns.A).A = net.ParseIP("1.2.3.4") })
	}()

	if got := b.ask("udp", question("example.org", dns.TypeA)); strings.Join(addressesOf(got), " ") != "1.2.3.4" {
		t.Errorf("accepted:\n%v", got)
	}
}

func TestLongUpstreamResponseNeedsTCP(t *testing.T) {
	up := serve(t, func(m *dns.Msg) *dns.Msg {
		out := new(dns.Msg).SetReply(m)
		for range 20 {
			out.Answer = append(out.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: m.Question[0].Name,
				Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{strings.Repeat("x", 200)}})
		}
		return out
	})

	b := start(t, up.route)
	if got := b.ask("udp", question("example.org", dns.TypeTXT)); !got.Truncated || len(got.Answer) != 0 {
		t.Errorf("over UDP:\n%v", got)
	}

	if got := b.ask("tcp", question("example.org", dns.TypeTXT)); got.Truncated || len(got.Answer) != 20 {
		t.Errorf("over TCP:\n%v", got)
	}
}

func TestHangingServersDelayNoContainerName(t *testing.T) {
	release := make(chan struct{})
	up := serve(t, func(m *dns.Msg) *dns.Msg { <-release; return says("1.2.3.4")(m) })
	up.route.Time = time.Minute
	b := start(t, up.route)
	conn, err := net.Dial("udp", b.address)
	if err != nil {
		t.Fatal(err)
	}

	defer conn.Close()

	_ = conn.SetDeadline(time.Now().Add(timeout))
	const limit = 1024
	data, _ := question("example.org", dns.TypeA).Pack()
	buf := make([]byte, 512)
	for i := range limit + 1 {
		if _, err := conn.Write(data); err != nil {
			t.Fatal(err)
		}
		if i%64 == 0 { // also keeps the socket's buffer from overflowing
			if got := b.ask("udp", question("web", dns.TypeA)); len(got.Answer) != 1 {
				t.Fatalf("after %d pending queries:\n%v", i, got)
			}
			for up.asked.Load() <= int64(i) && i < limit { // keeps the server's buffer from overflowing
				time.Sleep(time.Millisecond)
			}
		}
	}

	m := new(dns.Msg)
	if n, err := conn.Read(buf); err != nil || m.Unpack(buf[:n]) != nil || m.Rcode != dns.RcodeRefused {
		t.Errorf("%v, %v", m, err)
	}

	for range limit { // sequentially, or the client's socket overflows
		release <- struct{}{}
		if n, err := conn.Read(buf); err != nil || m.Unpack(buf[:n]) != nil || m.Rcode != dns.RcodeSuccess {
			t.Fatalf("%v, %v", m, err)
		}
	}
}

func TestTCPConnectionServesManyQueries(t *testing.T) {
	hung := make(chan struct{})
	up := serve(t, func(m *dns.Msg) *dns.Msg { <-hung; return says("1.2.3.4")(m) })
	b := start(t, up.route)
	conn, err := dns.DialTimeout("tcp", b.tcp, timeout)
	if err != nil {
		t.Fatal(err)
	}

	defer conn.Close()

	_ = conn.SetDeadline(time.Now().Add(timeout))
	slow := question("example.org", dns.TypeA)
	if err := conn.WriteMsg(slow); err != nil {
		t.Fatal(err)
	}

	for range 10 {
		m := question("web", dns.TypeA)
		if err := conn.WriteMsg(m); err != nil {
			t.Fatal(err)
		}
		if got, err := conn.ReadMsg(); err != nil || got.Id != m.Id {
			t.Fatalf("%v, %v", got, err)
		}
	}

	close(hung)
	if got, err := conn.ReadMsg(); err != nil || got.Id != slow.Id || len(got.Answer) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestCloseCancelsPendingQueries(t *testing.T) {
	up := serve(t, func(*dns.Msg) *dns.Msg { return nil })
	up.route.Time = time.Hour
	b := start(t, up.route)
	for _, network := range []string{"udp", "tcp"} {
		to := map[string]string{"udp": b.address, "tcp": b.tcp}[network]
		conn, err := dns.Dial(network, to)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.WriteMsg(question("example.org", dns.TypeA)); err != nil {
			t.Fatal(err)
		}
	}

	for range 1000 {
		if up.asked.Load() == 2 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}

	b.resolver.Close()
	b.resolver.Close() // idempotent
}

func TestNameChangesUnderLoad(t *testing.T) {
	b := start(t)
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				b.put("churn", fmt.Sprintf("10.0.%d.%d", i/250%250, i%250))
			}
		}
	})

	defer all.Wait()
	defer close(stop)

	for range 2000 {
		if got := b.ask("udp", question("web", dns.TypeA)); !slices.Equal(addressesOf(got), []string{"172.18.0.2"}) {
			t.Fatalf("%v", got)
		}
		if got := b.ask("udp", question("churn", dns.TypeA)); len(got.Answer) != 1 &&
			got.Rcode != dns.RcodeServerFailure {
			t.Fatalf("%v", got)
		}
	}
}
