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

func TestChecksServers(t *testing.T) {
	for rules, want := range map[string]string{
		"a.test": "tls http quic", "a.test:443": "tls quic", "a.test:443/tcp": "tls", "a.test:443/udp": "",
		"a.test:80": "http", "a.test/any-name": "", "a.test:443/tcp/any-name": "", "a.test:22": "", "!a.test": "",
		"198.51.100.7:443": "", "a.test:80-443": "tls http quic",
	} {
		p, err := egress.Parse([]string{rules})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for name, is := range map[string]bool{"tls": p[0].ChecksServer(443), "http": p[0].ChecksServer(80),
			"quic": p[0].RefusesQUIC()} {
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
