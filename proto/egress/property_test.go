package egress_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/egress"
)

func TestParseErrorsNameRule(t *testing.T) {
	const plain = " cannot be used, must be a plain IPv4 or IPv6 address"
	const ports = ", must be a port from 1 to 65535 or a range such as 8000-8010"
	for text, want := range map[string]string{
		"a.test, !":             `rule "!": is empty`,
		"a.test,":               `rule "": is empty`,
		"*":                     `rule "*": "*" matches no single domain, use internet or all`,
		"*.*.test":              `rule "*.*.test": "*" is possible only as the first label: *.example.com`,
		"a.test/":               `rule "a.test/": has no protocol after the slash`,
		"a.test:/tcp":           `rule "a.test:/tcp": has no port after the colon`,
		"[::1]:":                `rule "[::1]:": has no port after the colon`,
		"[::1]443":              `rule "[::1]443": brackets are for an IPv6 address: [2001:db8::1]:443`,
		"::1]:443":              `rule "::1]:443": brackets are for an IPv6 address: [2001:db8::1]:443`,
		"a.test/ICMPv6":         `rule "a.test/ICMPv6": unknown protocol "ICMPv6", must be tcp, udp, sctp, icmp or quic`,
		"10.1.2.3/24":           `rule "10.1.2.3/24": 10.1.2.3/24 has bits set after the prefix, must be 10.1.2.0/24`,
		"fe80::1%eth0":          `rule "fe80::1%eth0": address fe80::1%eth0` + plain,
		"a..test":               `rule "a..test": "a..test" has an empty label`,
		"*.":                    `rule "*.": "*" is possible only as the first label: *.example.com`,
		"10.0.0":                `rule "10.0.0": "10.0.0" is not a name and not an address`,
		"!observe":              `rule "!observe": what is not allowed is denied already, use none, or !all:25 for one port`,
		"!all":                  `rule "!all": what is not allowed is denied already, use none, or !all:25 for one port`,
		"intrnet:443":           `rule "intrnet:443": did you mean internet? For the name, write intrnet. with a final dot`,
		"dns:53":                `rule "dns:53": dns has no ports`,
		"!DNS":                  `rule "!DNS": names are refused without a rule that opens them`,
		"a.test:80/quic":        `rule "a.test:80/quic": quic has port 443, use udp for another port`,
		"internet/quic":         `rule "internet/quic": quic is for domain names that are allowed, use udp`,
		"!a.test/quic":          `rule "!a.test/quic": quic is for domain names that are allowed, use udp`,
		"a.test/quic/any-name":  `rule "a.test/quic/any-name": the names of quic are checked, use udp without any-name`,
		"none,none":             `"none" allows nothing, so it cannot be combined with other rules`,
		"a.test:65536":          `rule "a.test:65536": invalid port "65536"` + ports,
		"a.test:80-":            `rule "a.test:80-": invalid port "80-"` + ports,
		"[::ffff:10.0.0.0/104]": `rule "[::ffff:10.0.0.0/104]": address ::ffff:10.0.0.0/104` + plain,
	} {
		if p, err := egress.Parse([]string{text}); p != nil || err == nil || err.Error() != want {
			t.Errorf("got  %v, %v\nwant %s", p, err, want)
		}
	}
}

// rules returns a generator of rules of all kinds, as users write them.
func rules() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		peer := rapid.SampledFrom([]string{"a.test", "*.a.test", "b.a.test", "c.test", "10.0.0.0/8", "192.0.2.1",
			"[2001:db8::1]", "[fd00::/8]", "host", "internet", "lan", "metadata"}).Draw(t, "peer")
		port := rapid.SampledFrom([]string{"", ":443", ":8000-8010"}).Draw(t, "port")
		protocol := rapid.SampledFrom([]string{"", "/tcp", "/udp", "/sctp"}).Draw(t, "protocol")
		deny := rapid.SampledFrom([]string{"", "", "!"}).Draw(t, "deny")
		return deny + peer + port + protocol
	})
}

func TestWrittenRulesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(rules(), 1, 8).Draw(t, "rules")
		p, err := egress.Parse([]string{strings.Join(texts, ",")})
		if err != nil || !slices.Equal(p.Strings(), texts) {
			t.Fatalf("got %v, %v, want %v", p.Strings(), err, texts)
		}

		each, err := egress.Parse(texts) // one --egress for each rule
		if err != nil || !slices.Equal(p, each) {
			t.Fatalf("got %v, %v for several values, want %v", each, err, p)
		}
	})
}

// TestDenyRuleClosesOnly checks that a rule with "!" opens no name, and one without closes none.
func TestDenyRuleClosesOnly(t *testing.T) {
	names := []string{"a.test", "b.a.test", "x.b.a.test", "c.test", "d.test", "test", ""}
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(rules(), 1, 6).Draw(t, "rules")
		added := rules().Draw(t, "added")
		before, err := egress.Parse(texts)
		if err != nil {
			t.Fatal(err)
		}
		after, err := egress.Parse(append(slices.Clone(texts), added))
		if err != nil {
			t.Fatal(err)
		}

		for _, name := range names {
			was, is := before.AllowsName(name), after.AllowsName(name)
			if deny := strings.HasPrefix(added, "!"); deny && is && !was || !deny && was && !is {
				t.Fatalf("%v with %s: %q was %v, is %v", texts, added, name, was, is)
			}
		}
		if !before.Restricts() || !after.Restricts() {
			t.Fatalf("%v: restricts nothing, but has no rule for everything", texts)
		}
	})
}

func TestRulesForKeepsOrderAndDomainsOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(rules(), 1, 8).Draw(t, "rules")
		p, err := egress.Parse(texts)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, text := range texts {
			peer := strings.TrimPrefix(strings.SplitN(strings.SplitN(text, ":", 2)[0], "/", 2)[0], "!")
			if peer == "b.a.test" || peer == "*.a.test" {
				want = append(want, text)
			}
		}
		if got := p.RulesFor("B.a.Test.").Strings(); !slices.Equal(got, want) {
			t.Fatalf("%v: got %v, want %v", texts, got, want)
		}
	})
}

func TestObservesAndDomainsOfPolicies(t *testing.T) {
	for text, want := range map[string][2]bool{
		"observe": {true, false}, "all": {false, false}, "a.test,observe": {true, true}, "10.0.0.0/8": {false, false},
		"!a.test,internet": {false, true}, "*.a.test:443": {false, true}, "none": {false, false}, "dns": {false, false},
	} {
		if p := parse(t, text); p.Observes() != want[0] || p.HasDomains() != want[1] {
			t.Errorf("%s: got observes %v, has domains %v", text, p.Observes(), p.HasDomains())
		}
	}
}

func TestSuggestionsParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []egress.Connection
		for range rapid.IntRange(0, 8).Draw(t, "connections") {
			c := egress.Connection{Name: rapid.SampledFrom([]string{"", "a.test", "_srv._tcp.a.test"}).Draw(t, "name"),
				Address:  rapid.SampledFrom([]string{"192.0.2.1", "2001:db8::1", "10.0.0.1"}).Draw(t, "address"),
				Protocol: rapid.SampledFrom([]string{"tcp", "udp", "sctp", "icmp", "47"}).Draw(t, "protocol")}
			if c.Protocol != "icmp" && c.Protocol != "47" {
				c.Port = rapid.Uint16Min(1).Draw(t, "port")
			}
			all = append(all, c)
		}

		got := egress.Suggest(all)
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Fatalf("%v is not sorted or has duplicates", got)
		}
		if len(got) == 0 {
			return // a policy without any value restricts nothing
		}
		p, err := egress.Parse(got)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all { // each connection has a rule that allows its peer and port
			if !slices.ContainsFunc(p, func(r egress.Rule) bool { return allows(r, c) }) {
				t.Fatalf("%v: %+v is not allowed", got, c)
			}
		}
	})
}

func allows(r egress.Rule, c egress.Connection) bool {
	peer := r.Kind == egress.Domain && r.Name == c.Name ||
		c.Name == "" && r.Kind == egress.Prefix && r.Prefix.Contains(netip.MustParseAddr(c.Address))
	return peer && (r.Ports == egress.Ports{} || string(r.Ports.Protocol) == c.Protocol &&
		r.Ports.First == c.Port && r.Ports.Last == c.Port)
}

// TestRangesAreDisjoint checks that no address belongs to lan and to the special ranges.
func TestRangesAreDisjoint(t *testing.T) {
	for _, private := range egress.PrivateRanges() {
		if private != private.Masked() {
			t.Errorf("%s has bits after the prefix", private)
		}
		for _, special := range egress.SpecialRanges() {
			if private.Overlaps(special) {
				t.Errorf("%s overlaps %s", private, special)
			}
		}
		before := private.Addr().Prev()
		if egress.IsPublic(private.Addr()) || egress.IsPublic(private.Addr().Next()) || private.Contains(before) {
			t.Errorf("%s is public", private)
		}
	}
}
