package ipam_test

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
)

func TestGrowableSubnetPosition(t *testing.T) {
	bases := []ipam.Base{{Prefix: netip.MustParsePrefix("10.0.0.0/20"), Bits: 26},
		{Prefix: netip.MustParsePrefix("10.9.0.0/24"), Bits: 26}}
	for name, c := range map[string]struct {
		taken []netip.Prefix
		want  string // empty: no subnet is left
	}{
		"nothing is taken":                 {nil, "10.0.0.0/26"},
		"the first has grown":              {prefixes("10.0.0.0/25"), "10.0.8.0/26"},
		"two are taken":                    {prefixes("10.0.0.0/26", "10.0.8.0/26"), "10.0.4.0/26"},
		"a single address, and one within": {prefixes("10.0.0.0/22", "10.0.1.1/32", "10.0.12.9/32"), "10.0.4.0/26"},
		"the other base has more": {prefixes("10.0.0.0/21", "10.0.8.0/22", "10.0.12.0/23", "10.0.14.0/24"),
			"10.0.15.0/26"},
		"more than that": {prefixes("10.0.0.0/21", "10.0.8.0/22", "10.0.12.0/23", "10.0.14.0/24",
			"10.0.15.7/32"), "10.9.0.0/26"},
		"the last of the last": {prefixes("10.0.0.0/16", "10.9.0.0/25", "10.9.0.192/26"), "10.9.0.128/26"},
		"everything":           {prefixes("10.0.0.0/8"), ""},
	} {
		got, _, ok := ipam.GrowableSubnet(bases, c.taken)
		if ok != (c.want != "") || ok && got.String() != c.want {
			t.Errorf("%s: got %v, %v, want %q", name, got, ok, c.want)
		}
	}
}

// TestGrowableSubnetUsesLargestBlock compares the result with an exhaustive search.
// The bases are too small for any block to be large enough.
func TestGrowableSubnetUsesLargestBlock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := netip.MustParsePrefix("10.0.0.0/24")
		var taken []netip.Prefix
		for range rapid.IntRange(1, 24).Draw(t, "steps") {
			if len(taken) > 0 && rapid.Bool().Draw(t, "free") {
				i := rapid.IntRange(0, len(taken)-1).Draw(t, "which")
				taken = append(taken[:i:i], taken[i+1:]...)
				continue
			}
			bits := rapid.IntRange(25, 30).Draw(t, "bits")
			got, _, ok := ipam.GrowableSubnet([]ipam.Base{{Prefix: base, Bits: bits}}, taken)
			if want, there := largestBlock(base, bits, taken); ok != there || got != want {
				t.Fatalf("got %v, %v, want %v, %v: /%d next to %v", got, ok, want, there, bits, taken)
			}
			if ok {
				taken = append(taken, got)
			}
		}
	})
}

// largestBlock searches for the largest free block first.
func largestBlock(base netip.Prefix, bits int, taken []netip.Prefix) (netip.Prefix, bool) {
	for size := base.Bits(); size <= bits; size++ {
		if p, ok := firstFree(base, size, taken); ok {
			return netip.PrefixFrom(p.Addr(), bits), true
		}
	}
	return netip.Prefix{}, false
}
