package network_test

import (
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// TestDefaultPoolsServeThousands allocates 2000 subnets. The first 480 must be able to grow.
func TestDefaultPoolsServeThousands(t *testing.T) {
	space := network.DefaultSpace("seed")
	taken := []netip.Prefix{prefix("172.17.0.0/16")} // docker0's
	var pools []network.Pool

	for {
		p, limit, ok := space.Allocate(prefix("0.0.0.0/0"), taken)
		if !ok {
			break
		}
		if p.Bits() != network.DefaultBits4 || !limit.Contains(p.Addr()) || limit.Bits() != 16 {
			t.Fatalf("got %s with grow limit %s", p, limit)
		}
		taken, pools = append(taken, p), append(pools, network.Pool{Subnet: p, GrowLimit: limit})
		if len(pools) == 480 {
			for _, p := range pools {
				mustGrow(t, p, taken, 21)
			}
		}
		if len(pools) == 2000 {
			break
		}
	}

	if len(pools) < 2000 {
		t.Fatalf("got %d networks, want 2000", len(pools))
	}

	seen := map[netip.Addr]netip.Prefix{}
	for _, p := range taken {
		for a := p.Addr(); p.Contains(a) && p.Bits() == network.DefaultBits4; a = a.Next() {
			if other, twice := seen[a]; twice {
				t.Fatalf("got %s in %s and in %s", a, other, p)
			}
			seen[a] = p
		}
	}
}

// mustGrow extends a pool step by step to a length, without overlapping other prefixes in taken.
func mustGrow(t *testing.T, p network.Pool, taken []netip.Prefix, to int) {
	t.Helper()

	first := p.Subnet
	for p.Subnet.Bits() > to {
		larger, ok := p.Larger(netip.Addr{})
		if !ok || larger.Bits() != p.Subnet.Bits()-1 || !larger.Contains(p.Subnet.Addr()) {
			t.Fatalf("%s: got larger subnet %s, %v", p.Subnet, larger, ok)
		}
		for _, o := range taken {
			if o != first && o.Overlaps(larger) {
				t.Fatalf("%s: got larger subnet %s, which overlaps %s", first, larger, o)
			}
		}
		p.Subnet = larger
	}
}

func TestPoolGrowsAsFarAsNeeded(t *testing.T) {
	p := network.Pool{Subnet: prefix("172.18.0.64/26"), GrowLimit: prefix("172.18.0.0/16")}
	for want, larger := range map[string]string{"": "172.18.0.0/25", "172.18.0.1": "172.18.0.0/25",
		"172.18.0.200": "172.18.0.0/24",
		"172.18.255.1": "172.18.0.0/16", "172.19.0.1": "", "fd00::1": ""} {
		var a netip.Addr
		if want != "" {
			a = addr(want)
		}
		got, ok := p.Larger(a)
		if ok != (larger != "") || ok && got != prefix(larger) {
			t.Errorf("for %q: got %s, %v, want %q", want, got, ok, larger)
		}
	}

	if got, ok := (network.Pool{Subnet: prefix("10.0.0.0/24")}).Larger(netip.Addr{}); ok {
		t.Errorf("got %s for a pool without grow limit", got)
	}
}
