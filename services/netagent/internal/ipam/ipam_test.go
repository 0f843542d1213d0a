package ipam_test

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
)

func TestLowestFreeAddress(t *testing.T) {
	for name, c := range map[string]struct {
		subnet, from string
		reserved     []string
		used         []string
		want         string // empty: the pool is exhausted
	}{
		"the first after the gateway": {"172.17.0.0/16", "", []string{"172.17.0.1"}, nil, "172.17.0.2"},
		"a gap is filled": {"172.17.0.0/16", "", []string{"172.17.0.1"},
			[]string{"172.17.0.2", "172.17.0.4"}, "172.17.0.3"},
		"not the subnet's own address": {"10.0.0.0/30", "", nil, nil, "10.0.0.1"},
		"not the broadcast address":    {"10.0.0.0/30", "", []string{"10.0.0.1"}, []string{"10.0.0.2"}, ""},
		"a gateway in the middle": {"10.0.0.0/29", "", []string{"10.0.0.3"},
			[]string{"10.0.0.1", "10.0.0.2"}, "10.0.0.4"},
		"from the range only": {"172.17.0.0/16", "172.17.8.0/24", []string{"172.17.0.1"}, nil,
			"172.17.8.0"},
		"the range is used up": {"172.17.0.0/16", "172.17.8.0/31", nil,
			[]string{"172.17.8.0", "172.17.8.1"}, ""},
		"the range ends with the subnet": {"10.0.0.0/29", "10.0.0.4/30", nil, []string{"10.0.0.4", "10.0.0.5",
			"10.0.0.6"}, ""},
		"the first range": {"10.0.0.0/24", "10.0.0.128/31 10.0.0.16/31", nil, []string{"10.0.0.128"}, "10.0.0.129"},
		"the next range": {"10.0.0.0/24", "10.0.0.128/31 10.0.0.16/31", nil,
			[]string{"10.0.0.128", "10.0.0.129"}, "10.0.0.16"},
		"all ranges are used up": {"10.0.0.0/24", "10.0.0.128/32 10.0.0.16/32", nil,
			[]string{"10.0.0.128", "10.0.0.16"}, ""},
		"a range outside the subnet": {"10.0.0.0/29", "10.0.1.0/29", nil, nil, ""},
		"two hosts on a /31":         {"10.0.0.0/31", "", []string{"10.0.0.0"}, nil, "10.0.0.1"},
		"a /32 with a gateway":       {"10.0.0.0/32", "", []string{"10.0.0.0"}, nil, ""},
		"the last IPv4 subnet": {"255.255.255.252/30", "", []string{"255.255.255.253"},
			[]string{"255.255.255.254"}, ""},
		"IPv6 keeps its first address":  {"fd00::/64", "", nil, nil, "fd00::1"},
		"IPv6 has no broadcast address": {"fd00::/126", "", []string{"fd00::1"}, []string{"fd00::2"}, "fd00::3"},
		"the last of all IPv6 addresses": {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126", "", nil, nil,
			"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffd"},
		"a subnet that is written with host": {"10.0.0.5/29", "", nil, nil, "10.0.0.1"},
	} {
		pool := ipam.Pool{Subnet: netip.MustParsePrefix(c.subnet), Reserved: addrs(c.reserved)}
		if c.from != "" {
			for _, r := range strings.Fields(c.from) {
				pool.Ranges = append(pool.Ranges, netip.MustParsePrefix(r))
			}
		}
		used := map[netip.Addr]bool{}
		for _, a := range addrs(c.used) {
			used[a] = true
		}
		got, ok := pool.LowestFree(func(a netip.Addr) bool { return used[a] })
		if ok != (c.want != "") || ok && got.String() != c.want {
			t.Errorf("%s: got %v, %v, want %q", name, got, ok, c.want)
		}
	}
}

func addrs(all []string) []netip.Addr {
	var out []netip.Addr
	for _, s := range all {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// TestAllocateHasNoDuplicates allocates and releases at random on two networks with one subnet.
// It also simulates restarts. A model has the expected results.
func TestAllocateHasNoDuplicates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.IntRange(27, 32).Draw(t, "bits")
		pool := ipam.Pool{Subnet: netip.PrefixFrom(netip.MustParseAddr("10.0.0.0"), bits),
			Reserved: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}
		book, model := ipam.NewAllocator(time.Now), map[string]map[netip.Addr]bool{"a": {}, "b": {}}
		last := map[string]map[netip.Addr]string{"a": {}, "b": {}} // the last owner of each address
		network, owner := rapid.SampledFrom([]string{"a", "b"}), rapid.SampledFrom([]string{"x", "y", "z"})
		t.Repeat(map[string]func(*rapid.T){
			"allocate": func(t *rapid.T) {
				n := network.Draw(t, "network")
				who := owner.Draw(t, "owner")
				want, left := expected(pool, model[n], last[n], who)
				got, ok := book.Allocate(n, pool, who)
				if ok != left || got != want {
					t.Fatalf("%s: got %v, %v, want %v, %v", who, got, ok, want, left)
				}
				if ok && (model[n][got] || !pool.Subnet.Contains(got) || got == pool.Reserved[0]) {
					t.Fatalf("got %v, which is in use, reserved or outside the pool", got)
				}
				if ok {
					model[n][got] = true
				}
			},
			"release": func(t *rapid.T) {
				n := network.Draw(t, "network")
				a := netip.AddrFrom4([4]byte{10, 0, 0, rapid.Byte().Draw(t, "address")})
				book.Release(n, a)
				delete(model[n], a)
			},
			"release with affinity": func(t *rapid.T) {
				n, who := network.Draw(t, "network"), owner.Draw(t, "owner")
				a := netip.AddrFrom4([4]byte{10, 0, 0, rapid.ByteRange(0, 33).Draw(t, "address")})
				book.DropAffinity(n, who)
				maps.DeleteFunc(last[n], func(_ netip.Addr, had string) bool { return had == who })
				book.Prefer(n, a, who)
				last[n][a] = who
				book.Release(n, a)
				delete(model[n], a)
			},
			"restart": func(t *rapid.T) {
				book = ipam.NewAllocator(time.Now)
				for n, taken := range model {
					for a := range taken {
						if !book.Claim(n, a, "") {
							t.Fatalf("got %v in use in an empty allocator", a)
						}
					}
					for a, who := range last[n] {
						book.Prefer(n, a, who)
					}
				}
			},
		})
	})
}

// expected returns the owner's last address, the lowest one without affinity, or the lowest one.
func expected(pool ipam.Pool, taken map[netip.Addr]bool, last map[netip.Addr]string, who string) (netip.Addr, bool) {
	for a, had := range last {
		if had == who && !taken[a] && pool.Automatic(a) {
			return a, true
		}
	}
	if a, ok := pool.LowestFree(func(a netip.Addr) bool { return taken[a] || last[a] != "" }); ok {
		return a, true
	}
	return pool.LowestFree(func(a netip.Addr) bool { return taken[a] })
}

func TestConcurrentAllocateHasNoDuplicates(t *testing.T) {
	pool := ipam.Pool{Subnet: netip.MustParsePrefix("10.0.0.0/24")}
	book := ipam.NewAllocator(time.Now)
	var wg sync.WaitGroup
	var mu sync.Mutex
	owned := map[netip.Addr]bool{}

	for range 8 {
		wg.Go(func() {
			for range 200 {
				a, ok := book.Allocate("a", pool, "")
				if !ok {
					t.Error("got an exhausted pool, want an address")
					return
				}
				mu.Lock()
				if owned[a] {
					t.Errorf("got %v allocated twice", a)
				}
				owned[a] = true
				mu.Unlock()
				mu.Lock()
				delete(owned, a)
				mu.Unlock()
				book.Release("a", a)
			}
		})
	}

	wg.Wait()
	_ = book.Claim("a", netip.MustParseAddr("10.0.0.1"), "")
	if book.Claim("a", netip.MustParseAddr("10.0.0.1"), "") {
		t.Error("got one address reserved twice")
	}
}

func TestCooldownDelaysOtherOwners(t *testing.T) {
	now := time.Unix(1000, 0)
	b := ipam.NewAllocator(func() time.Time { return now })
	pool := ipam.Pool{Subnet: netip.MustParsePrefix("10.0.0.0/24"), Cooldown: 30 * time.Second,
		Ranges: []netip.Prefix{netip.MustParsePrefix("10.0.0.8/32"), netip.MustParsePrefix("10.0.0.16/32")}}
	expect := func(owner, want string) {
		t.Helper()
		got, ok := b.Allocate("n", pool, owner)
		if ok != (want != "") || ok && got.String() != want {
			t.Fatalf("%s: got %v, %v, want %q", owner, got, ok, want)
		}
	}

	expect("web", "10.0.0.8")
	b.Release("n", netip.MustParseAddr("10.0.0.8"))
	expect("db", "10.0.0.16") // the lower address cools down
	expect("app", "")
	expect("web", "10.0.0.8") // its own
	b.Release("n", netip.MustParseAddr("10.0.0.8"))

	now = now.Add(29 * time.Second)
	expect("app", "")
	if free := b.FreeRanges("n", pool); len(free) > 0 {
		t.Errorf("got free ranges %v during the cooldown", free)
	}

	now = now.Add(time.Second)
	if free := b.FreeRanges("n", pool); !slices.Equal(free, pool.Ranges[:1]) {
		t.Errorf("got free ranges %v, want %v", free, pool.Ranges[:1])
	}
	expect("app", "10.0.0.8")

	b.Release("n", netip.MustParseAddr("10.0.0.8"))
	if !b.Claim("n", netip.MustParseAddr("10.0.0.8"), "static") {
		t.Error("a static address waits for the cooldown")
	}
}

func TestUsageOfSeveralRanges(t *testing.T) {
	b := ipam.NewAllocator(time.Now)
	pool := ipam.Pool{Subnet: netip.MustParsePrefix("10.0.0.0/24"), Reserved: addrs([]string{"10.0.0.1"}),
		Ranges: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/30"), netip.MustParsePrefix("10.0.0.16/31")}}
	if got := pool.Size(); got != 4 { // without 10.0.0.0 and the gateway
		t.Errorf("got size %d, want 4", got)
	}
	b.Claim("n", netip.MustParseAddr("10.0.0.17"), "")
	b.Claim("n", netip.MustParseAddr("10.0.0.99"), "")
	if got, want := b.Count("n", pool), (ipam.Usage{Used: 5, Free: 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
