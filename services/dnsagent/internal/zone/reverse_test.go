package zone_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/dnsagent/internal/zone"
)

// reverseName returns the PTR name of an address.
func reverseName(a netip.Addr) string {
	var labels []string
	for _, b := range a.AsSlice() {
		if a.Is4() {
			labels = append(labels, fmt.Sprint(b))
			continue
		}
		labels = append(labels, fmt.Sprintf("%x", b>>4), fmt.Sprintf("%x", b&15))
	}

	slices.Reverse(labels)
	suffix := ".ip6.arpa."
	if a.Is4() {
		suffix = ".in-addr.arpa."
	}

	return strings.Join(labels, ".") + suffix
}

func TestParseReverse(t *testing.T) {
	for _, s := range []string{
		"172.17.0.2", "0.0.0.0", "255.255.255.255", "fd00::1", "2001:db8:1234:5678:9abc:def0:1234:5678", "::",
	} {
		want := netip.MustParseAddr(s)
		if got, ok := zone.ParseReverse(reverseName(want)); !ok || got != want {
			t.Errorf("%s: got %v, %v", reverseName(want), got, ok)
		}
	}
	if got, ok := zone.ParseReverse("2.0.17.172.IN-ADDR.arpa"); !ok || got != netip.MustParseAddr("172.17.0.2") {
		t.Errorf("upper case: got %v, %v", got, ok)
	}
}

func TestParseReverseRejectsOtherNames(t *testing.T) {
	for _, name := range []string{"", ".", "in-addr.arpa", "17.172.in-addr.arpa", "1.2.3.4.5.in-addr.arpa",
		"256.0.0.1.in-addr.arpa", "01.0.0.1.in-addr.arpa",
		"+1.0.0.1.in-addr.arpa", "a.0.0.1.in-addr.arpa", "1.ip6.arpa", strings.Repeat("10.", 32) + "ip6.arpa",
		strings.Repeat("g.", 32) + "ip6.arpa", "web"} {
		if got, ok := zone.ParseReverse(name); ok {
			t.Errorf("%q: got %v, want none", name, got)
		}
	}
}

func FuzzParseReverse(f *testing.F) {
	f.Add("2.0.17.172.in-addr.arpa")
	f.Add(reverseName(netip.MustParseAddr("fd00::1")))
	f.Fuzz(func(t *testing.T, name string) {
		if a, ok := zone.ParseReverse(name); ok && !strings.EqualFold(strings.TrimSuffix(name, "."),
			strings.TrimSuffix(reverseName(a), ".")) {
			t.Errorf("%q: got %v", name, a)
		}
	})
}
