package blocks

import (
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }

func TestBlockLength(t *testing.T) {
	for subnet, want := range map[string]int{
		"10.0.0.0/8": 26, "10.0.0.0/16": 26, "10.128.0.0/20": 28, "10.1.0.0/22": 28, "10.1.2.0/24": 29,
		"10.1.2.0/28": 32, "10.1.2.0/30": 32, "fd00::/64": 122, "fd00::/120": 124, "fd00::/126": 128,
	} {
		if got := Len(prefix(subnet)); got != want {
			t.Errorf("%s: got /%d, want /%d", subnet, got, want)
		}
	}
	for subnet, want := range map[string]uint64{"10.128.0.0/20": 64, "10.1.2.0/24": 20, "10.0.0.0/16": 256} {
		if got := Cap(prefix(subnet)); got != want {
			t.Errorf("%s: got cap %d, want %d", subnet, got, want)
		}
	}
}

func TestHostsClaimEachBlockOnce(t *testing.T) {
	for _, text := range []string{"10.1.2.0/24", "10.128.16.0/20", "10.9.9.0/29", "fd00:1::/118"} {
		subnet := prefix(text)
		want := int(count(subnet, Len(subnet)))
		var claims Claims
		for i := range want {
			if got := claims.FreeCount(subnet); got != uint64(want-i) {
				t.Fatalf("%s: got %d free blocks, want %d", subnet, got, want-i)
			}
			block, ok := claims.Free(subnet, fmt.Sprintf("host%d", i%7), nil)
			if !ok {
				t.Fatalf("%s: got no block after %d of %d", subnet, i, want)
			}
			if other, conflict := claims.Conflict(block); conflict {
				t.Fatalf("%s: got %s, which overlaps %s", subnet, block, other)
			}
			claims = append(claims, block)
		}
		if block, ok := claims.Free(subnet, "late", nil); ok {
			t.Errorf("%s: got %s from an exhausted subnet", subnet, block)
		}
	}
}

func TestReservedBlocksAreNotFree(t *testing.T) {
	subnet := prefix("10.9.9.0/30")
	reserved := []netip.Addr{netip.MustParseAddr("10.9.9.0"), netip.MustParseAddr("10.9.9.1"),
		netip.MustParseAddr("10.9.9.3")}
	if block, ok := Claims(nil).Free(subnet, "a", reserved); !ok || block != prefix("10.9.9.2/32") {
		t.Errorf("got %s, %v, want the only address", block, ok)
	}
	if _, ok := (Claims{prefix("10.9.9.2/32")}).Free(subnet, "a", reserved); ok {
		t.Error("got a block of reserved addresses only")
	}
	if _, ok := Claims(nil).Free(prefix("10.9.8.0/24"), "a", reserved); !ok {
		t.Error("got no block next to reserved addresses of another subnet")
	}
}

func TestHostsStartApart(t *testing.T) {
	seen := map[netip.Prefix]bool{}
	for i := range 50 {
		block, _ := Claims(nil).Free(prefix("10.0.0.0/16"), fmt.Sprintf("%064x", i), nil)
		seen[block] = true
	}
	if len(seen) < 45 {
		t.Errorf("got %d different blocks for 50 hosts", len(seen))
	}
}

// drawPrefix draws a prefix within a subnet, or a larger one.
func drawPrefix(t *rapid.T, subnet netip.Prefix, least int) netip.Prefix {
	size := rapid.IntRange(least, subnet.Addr().BitLen()).Draw(t, "bits")
	i := rapid.Uint64Range(0, count(subnet, subnet.Addr().BitLen())-1).Draw(t, "address")
	p, _ := at(subnet, subnet.Addr().BitLen(), i).Addr().Prefix(size)
	return p
}

var subnets = []string{"10.1.2.0/24", "10.128.16.0/20", "10.9.9.0/29", "10.0.0.0/8", "fd00:1::/118", "fd00:1::/64",
	"fd00::/48", "10.9.9.9/32"}

func TestFreeBlocksOverlapNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		subnet := prefix(rapid.SampledFrom(subnets).Draw(t, "subnet"))
		var claims Claims
		for range rapid.IntRange(0, 40).Draw(t, "claims") {
			claims = append(claims, drawPrefix(t, subnet, max(1, subnet.Bits()-1)))
		}
		block, ok := claims.Free(subnet, rapid.String().Draw(t, "host"), nil)
		if free := claims.FreeCount(subnet); ok != (free > 0) {
			t.Fatalf("got free %v with %d free blocks", ok, free)
		}
		if !ok {
			return
		}
		if other, conflict := claims.Conflict(block); conflict {
			t.Fatalf("got %s, which overlaps %s", block, other)
		}
		if !subnet.Contains(block.Addr()) || block != block.Masked() || block.Bits() != Len(subnet) {
			t.Fatalf("got block %s", block)
		}
	})
}

func TestRestCoversBlockExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		block := prefix(rapid.SampledFrom([]string{"10.1.0.64/26", "10.1.2.8/29", "10.1.2.3/32",
			"fd00::40/122"}).Draw(t, "block"))
		part := drawPrefix(t, block, block.Bits())
		rest, ok := Without(block, part)
		if !ok {
			t.Fatal("got no rest")
		}
		all, total := Claims{part}, count(part, part.Addr().BitLen())
		for _, r := range rest {
			if other, conflict := all.Conflict(r); conflict || !block.Contains(r.Addr()) || r != r.Masked() {
				t.Fatalf("%s overlaps %s, or is not in %s", r, other, block)
			}
			all, total = append(all, r), total+count(r, r.Addr().BitLen())
		}
		if total != count(block, block.Addr().BitLen()) {
			t.Fatalf("%s and %v do not cover %s", part, rest, block)
		}
	})
	if _, ok := Without(prefix("10.1.0.0/26"), prefix("10.1.0.64/32")); ok {
		t.Error("got a rest for a foreign part")
	}
	if _, ok := Without(prefix("10.1.0.0/26"), prefix("10.1.0.0/25")); ok {
		t.Error("got a rest for a larger part")
	}
}

func TestEnclosingFindsEveryLargerClaim(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		subnet := prefix(rapid.SampledFrom(subnets[:6]).Draw(t, "subnet"))
		p, other := drawPrefix(t, subnet, Len(subnet)), drawPrefix(t, subnet, Len(subnet))
		larger := false
		for _, e := range Enclosing(subnet, p) {
			larger = larger || e == other
		}
		inside := p.Contains(other.Addr()) && Last(p).Compare(Last(other)) >= 0
		if p.Overlaps(other) != (larger || inside) {
			t.Fatalf("%s and %s: enclosing %v, inside %v", p, other, larger, inside)
		}
	})
}

func FuzzClaims(f *testing.F) {
	f.Add("10.1.0.0/16", "10.1.2.0/24", "host")
	f.Add("fd00::/64", "fd00::/65", "host")
	f.Fuzz(func(t *testing.T, subnet, claim, host string) {
		s, err := netip.ParsePrefix(subnet)
		c, err2 := netip.ParsePrefix(claim)
		if err != nil || err2 != nil || !s.IsValid() || !c.IsValid() || s.Addr().Is4() != c.Addr().Is4() {
			return
		}
		s, c = s.Masked(), c.Masked()
		if block, ok := (Claims{c}).Free(s, host, []netip.Addr{c.Addr()}); ok && block.Overlaps(c) {
			t.Errorf("got %s next to %s", block, c)
		}
		_, _ = Without(s, c)
	})
}
