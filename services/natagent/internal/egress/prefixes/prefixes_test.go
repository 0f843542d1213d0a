package prefixes_test

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/prefixes"
)

func list(texts ...string) (all []netip.Prefix) {
	for _, t := range texts {
		all = append(all, netip.MustParsePrefix(t))
	}
	return all
}

func TestPrefixes(t *testing.T) {
	merged := prefixes.Merge(list("10.1.0.0/16", "fd00::/8", "10.0.0.0/8", "192.0.2.1/32"))
	if want := list("10.0.0.0/8", "192.0.2.1/32", "fd00::/8"); !reflect.DeepEqual(merged, want) {
		t.Errorf("merged: got %v, want %v", merged, want)
	}
	if got, want := prefixes.Subtract(merged, list("10.0.0.0/8", "11.0.0.0/8")), merged[1:]; !reflect.DeepEqual(got,
		want) {
		t.Errorf("subtracted: got %v, want %v", got, want)
	}
	for text, want := range map[string]string{"10.0.0.0/8": "10.255.255.255",
		"fd00::/8":     "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		"192.0.2.1/32": "192.0.2.1"} {
		if got := prefixes.Last(netip.MustParsePrefix(text)); got.String() != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}
