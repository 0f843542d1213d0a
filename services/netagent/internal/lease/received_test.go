package lease_test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/services/netagent/internal/lease"
)

// route parses "10.0.0.0/8 via 10.0.0.1", or an on-link route without a gateway.
func route(text string) (r lease.Route) {
	to, via, ok := strings.Cut(text, " via ")
	if r.To = netip.MustParsePrefix(to); ok {
		r.Via = netip.MustParseAddr(via)
	}
	return r
}

func TestReceivedRoutesAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		address  string
		received []string
		router   string
		want     string
	}{
		"default": {"10.0.0.10/24", []string{"0.0.0.0/0 via 10.0.0.1"}, "10.0.0.1", "[]"},
		"first default": {"10.0.0.10/24", []string{"0.0.0.0/0 via 10.0.0.1", "0.0.0.0/0 via 10.0.0.2"},
			"10.0.0.1", "[]"},
		"far gateway":     {"10.0.0.10/24", []string{"0.0.0.0/0 via 10.0.1.1"}, "invalid IP", "[]"},
		"own address":     {"10.0.0.10/24", []string{"0.0.0.0/0 via 10.0.0.10"}, "invalid IP", "[]"},
		"network address": {"10.0.0.10/24", []string{"0.0.0.0/0 via 10.0.0.0"}, "invalid IP", "[]"},
		"broadcast":       {"10.0.0.10/24", []string{"0.0.0.0/0 via 10.0.0.255"}, "invalid IP", "[]"},
		"pair of two":     {"10.0.0.0/31", []string{"0.0.0.0/0 via 10.0.0.1"}, "10.0.0.1", "[]"},
		"single address":  {"10.0.0.10/32", []string{"0.0.0.0/0 via 10.0.0.1"}, "invalid IP", "[]"},
		"gateway on-link": {"10.0.0.10/32", []string{"10.9.9.9/32", "0.0.0.0/0 via 10.9.9.9"},
			"10.9.9.9", "[10.9.9.9/32]"},
		"on-link too late": {"10.0.0.10/32", []string{"0.0.0.0/0 via 10.9.9.9", "10.9.9.9/32"},
			"invalid IP", "[10.9.9.9/32]"},
		"several": {"10.0.0.10/24", []string{"192.168.0.0/16 via 10.0.0.2", "172.16.0.0/12 via 10.0.0.3"},
			"invalid IP", "[192.168.0.0/16 via 10.0.0.2 172.16.0.0/12 via 10.0.0.3]"},
		"duplicate": {"10.0.0.10/24", []string{"192.168.0.0/16 via 10.0.0.2", "192.168.0.0/16 via 10.0.0.3"},
			"invalid IP", "[192.168.0.0/16 via 10.0.0.2]"},
		"own subnet": {"10.0.0.10/24", []string{"10.0.0.0/24 via 10.0.0.2"}, "invalid IP", "[]"},
		"bad destinations": {"10.0.0.10/24", []string{"127.0.0.0/8 via 10.0.0.2", "224.0.0.0/4 via 10.0.0.2",
			"240.0.0.0/4 via 10.0.0.2", "255.255.255.255/32 via 10.0.0.2", "fd00::/8 via 10.0.0.2"},
			"invalid IP", "[]"},
	} {
		var received []lease.Route
		for _, text := range c.received {
			received = append(received, route(text))
		}
		had := lease.Terms{Address: netip.MustParsePrefix(c.address), Router: ten.Addr(),
			Routes: []lease.Route{route("10.7.0.0/16")}} // of an earlier response
		got := had.WithRoutes(received)
		if got.Router.String() != c.router || fmt.Sprint(got.Routes) != c.want {
			t.Errorf("%s: got router %s, routes %v, want %s, %s", name, got.Router, got.Routes, c.router, c.want)
		}
	}
}

func TestReceivedRoutesAreLimited(t *testing.T) {
	var received []lease.Route
	for i := range 100 {
		received = append(received, route(fmt.Sprintf("192.168.%d.0/24 via 10.0.0.1", i)))
	}
	received = append(received, route("0.0.0.0/0 via 10.0.0.1"))
	got := lease.Terms{Address: ten}.WithRoutes(received)
	if len(got.Routes) != 64 || got.Router.String() != "10.0.0.1" {
		t.Errorf("got %d routes and router %s, want 64 and the default route", len(got.Routes), got.Router)
	}
}

// TestNamesRoundTrip encodes names as in RFC 1035, without and with pointers, and decodes them.
func TestNamesRoundTrip(t *testing.T) {
	label := rapid.StringMatching(`[a-z0-9-]{1,12}`)
	rapid.Check(t, func(t *rapid.T) {
		var want []string
		var data []byte
		for range rapid.IntRange(0, 8).Draw(t, "names") {
			at := len(data)
			labels := rapid.SliceOfN(label, 1, 4).Draw(t, "labels")
			for _, l := range labels {
				data = append(append(data, byte(len(l))), l...)
			}
			data, want = append(data, 0), append(want, strings.Join(labels, "."))
			if rapid.Bool().Draw(t, "pointer") { // a second name below the first one
				data = append(data, 3, 's', 'u', 'b', 0xc0|byte(at>>8), byte(at))
				want = append(want, "sub."+strings.Join(labels, "."))
			}
		}
		if got := lease.Names(data); !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		if len(data) > 0 {
			cut := data[:rapid.IntRange(0, len(data)-1).Draw(t, "length")]
			if got := lease.Names(cut); len(got) >= len(want) || !slices.Equal(got, want[:len(got)]) {
				t.Fatalf("of %d bytes: got %q, want fewer of %q", len(cut), got, want)
			}
		}
	})
}

func TestMalformedNamesEnd(t *testing.T) {
	for name, data := range map[string]string{"itself": "\xc0\x00", "later": "\xc0\x02\x01a\x00",
		"cycle":       "\x01a\xc0\x00",
		"cut pointer": "\x01a\xc0", "long label": "\x40" + strings.Repeat("a", 64) + "\x00",
		"long name": strings.Repeat("\x3f"+strings.Repeat("a", 63), 4) + "\x00", "no end": "\x01a"} {
		if got := lease.Names([]byte(data)); len(got) != 0 {
			t.Errorf("%s: got %.20q", name, got)
		}
	}
	if got := lease.Names([]byte("\x03lan\x00\x00\x00\x01b\x00")); fmt.Sprint(got) != "[lan b]" {
		t.Errorf("got %q with padding between the names", got)
	}
}

func TestSearchDomainsAreFiltered(t *testing.T) {
	label := strings.Repeat("a", 63)
	for text, want := range map[string]bool{"lan": true, "lan.": true, "A_b-c.example": true, label + ".x": true,
		"": false, ".": false, "a..b": false, "-a": false, "a-": false, "a b": false, "a\nnameserver 6.6.6.6": false,
		label + "a": false, "ü": false, strings.Repeat(label+".", 4): false} {
		got := lease.FilterSearch([]string{text})
		if (len(got) == 1) != want || want && got[0] != strings.TrimSuffix(text, ".") {
			t.Errorf("%.20q: got %q, want valid %v", text, got, want)
		}
	}

	domain := rapid.SampledFrom([]string{"a", "A", "a.", "b", "-", "c.d", "C.D", ""})
	rapid.Check(t, func(t *rapid.T) {
		received := rapid.SliceOfN(domain, 0, 10).Draw(t, "domains")
		got := lease.FilterSearch(received)
		seen := map[string]bool{}
		for _, s := range got {
			if key := strings.ToLower(s); seen[key] || s == "" || strings.HasSuffix(s, ".") {
				t.Fatalf("%q: got %q", received, got)
			} else {
				seen[key] = true
			}
		}
		for _, s := range received {
			if s != "" && s != "-" && !seen[strings.ToLower(strings.TrimSuffix(s, "."))] {
				t.Fatalf("%q: got %q without %s", received, got, s)
			}
		}
	})

	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprint("d", i))
	}
	if got := lease.FilterSearch(many); len(got) != 16 || got[15] != "d15" {
		t.Errorf("got %d domains %q, want the first 16", len(got), got)
	}
}

func TestHostNamesOfClients(t *testing.T) {
	owner, networkID := strings.Repeat("01", 32), strings.Repeat("ab", 32)
	for name, want := range map[string]string{"web": "web", "WEB.1": "web-1", "_a_": "a", "...": "", "": "",
		"ü": "", "a\nb": "a-b", strings.Repeat("a", 70): strings.Repeat("a", 63),
		strings.Repeat("a", 62) + ".b": strings.Repeat("a", 62)} {
		if got := lease.IdentityOf(owner, networkID, name, net.HardwareAddr{2}).Hostname; got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
	one := lease.IdentityOf(owner, networkID, "a", nil)
	two := lease.IdentityOf(owner, strings.Repeat("cd", 32), "b", nil)
	if string(one.DUID) != string(two.DUID) || one.IAID == two.IAID ||
		string(one.ClientID()) == string(two.ClientID()) {
		t.Errorf("got %+v and %+v on two networks, want one DUID and two IAIDs", one, two)
	}
}

func TestServerAddressOfProtocols(t *testing.T) {
	for protocol, want := range map[string]string{lease.ByDHCP: "10.0.0.1", lease.ByDHCPv6: "invalid IP",
		lease.BySLAAC: "invalid IP"} {
		if got := (lease.Terms{Protocol: protocol, Server: []byte{10, 0, 0, 1}}).ServerAddr(); got.String() != want {
			t.Errorf("%s: got %s, want %s", protocol, got, want)
		}
	}
	for _, p := range []string{"fd00::/48", "fd00::/65", "10.0.0.0/24"} {
		if got, ok := lease.EUI64Addr(netip.MustParsePrefix(p), netip.MustParseAddr("fe80::1")); ok {
			t.Errorf("%s: got %s, want none", p, got)
		}
	}
}

// TestTimersOrderedProperty checks the order of the times of a lease, before and after the clock is
// set.
func TestTimersOrderedProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seconds := rapid.Uint32Range(0, 1<<32-2).Draw(t, "seconds")
		boot := lease.Clock{Boot: "a", Uptime: time.Hour}
		terms := lease.Terms{Address: ten}.For(start, seconds, rapid.Uint32().Draw(t, "t1"),
			rapid.Uint32().Draw(t, "t2")).StampedAt(boot)
		passed := time.Duration(rapid.Int64Range(0, 1e6).Draw(t, "passed")) * time.Second
		now := start.Add(time.Duration(rapid.Int64Range(-1e9, 1e9).Draw(t, "wall")) * time.Second)
		after := terms.Adjusted(now, lease.Clock{Boot: "a", Uptime: boot.Uptime + passed})
		for name, x := range map[string]lease.Terms{"granted": terms, "adjusted": after} {
			if x.Renew.Before(x.Granted) || x.Rebind.Before(x.Renew) || x.Expire.Before(x.Rebind) ||
				x.Expire.Sub(x.Granted) != time.Duration(seconds)*time.Second {
				t.Fatalf("%s: got %v %v %v after %v", name, x.Renew, x.Rebind, x.Expire, x.Granted)
			}
		}
		if got := now.Sub(after.Granted); got != passed || !after.SameConfig(terms) {
			t.Fatalf("got a lease granted %s before, want %s", got, passed)
		}
	})
}
