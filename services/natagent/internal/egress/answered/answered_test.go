package answered_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
)

const ttl = 10 * time.Minute

// addresses returns n addresses.
func addresses(n int) (all []netip.Addr) {
	for i := range n {
		all = append(all, netip.AddrFrom4([4]byte{198, 51, byte(100 + i>>8), byte(i)}))
	}
	return all
}

// answer returns an answer of the embedded name server.
func answer(name string, addresses []netip.Addr, ttl time.Duration) answered.Answer {
	return answered.Answer{Name: name, Addresses: addresses, TTL: ttl}
}

// to returns a function that opens groups for any name.
func to(groups ...int) answered.Groups {
	return func(_ string, rebinds bool) []int {
		if rebinds {
			return nil
		}
		return groups
	}
}

// TestAddressesStayOpenForTTL checks that an address is open as long as a client may keep the last
// answer, and that not every answer changes the kernel.
func TestAddressesStayOpenForTTL(t *testing.T) {
	start, all := time.Unix(1000, 0), addresses(1)
	for after, written := range map[time.Duration]bool{
		0:                       false,
		30 * time.Second:        false,
		31 * time.Second:        true, // a client could connect after the address
		ttl / 2:                 true,
		ttl + time.Minute:       true, // it has just ended
		2*ttl + 2*time.Minute:   true,
		30*time.Second + ttl/20: true,
	} {
		b := answered.NewBook(nil, start)
		first, answerable := b.Learn(answer("a.test.", all, ttl), to(2), start)
		if !maps.Equal(first, map[answered.Open]time.Duration{{Group: 2, Addr: all[0]}: ttl + time.Minute}) ||
			answerable != ttl+30*time.Second {
			t.Fatalf("first answer: got %v, answerable for %v", first, answerable)
		}
		now := start.Add(after)
		again, _ := b.Learn(answer("A.test", all, ttl), to(2), now)
		if (len(again) == 1) != written {
			t.Errorf("after %v: wrote %v, want %v", after, again, written)
		}
		if left := b.Left(now)[answered.Open{Group: 2, Addr: all[0]}]; left < ttl+30*time.Second {
			t.Errorf("after %v: open for %v only", after, left)
		}
	}
}

// TestAnswerable checks that every answer within the returned time finds its addresses open.
func TestAnswerable(t *testing.T) {
	start, all := time.Unix(1000, 0), addresses(2)
	b := answered.NewBook(nil, start)
	b.Learn(answer("a.test", all[:1], time.Hour), to(0), start)
	for _, shorter := range []time.Duration{-time.Second, 0, time.Second, ttl, 365 * 24 * time.Hour} {
		_, answerable := b.Learn(answer("a.test", all, shorter), to(0, 1), start)
		if answerable < min(shorter, 24*time.Hour) {
			t.Errorf("TTL %v: answerable for %v", shorter, answerable)
		}
		for o, left := range b.Left(start) {
			if left < answerable+30*time.Second {
				t.Errorf("TTL %v: %v is open for %v, answerable for %v", shorter, o, left, answerable)
			}
		}
	}
	if _, answerable := b.Learn(answer("other.test", all, ttl), to(), start); answerable != ttl+30*time.Second {
		t.Errorf("a name without rules: answerable for %v", answerable)
	}
}

// TestBookIsBounded checks that addresses beyond the limit are not answerable, and that ended ones make space.
func TestBookIsBounded(t *testing.T) {
	start, all := time.Unix(1000, 0), addresses(5000)
	for name, groups := range map[string][]int{"open": {0}, "names only": nil} {
		b := answered.NewBook(nil, start)
		if write, answerable := b.Learn(answer("a.test", all, ttl), to(groups...), start); len(write) > 4096 ||
			answerable != 0 {
			t.Errorf("%s: wrote %d, answerable for %v", name, len(write), answerable)
		}
		if _, answerable := b.Learn(answer("a.test", all[:4096], ttl), to(groups...),
			start); answerable != ttl+30*time.Second {
			t.Errorf("%s: the first ones are answerable for %v", name, answerable)
		}
		later := start.Add(ttl + 2*time.Minute)
		if _, answerable := b.Learn(answer("b.test", all[4900:], ttl), to(groups...), later); answerable == 0 {
			t.Errorf("%s: no space after the first ones ended", name)
		}
	}
}

// TestAdopt checks what stays open when a policy is replaced: addresses of the same domains, and those that
// were answered for a name in the new rules, also if the old ones did not have it.
func TestAdopt(t *testing.T) {
	start, all := time.Unix(1000, 0), addresses(4)
	b := answered.NewBook(map[answered.Open]time.Duration{{Group: 0, Addr: all[0]}: time.Hour}, start) // no name
	b.Learn(answer("a.test", all[1:2], ttl), to(1), start)
	b.Learn(answer("b.test", all[2:3], ttl), to(), start)
	b.Learn(answer("c.test", all[3:], 0), to(1), start)

	now := start.Add(2 * time.Minute) // c.test has ended
	next := b.Adopt(func(group int) []int { return map[int][]int{0: {5}}[group] },
		func(name string, _ bool) []int {
			return map[string][]int{"a.test": {6, 7}, "b.test": {8},
				"c.test": {9}}[name]
		}, now)
	var got []string
	for o, left := range next.Left(now) {
		got = append(got, fmt.Sprint(o.Group, " ", o.Addr, " ", left))
	}
	slices.Sort(got)
	want := []string{"5 198.51.100.0 58m0s", "6 198.51.100.1 9m0s", "7 198.51.100.1 9m0s", "8 198.51.100.2 9m0s"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if next.Name(all[1]) != "a.test" || next.Name(all[2]) != "b.test" || next.Name(all[3]) != "" {
		t.Errorf("names: got %q, %q, %q", next.Name(all[1]), next.Name(all[2]), next.Name(all[3]))
	}
}

// TestNamesShareAddress checks that all names of an address are known, and open it under another policy.
func TestNamesShareAddress(t *testing.T) {
	start, addr := time.Unix(1000, 0), addresses(1)
	b := answered.NewBook(nil, start)
	for i := range 100 {
		b.Learn(answer(fmt.Sprintf("n%d.test", i), addr, ttl), to(), start)
	}
	b.Learn(answer("n99.test", addr, 0), to(), start) // a shorter TTL does not end it
	if got := b.Names(addr[0], start); len(got) != 64 || got[0] != "n99.test" || got[63] != "n36.test" {
		t.Errorf("got %d names, %q", len(got), got)
	}
	b.Learn(answer("short.test", addr, 0), to(), start)
	none := func(int) []int { return nil }
	next := b.Adopt(none, func(name string, _ bool) []int { return map[string][]int{"n50.test": {3}}[name] }, start)
	if left := next.Left(start)[answered.Open{Group: 3, Addr: addr[0]}]; left != ttl+time.Minute {
		t.Errorf("open for %v under the next policy", left)
	}

	if got := b.Names(addr[0], start.Add(2*time.Minute)); len(got) != 63 || got[0] != "n99.test" {
		t.Errorf("later: got %d names, %q", len(got), got)
	}
	if got := b.Names(addr[0], start.Add(time.Hour)); !slices.Equal(got, []string{"short.test"}) {
		t.Errorf("after their end: got %q", got)
	}
	if got := b.Names(addresses(2)[1], start); !slices.Equal(got, []string{""}) {
		t.Errorf("another address: got %q", got)
	}
}

func TestClone(t *testing.T) {
	start, all := time.Unix(1000, 0), addresses(2)
	b := answered.NewBook(nil, start)
	b.Learn(answer("a.test", all[:1], ttl), to(0), start)
	c := b.Clone()
	b.Learn(answer("b.test", all, ttl), to(0), start)
	if c.Name(all[0]) != "a.test" || !c.Has(answered.Open{Addr: all[0]}) || c.Has(answered.Open{Addr: all[1]}) {
		t.Error("a copy changed with its original")
	}
}

// TestPrivateAddressesOfNames checks addresses that the owner of a name chooses among private ones: they open nothing,
// also under a later policy, and have the name in records.
func TestPrivateAddressesOfNames(t *testing.T) {
	start := time.Unix(1000, 0)
	public := netip.MustParseAddr("198.51.100.1")
	for text, rebinds := range map[string]bool{"10.1.1.1": true, "169.254.169.254": true, "fd00::1": true,
		"fe80::1": true, "127.0.0.1": true, "::1": true, "198.51.100.2": false, "2001:db8::1": false} {
		for _, upstream := range []bool{false, true} {
			b, private := answered.NewBook(nil, start), netip.MustParseAddr(text)
			a := answered.Answer{Name: "a.test", Addresses: []netip.Addr{private, public}, TTL: ttl, Upstream: upstream}
			write, answerable := b.Learn(a, to(0), start)
			next := b.Adopt(func(int) []int { return nil }, to(3), start)
			want := !upstream || !rebinds
			for when, open := range map[string]bool{"now": write[answered.Open{Addr: private}] > 0,
				"under the next policy": next.Left(start)[answered.Open{Group: 3, Addr: private}] > 0} {
				if open != want {
					t.Errorf("%s, of another server %v, %s: open %v, want %v", text, upstream, when, open, want)
				}
			}
			if write[answered.Open{Addr: public}] == 0 || answerable != ttl+30*time.Second ||
				next.Name(private) != "a.test" {
				t.Errorf("%s: got %v, answerable for %v, name %q", text, write, answerable, next.Name(private))
			}
		}
	}
}
