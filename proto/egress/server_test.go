package egress_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/egress"
)

func TestAllowsServer(t *testing.T) {
	tls, http := netip.MustParseAddrPort("198.51.100.7:443"), netip.MustParseAddrPort("198.51.100.7:80")
	for _, c := range []struct {
		rules, name string
		server      netip.AddrPort
		want        bool
	}{
		{"a.test", "a.test", tls, true},
		{"a.test", "A.Test.", tls, true},
		{"a.test", "b.test", tls, false},
		{"a.test", "", tls, false},
		{"a.test:443", "a.test", http, false},
		{"a.test:80,b.test:443", "b.test", http, false},
		{"a.test:1-500/tcp", "a.test", http, true},
		{"a.test:443/udp", "a.test", tls, false},
		{"*.a.test", "x.a.test", tls, true},
		{"*.a.test", "a.test", tls, false},
		{"*.a.test,!x.a.test", "x.a.test", tls, false},
		{"*.a.test,!x.a.test:80", "x.a.test", tls, true},
		{"internet", "a.test", tls, false},
		{"a.test", "198.51.100.7", http, true},
		{"a.test", "198.51.100.8", http, false},
		{"a.test", "198.51.100.7", tls, false},
		{"a.test/any-name", "a.test", tls, true},
	} {
		p, err := egress.Parse([]string{c.rules})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.AllowsServer(c.name, c.server); got != c.want {
			t.Errorf("%s: %q at %s: got %v", c.rules, c.name, c.server, got)
		}
	}
}

func TestAllowsQUIC(t *testing.T) {
	server := netip.MustParseAddrPort("198.51.100.7:443")
	for _, c := range []struct {
		rules, name string
		want        bool
	}{
		{"a.test/quic", "a.test", true},
		{"a.test:443/QUIC", "A.Test.", true},
		{"a.test/quic", "b.test", false},
		{"a.test/quic", "", false},
		{"a.test/quic", "198.51.100.7", false},
		{"a.test", "a.test", false},
		{"a.test,b.test/quic", "a.test", false},
		{"a.test:443/udp", "a.test", true},
		{"*.a.test/quic,!x.a.test", "x.a.test", false},
		{"*.a.test/quic,!x.a.test:443/tcp", "x.a.test", true},
	} {
		p, err := egress.Parse([]string{c.rules})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.AllowsQUIC(c.name, server); got != c.want {
			t.Errorf("%s: %q: got %v", c.rules, c.name, got)
		}
	}
}

func TestChecksServers(t *testing.T) {
	for rules, want := range map[string]string{
		"a.test": "tls http quic", "a.test:443": "tls quic", "a.test:443/tcp": "tls", "a.test:443/udp": "",
		"a.test:80": "http", "a.test/any-name": "", "a.test:443/tcp/any-name": "", "a.test:22": "", "!a.test": "",
		"198.51.100.7:443": "", "a.test:80-443": "tls http quic", "a.test:443/quic": "checked",
	} {
		p, err := egress.Parse([]string{rules})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for name, is := range map[string]bool{"tls": p[0].ChecksServer(443), "http": p[0].ChecksServer(80),
			"quic": p[0].RefusesQUIC(), "checked": p[0].ChecksQUIC()} {
			if is {
				got = append(got, name)
			}
		}
		for _, name := range strings.Fields(want) {
			if !strings.Contains(strings.Join(got, " "), name) {
				t.Errorf("%s: no %s in %v", rules, name, got)
			}
		}
		if len(got) != len(strings.Fields(want)) || p.ChecksServers() != strings.ContainsAny(want, "lh") {
			t.Errorf("%s: got %v, want %s", rules, got, want)
		}
		if p[0].String() != rules {
			t.Errorf("%s: written as %s", rules, p[0])
		}
	}

	for _, rules := range []string{"internet/any-name", "!a.test/any-name", "198.51.100.7/any-name",
		"container:db/any-name", "/any-name"} {
		if _, err := egress.Parse([]string{rules}); err == nil {
			t.Errorf("%s: accepted", rules)
		}
	}
}

func TestDecideRefusesQUIC(t *testing.T) {
	has := func(r egress.Rule) bool { return r.Kind == egress.Domain }
	quic := egress.Target{Addr: netip.MustParseAddr("198.51.100.7"), Protocol: egress.UDP, Port: 443, Has: has}
	private, tls, other := quic, quic, quic
	private.Addr, tls.Protocol, other.Port = netip.MustParseAddr("10.0.0.7"), egress.TCP, 444
	for _, c := range []struct {
		rules  string
		target egress.Target
		want   egress.Decision
	}{
		{"a.test", quic, egress.Decision{Reason: egress.ReasonQUIC}},
		{"a.test:443", quic, egress.Decision{Reason: egress.ReasonQUIC}},
		{"a.test:443/tcp", quic, egress.Decision{Reason: egress.ReasonPolicy}},
		{"a.test,a.test:443/udp", quic, egress.Decision{Allowed: true, Rule: "a.test:443/udp"}},
		{"a.test,b.test/any-name", quic, egress.Decision{Allowed: true, Rule: "b.test/any-name"}},
		{"a.test,internet", quic, egress.Decision{Allowed: true, Rule: "internet"}},
		{"a.test,!b.test:443", quic, egress.Decision{Rule: "!b.test:443", Reason: egress.ReasonRule}},
		{"a.test", private, egress.Decision{Allowed: true, Rule: "a.test"}},
		{"a.test", tls, egress.Decision{Allowed: true, Rule: "a.test"}},
		{"a.test", other, egress.Decision{Allowed: true, Rule: "a.test"}},
	} {
		p, err := egress.Parse([]string{c.rules})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Decide(c.target); got != c.want {
			t.Errorf("%s, %s %s: got %+v, want %+v", c.rules, c.target.Addr, c.target.Protocol, got, c.want)
		}
	}
}
