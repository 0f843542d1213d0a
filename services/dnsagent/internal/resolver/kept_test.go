package resolver_test

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver"
)

func TestCachedResponseIsReused(t *testing.T) {
	up := serve(t, says("1.2.3.4"))
	b := start(t, up.route)
	first := b.ask("udp", question("example.org", dns.TypeA))
	for _, network := range []string{"udp", "tcp"} {
		m := question("EXAMPLE.org", dns.TypeA)
		got := b.ask(network, m)
		if got.Id != m.Id || got.Question[0] != m.Question[0] || len(got.Answer) != len(first.Answer) {
			t.Errorf("over %s: got\n%v\nwant\n%v", network, got, first)
		}
		if ttl := got.Answer[0].Header().Ttl; ttl > 7 || ttl < 1 || strings.Join(addressesOf(got), " ") != "1.2.3.4" {
			t.Errorf("over %s:\n%v", network, got)
		}
	}

	if n := up.asked.Load(); n != 1 {
		t.Errorf("got %d upstream queries, want 1", n)
	}
}

func TestCacheDependsOnUpstreams(t *testing.T) {
	office, home := serve(t, says("10.0.0.1")), serve(t, says("1.2.3.4"))
	b := start(t, office.route)
	get := func() string {
		return strings.Join(addressesOf(b.ask("udp", question("example.org", dns.TypeA))), " ")
	}

	get()
	b.routes.Store(&[]resolver.Upstream{home.route}) // as when the host leaves a VPN
	if got := get(); got != "1.2.3.4" {
		t.Errorf("after a change of servers: got %s", got)
	}

	elsewhere := home.route
	elsewhere.Network = "another network"
	b.routes.Store(&[]resolver.Upstream{elsewhere})
	if get(); home.asked.Load() != 2 {
		t.Error("cached response of one network used in another")
	}
}

func TestCachedResponseIsTruncated(t *testing.T) {
	up := serve(t, func(m *dns.Msg) *dns.Msg {
		out := new(dns.Msg).SetReply(m)
		for range 5 {
			out.Answer = append(out.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: m.Question[0].Name,
				Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{strings.Repeat("x", 200)}})
		}
		return out
	})

	b := start(t, up.route)
	if got := b.ask("tcp", question("example.org", dns.TypeTXT)); len(got.Answer) != 5 {
		t.Fatalf("over TCP:\n%v", got)
	}

	if got := b.ask("udp", question("example.org", dns.TypeTXT)); !got.Truncated || len(got.Answer) != 0 {
		t.Errorf("over UDP:\n%v", got)
	}

	if n := up.asked.Load(); n != 1 {
		t.Errorf("got %d upstream queries, want 1", n)
	}
}

func TestContainerNameReplacesCachedResponse(t *testing.T) {
	up := serve(t, says("6.6.6.6"))
	b := start(t, up.route)
	b.ask("udp", question("new", dns.TypeA))
	b.put("new", "172.18.0.9")
	if got := b.ask("udp", question("new", dns.TypeA)); strings.Join(addressesOf(got), " ") != "172.18.0.9" {
		t.Errorf("%v", got)
	}
}
