package resolver_test

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/services/dnsagent/internal/zone"
)

func TestOtherNetworksNamesAreNotForwarded(t *testing.T) {
	upstream := serve(t, says("9.9.9.9"))
	b := start(t, upstream.route)
	b.zone.Put(zone.Container{Owner: "other", Members: []zone.Member{{Network: "2", NetworkName: "back",
		Names:     []string{"db", "a.dotted"},
		Addresses: []netip.Addr{netip.MustParseAddr("172.19.0.2"), netip.MustParseAddr("fd02::2")}}}})
	b.zone.Put(zone.Container{Owner: "plain", Addresses: []netip.Addr{netip.MustParseAddr("172.17.0.2")}})
	reverse := func(address string) string {
		name, err := dns.ReverseAddr(address)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}

	for _, network := range []string{"udp", "tcp"} {
		for name, kind := range map[string]uint16{"db": dns.TypeA, "DB.": dns.TypeMX,
			reverse("172.19.0.2"): dns.TypePTR,
			reverse("fd02::2"):    dns.TypePTR, reverse("172.17.0.2"): dns.TypePTR} {
			if got := b.ask(network, question(name, kind)); got.Rcode != dns.RcodeNameError || len(got.Answer) > 0 {
				t.Errorf("%s over %s: got %s with %d records, want NXDOMAIN", name, network,
					dns.RcodeToString[got.Rcode], len(got.Answer))
			}
		}
	}

	if n := upstream.asked.Load(); n > 0 {
		t.Errorf("the upstream got %d queries", n)
	}

	for i, name := range []string{"a.dotted", "printer", "db.example.org"} { // can be external names
		if got := b.ask("udp", question(name, dns.TypeA)); len(got.Answer) != 1 || upstream.asked.Load() != int64(i+1) {
			t.Errorf("%s: got %v after %d queries", name, got, upstream.asked.Load())
		}
	}
}
