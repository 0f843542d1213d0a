package ipam_test

import (
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
)

func prefixes(all ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range all {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestFreeSubnetIsFirst(t *testing.T) {
	bases := []ipam.Base{{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Bits: 26},
		{Prefix: netip.MustParsePrefix("10.9.0.0/25"), Bits: 26}}
	for name, c := range map[string]struct {
		taken []netip.Prefix
		want  string // empty: no subnet is left
	}{
		"nothing is taken":            {nil, "10.0.0.0/26"},
		"the first":                   {prefixes("10.0.0.0/26"), "10.0.0.64/26"},
		"a gap":                       {prefixes("10.0.0.128/26", "10.0.0.0/26"), "10.0.0.64/26"},
		"a small one in the first":    {prefixes("10.0.0.9/32"), "10.0.0.64/26"},
		"small ones in two":           {prefixes("10.0.0.9/32", "10.0.0.10/32", "10.0.0.65/32"), "10.0.0.128/26"},
		"one within another":          {prefixes("10.0.0.0/25", "10.0.0.64/26", "10.0.0.1/32"), "10.0.0.128/26"},
		"the first base is all taken": {prefixes("10.0.0.0/16"), "10.9.0.0/26"},
		"elsewhere":                   {prefixes("172.16.0.0/12", "fd00::/8"), "10.0.0.0/26"},
		"everything":                  {prefixes("10.0.0.0/8"), ""},
		"one subnet is left":          {prefixes("10.0.0.0/24", "10.9.0.0/26"), "10.9.0.64/26"},
	} {
		got, ok := ipam.FreeSubnet(bases, c.taken)
		if ok != (c.want != "") || ok && got.String() != c.want {
			t.Errorf("%s: got %v, %v, want %q", name, got, ok, c.want)
		}
	}

	if p, ok := ipam.FreeSubnet([]ipam.Base{{Prefix: netip.MustParsePrefix("255.255.255.0/24"), Bits: 25}},
		prefixes("255.255.255.0/24")); ok {
		t.Errorf("got %v past the last address, want no subnet", p)
	}

	if p, ok := ipam.FreeSubnet([]ipam.Base{{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Bits: 16}}, nil); ok {
		t.Errorf("got %v, larger than its base, want no subnet", p)
	}
}

// TestFreeSubnetsDoNotOverlap allocates and releases at random. It compares the results with an
// exhaustive search.
func TestFreeSubnetsDoNotOverlap(t *testing.T) {
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
			got, ok := ipam.FreeSubnet([]ipam.Base{{Prefix: base, Bits: bits}}, taken)
			if want, there := firstFree(base, bits, taken); ok != there || got != want {
				t.Fatalf("got %v, %v, want %v, %v: /%d next to %v", got, ok, want, there, bits, taken)
			}
			if ok {
				taken = append(taken, got)
			}
		}
	})
}

// firstFree returns the first free subnet by exhaustive search.
func firstFree(base netip.Prefix, bits int, taken []netip.Prefix) (netip.Prefix, bool) {
	for a := base.Addr(); base.Contains(a); a = a.Next() {
		p := netip.PrefixFrom(a, bits)
		free := p == p.Masked()
		for _, o := range taken {
			free = free && !p.Overlaps(o)
		}
		if free {
			return p, true
		}
	}

	return netip.Prefix{}, false
}

func TestAllocatorCount(t *testing.T) {
	book := ipam.NewAllocator(time.Now)
	pool := ipam.Pool{Subnet: netip.MustParsePrefix("10.0.0.0/29"),
		Reserved: addrs([]string{"10.0.0.1", "10.0.0.1", "10.0.0.9"})}
	check := func(what string, p ipam.Pool, used, free uint64) {
		t.Helper()
		if c := book.Count("a", p); c.Used != used || c.Free != free {
			t.Errorf("%s: got %+v, want %d used and %d free", what, c, used, free)
		}
	}

	check("an empty network", pool, 3, 5)
	for range 5 {
		book.Allocate("a", pool, "")
	}

	check("a full one", pool, 8, 0)
	book.Release("a", netip.MustParseAddr("10.0.0.3"))
	check("one released", pool, 7, 1)
	pool.Ranges = []netip.Prefix{netip.MustParsePrefix("10.0.0.4/30")}
	check("a range that ends with the broadcast address", pool, 7, 0)
	book.RemoveNetwork("a")
	check("a removed network", pool, 3, 3)
	if c := book.Count("a", ipam.Pool{Subnet: netip.MustParsePrefix("fd00::/64")}); c.Used != 1 || c.Free < 1<<63 {
		t.Errorf("a /64: got %+v", c)
	}
}
