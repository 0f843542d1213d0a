package blocks

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

func TestBlockLength(t *testing.T) {
	for subnet, want := range map[string]int{
		"10.0.0.0/8": 26, "10.0.0.0/16": 26, "10.128.0.0/20": 28, "10.1.0.0/22": 28, "10.1.2.0/24": 29,
		"10.1.2.0/28": 32, "10.1.2.0/30": 32, "fd00::/64": 122, "fd00::/120": 124, "fd00::/126": 128,
	} {
		if got := Len(netip.MustParsePrefix(subnet)); got != want {
			t.Errorf("%s: got /%d, want /%d", subnet, got, want)
		}
	}
}

func TestHostsClaimEachBlockOnce(t *testing.T) {
	for _, text := range []string{"10.1.2.0/24", "10.128.16.0/20", "10.9.9.0/29", "fd00:1::/118"} {
		subnet := netip.MustParsePrefix(text)
		want := int(count(subnet, Len(subnet)))
		var claims Claims
		for i := range want {
			block, ok := claims.Free(subnet, fmt.Sprintf("host%d", i%7))
			if !ok {
				t.Fatalf("%s: got no block after %d of %d", subnet, i, want)
			}
			if other, conflict := claims.Conflict(block); conflict {
				t.Fatalf("%s: got %s, which overlaps %s", subnet, block, other)
			}
			if !subnet.Contains(block.Addr()) || block != block.Masked() || block.Bits() != Len(subnet) {
				t.Fatalf("%s: got block %s", subnet, block)
			}
			claims = append(claims, block)
		}
		if block, ok := claims.Free(subnet, "late"); ok {
			t.Errorf("%s: got %s from an exhausted subnet", subnet, block)
		}
	}
}

func TestPartlyClaimedBlocksAreNotFree(t *testing.T) {
	subnet := netip.MustParsePrefix("10.1.2.0/24")
	var claims Claims
	for i := range 31 {
		claims = append(claims, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, 2, byte(i*8 + 3)}), 32))
	}
	claims = append(claims, netip.MustParsePrefix("10.7.0.0/16")) // of another subnet

	block, ok := claims.Free(subnet, "a")
	if !ok || block.String() != "10.1.2.248/29" {
		t.Errorf("got %s, %v, want the last block", block, ok)
	}
	claims = append(claims, netip.MustParsePrefix("10.1.2.240/28"))
	if block, ok := claims.Free(subnet, "a"); ok {
		t.Errorf("got %s, want none", block)
	}
}

func TestHostsStartApart(t *testing.T) {
	subnet := netip.MustParsePrefix("10.0.0.0/16")
	seen := map[netip.Prefix]bool{}
	for i := range 50 {
		block, _ := Claims(nil).Free(subnet, fmt.Sprintf("%064x", i))
		seen[block] = true
	}
	if len(seen) < 45 {
		t.Errorf("got %d different blocks for 50 hosts", len(seen))
	}
}

func TestDonationsNeverGiveUsedAddresses(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, text := range []string{"10.1.0.64/26", "10.1.2.8/29", "10.1.2.3/32", "fd00::40/122"} {
		block := netip.MustParsePrefix(text)
		size := block.Addr().BitLen() - block.Bits()
		for range 200 {
			var used []netip.Addr
			for range random.IntN(1<<size + 1) {
				used = append(used, at(block, block.Addr().BitLen(), random.Uint64N(1<<size)).Addr())
			}
			given, kept, ok := Donate(block, used)
			if !ok {
				if free := distinct(used) < 1<<size; free && size > 0 {
					t.Fatalf("%s with %v: nothing given", block, used)
				}
				continue
			}
			checkDivision(t, block, given, kept, used)
		}
	}
}

// checkDivision checks that given and kept cover the block exactly and no used address is given.
func checkDivision(t *testing.T, block, given netip.Prefix, kept []netip.Prefix, used []netip.Addr) {
	t.Helper()
	total := uint64(1) << (given.Addr().BitLen() - given.Bits())
	all := Claims{given}
	for _, k := range kept {
		if other, conflict := all.Conflict(k); conflict {
			t.Fatalf("%s: %s overlaps %s", block, k, other)
		}
		all = append(all, k)
		total += 1 << (k.Addr().BitLen() - k.Bits())
	}
	if total != 1<<(block.Addr().BitLen()-block.Bits()) {
		t.Fatalf("%s: got %s and %v, which do not cover it", block, given, kept)
	}
	if contains(given, used) {
		t.Fatalf("%s: gave %s with used addresses %v", block, given, used)
	}
}

func distinct(all []netip.Addr) int {
	seen := map[netip.Addr]bool{}
	for _, a := range all {
		seen[a] = true
	}
	return len(seen)
}
