package resolver_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver"
)

// signed returns a signed response, with AD unless the client checks itself. Its signatures are not valid,
// which only the client would notice.
func signed(m *dns.Msg) *dns.Msg {
	out := new(dns.Msg).SetReply(m)
	name := m.Question[0].Name
	out.RecursionAvailable, out.CheckingDisabled, out.AuthenticatedData = true, m.CheckingDisabled, !m.CheckingDisabled
	records := []string{name + " 300 IN A 9.9.9.9"}
	if opt := m.IsEdns0(); opt != nil && opt.Do() {
		out.SetEdns0(1232, true)
		records = append(records, name+" 300 IN RRSIG A 13 2 3600 20300101000000 20200101000000 34505 Sec.Test. "+
			strings.Repeat("abcd", 21)+"aQ==")
	}
	if m.Question[0].Qtype == dns.TypeDNSKEY { // larger than a datagram
		for i := range 30 {
			records = append(records, fmt.Sprintf("%s 300 IN DNSKEY 256 3 8 %s", name,
				strings.Repeat(fmt.Sprintf("A%03d", i), 80)))
		}
	}
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		out.Answer = append(out.Answer, rr)
	}
	return out
}

func dnssecQuestion(name string, kind uint16, cd bool) *dns.Msg {
	m := question(name, kind)
	m.CheckingDisabled = cd
	return m.SetEdns0(1232, true)
}

func TestDNSSECPassesUnharmed(t *testing.T) {
	upstream := serve(t, signed)
	policy := &names{allowed: []string{"sec.test.", "alias.test."}}
	for kind, change := range map[string]func(*resolver.Config){
		"free": recordsOf(t, "alias.test CNAME sec.test"),
		"policy": func(c *resolver.Config) {
			recordsOf(t, "alias.test CNAME sec.test")(c)
			c.Policy = func() resolver.Policy { return policy }
		},
	} {
		b := startWith(t, change, upstream.route)
		for _, network := range []string{"udp", "tcp"} {
			for range 2 { // the second response is from the cache
				for _, cd := range []bool{false, true} {
					got := b.ask(network, dnssecQuestion("sec.test", dns.TypeA, cd))
					opt := got.IsEdns0()
					if opt == nil || !opt.Do() || got.AuthenticatedData == cd || got.CheckingDisabled != cd ||
						len(got.Answer) != 2 {
						t.Fatalf("%s, %s, CD %v: got %v", kind, network, cd, got)
					}
					if sig, ok := got.Answer[1].(*dns.RRSIG); !ok || sig.OrigTtl != 3600 ||
						sig.SignerName != "Sec.Test." ||
						!strings.HasSuffix(sig.Signature, "aQ==") {
						t.Fatalf("%s, %s: got %v", kind, network, got.Answer[1])
					}
				}
			}
		}

		if got := b.ask("udp", question("sec.test", dns.TypeA)); len(got.Answer) != 1 || got.IsEdns0() != nil {
			t.Errorf("%s, without DO: got %v", kind, got)
		}
		if got := b.ask("udp", dnssecQuestion("sec.test", dns.TypeDNSKEY, false)); !got.Truncated {
			t.Errorf("%s: got %d bytes over UDP, want TC", kind, got.Len())
		}
		if got := b.ask("tcp", dnssecQuestion("sec.test", dns.TypeDNSKEY, false)); got.Truncated ||
			len(got.Answer) != 32 {
			t.Errorf("%s: got %d records over TCP, want 32", kind, len(got.Answer))
		}
		// The alias of a record has no signature, so that the whole answer is not authentic.
		if got := b.ask("udp", dnssecQuestion("alias.test", dns.TypeA, false)); got.AuthenticatedData ||
			len(got.Answer) != 3 ||
			!got.IsEdns0().Do() {
			t.Errorf("%s, alias: got %v", kind, got)
		}
	}
}
