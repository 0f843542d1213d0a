package resolver_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/proto/dnsrecord"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver"
	"github.com/fairlead/fairlead/services/dnsagent/internal/zone"
)

// recordsOf returns records of all containers.
func recordsOf(t testing.TB, texts ...string) func(*resolver.Config) {
	t.Helper()
	var all []dnsrecord.Record
	for _, text := range texts {
		r, err := dnsrecord.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	table := dnsrecord.NewTable(all)
	return func(c *resolver.Config) {
		c.Records = func(name string) []dnsrecord.Entry {
			return table.Find("", strings.ToLower(strings.TrimSuffix(name, ".")))
		}
	}
}

// textOf returns the code and the records of a response in short form, sorted by text where the order
// is random.
// aged matches the TTL of the upstream's answer, which is less in the cache.
var aged = regexp.MustCompile(`\b[1-7] A 8\.8\.8\.8`)

func textOf(m *dns.Msg) string {
	all := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		all = append(all, strings.Join(strings.Fields(strings.ReplaceAll(rr.String(), "\tIN\t", " ")), " "))
	}
	return aged.ReplaceAllString(strings.Join(all, "; "), "7 A 8.8.8.8")
}

func TestRecordsAreAnswered(t *testing.T) {
	upstream := serve(t, func(m *dns.Msg) *dns.Msg {
		if m.Question[0].Name == "missing.test." {
			return fails(dns.RcodeNameError)(m)
		}
		return says("8.8.8.8")(m)
	})
	b := startWith(t, recordsOf(t,
		"db.corp A 10.0.0.5", "db.corp 30 A 10.0.0.6", "db.corp AAAA fd00::5", `db.corp TXT "a \"b\"" "\255"`,
		"_pg._tcp.corp SRV 1 2 5432 db.corp", "10.0.0.5 PTR db.corp", "172.18.0.2 PTR wrong.test",
		"*.dev.corp A 10.0.1.1", "alias.corp 5 CNAME db.corp", "app.corp CNAME web", "out.corp CNAME www.test",
		"gone.corp CNAME missing.test", "web A 10.9.9.9", "far A 10.0.2.2",
		"one.loop CNAME two.loop", "two.loop CNAME one.loop"), upstream.route)
	b.zone.Put(zone.Container{Owner: "other", Members: []zone.Member{{Network: "2", NetworkName: "back",
		Names: []string{"far", "hidden"}}}})
	b.zone.Put(zone.Container{Owner: "ingress", Members: []zone.Member{{Network: "1", NetworkName: "front",
		Names: []string{"ingress", "*.apps.test", "*.dev.corp"}}}})

	for question, want := range map[string]string{
		"db.corp AAAA":                "NOERROR; db.corp. 60 AAAA fd00::5",
		"DB.Corp TXT":                 `NOERROR; DB.Corp. 60 TXT "a \"b\"" "\255"`,
		"db.corp SRV":                 "NOERROR", // no such record, and not forwarded
		"_pg._tcp.corp SRV":           "NOERROR; _pg._tcp.corp. 60 SRV 1 2 5432 db.corp.",
		"5.0.0.10.in-addr.arpa PTR":   "NOERROR; 5.0.0.10.in-addr.arpa. 60 PTR db.corp.",
		"2.0.18.172.in-addr.arpa PTR": "NOERROR; 2.0.18.172.in-addr.arpa. 600 PTR web.front.", // a container's first
		"x.y.dev.corp A":              "NOERROR; x.y.dev.corp. 60 A 10.0.1.1",                 // before the container's
		"dev.corp A":                  "NOERROR; dev.corp. 7 A 8.8.8.8",
		"alias.corp AAAA":             "NOERROR; alias.corp. 5 CNAME db.corp.; db.corp. 60 AAAA fd00::5",
		"alias.corp CNAME":            "NOERROR; alias.corp. 5 CNAME db.corp.",
		"app.corp A":                  "NOERROR; app.corp. 60 CNAME web.; web. 600 A 172.18.0.2",
		"app.corp AAAA":               "NOERROR; app.corp. 60 CNAME web.",
		"out.corp A":                  "NOERROR; out.corp. 60 CNAME www.test.; www.test. 7 A 8.8.8.8",
		"gone.corp A":                 "NXDOMAIN; gone.corp. 60 CNAME missing.test.",
		"web A":                       "NOERROR; web. 600 A 172.18.0.2",
		"far A":                       "NOERROR; far. 60 A 10.0.2.2", // hides that another network has the name
		"hidden A":                    "NXDOMAIN",
		"one.loop A":                  "SERVFAIL",
		"a.apps.test A":               "NOERROR",
		"other.test A":                "NOERROR; other.test. 7 A 8.8.8.8",
	} {
		words := strings.Fields(question)
		for _, network := range []string{"udp", "tcp"} {
			for range 2 { // the second answer can be from the cache
				m := new(dns.Msg).SetQuestion(dns.Fqdn(words[0]), dns.StringToType[words[1]])
				if got := textOf(b.ask(network, m)); got != want {
					t.Errorf("%s over %s:\ngot  %s\nwant %s", question, network, got, want)
				}
			}
		}
	}

	got := b.ask("udp", question("db.corp", dns.TypeA))
	if addresses := addressesOf(got); !slices.Equal(slices.Sorted(slices.Values(addresses)), []string{"10.0.0.5",
		"10.0.0.6"}) || got.Answer[0].Header().Ttl != 30 || got.Answer[1].Header().Ttl != 30 {
		t.Errorf("got %v, want both addresses with the smallest TTL", got.Answer)
	}
}

// A name that the policy does not allow gets the configured response.
func TestResponseForRefusedNames(t *testing.T) {
	var refuse atomic.Bool
	b := startWith(t, func(c *resolver.Config) {
		c.Policy, c.Refuse = func() resolver.Policy { return &names{} }, refuse.Load
	})
	for _, want := range []int{dns.RcodeNameError, dns.RcodeRefused} {
		refuse.Store(want == dns.RcodeRefused)
		for _, network := range []string{"udp", "tcp"} {
			if got := b.ask(network, question("bad.test.", dns.TypeA)); got.Rcode != want || len(got.Answer) > 0 {
				t.Errorf("%s: got %v, want code %d", network, got, want)
			}
		}
	}
}

// names is a policy that allows some names, and records what was opened.
type names struct {
	mu      sync.Mutex
	allowed []string
	opened  []string
	err     error
}

func (n *names) Allows(name string) bool { return slices.Contains(n.allowed, name) }

func (n *names) Open(_ context.Context, m *dns.Msg, local bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opened = append(n.opened, fmt.Sprint(m.Question[0].Name, addressesOf(m), local))
	return n.err
}

func TestRecordsObeyThePolicy(t *testing.T) {
	upstream := serve(t, says("8.8.8.8"))
	policy := &names{allowed: []string{"db.corp.", "out.corp.", "app.corp."}}
	b := startWith(t, func(c *resolver.Config) {
		recordsOf(t, "db.corp A 10.0.0.5", "other.corp A 10.0.0.6", "out.corp CNAME www.test", "app.corp CNAME web")(c)
		c.Policy = func() resolver.Policy { return policy }
	}, upstream.route)

	for _, c := range []struct{ name, want, opened string }{
		{"db.corp", "NOERROR; db.corp. 60 A 10.0.0.5", "db.corp.[10.0.0.5] true"},
		// a private address of the administrator
		{"app.corp", "NOERROR; app.corp. 60 CNAME web.; web. 600 A 172.18.0.2", "app.corp.[172.18.0.2] true"},
		{"out.corp", "NOERROR; out.corp. 60 CNAME www.test.; www.test. 7 A 8.8.8.8", "out.corp.[8.8.8.8] false"},
		{"out.corp", "NOERROR; out.corp. 60 CNAME www.test.; www.test. 7 A 8.8.8.8", "out.corp.[8.8.8.8] false"},
		{"other.corp", "NXDOMAIN", ""},
		{"www.test", "NXDOMAIN", ""},
	} {
		policy.opened = nil
		if got := textOf(b.ask("udp", question(c.name, dns.TypeA))); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
		if got := strings.Join(policy.opened, ","); got != c.opened {
			t.Errorf("%s: opened %q, want %q", c.name, got, c.opened)
		}
	}

	policy.err = errors.New("natagent does not answer")
	if got := textOf(b.ask("udp", question("db.corp", dns.TypeA))); got != "SERVFAIL" {
		t.Errorf("not opened: got %s", got)
	}
}
