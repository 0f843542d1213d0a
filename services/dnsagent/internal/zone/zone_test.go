package zone_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/services/dnsagent/internal/zone"
)

func addrs(texts ...string) (all []netip.Addr) {
	for _, s := range texts {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

func member(network, addresses, names string) zone.Member {
	return zone.Member{Network: "id-of-" + network, NetworkName: network,
		Addresses: addrs(strings.Fields(addresses)...), Names: strings.Fields(names)}
}

// town returns a zone of two networks, with containers on one, both or none of them.
func town() *zone.Zone {
	z := &zone.Zone{}
	for _, c := range []zone.Container{
		{Owner: "web", Members: []zone.Member{member("front", "10.1.0.2 fd01::2", "web 0123456789ab www")}},
		{Owner: "db", Members: []zone.Member{member("back", "10.2.0.3", "Db 1123456789ab store")}},
		{Owner: "db2", Members: []zone.Member{member("back", "10.2.0.4", "db2 store")}},
		{Owner: "six", Members: []zone.Member{member("back", "fd02::6", "six")}},
		{Owner: "both", Members: []zone.Member{member("front", "10.1.0.9", "both"), member("back",
			"10.2.0.9 fd02::9", "both alias.with.dots")},
			Aliases: map[string][]string{"MyDB": {"DB"}, "here": {"both.FRONT"}, "any": {"absent", "web.back",
				"six.back", "db"}, "none": {"absent"}}},
		{Owner: "nowhere"},
	} {
		z.Put(c)
	}

	return z
}

func TestLookupFindsNamesOnOwnNetworks(t *testing.T) {
	z := town()
	for _, c := range []struct {
		client, name string
		four, six    string
		known        bool
	}{
		{"web", "web", "10.1.0.2", "fd01::2", true},
		{"web", "www.", "10.1.0.2", "fd01::2", true},
		{"web", "0123456789AB", "10.1.0.2", "fd01::2", true},
		{"web", "WEB.Front", "10.1.0.2", "fd01::2", true},
		{"web", "both", "10.1.0.9", "", true},
		{"web", "db", "", "", false},
		{"web", "db.back", "", "", false},
		{"web", "both.back", "", "", false},
		{"web", "web.front.example.org", "", "", false},
		{"web", "front", "", "", false},
		{"web", ".front", "", "", false},
		{"web", "", "", "", false},
		{"db", "web", "", "", false},
		{"db", "DB", "10.2.0.3", "", true},
		{"db", "six", "", "fd02::6", true},
		{"db", "alias.with.dots", "10.2.0.9", "fd02::9", true},
		{"db", "alias.with.dots.back", "10.2.0.9", "fd02::9", true},
		{"db", "mydb", "", "", false},
		{"both", "mydb", "10.2.0.3", "", true},
		{"both", "here", "10.1.0.9", "", true},
		{"both", "any", "", "fd02::6", true},
		{"both", "none", "", "", false},
		{"both", "both", "10.1.0.9", "fd02::9", true}, // the first network has no IPv6 address
		{"both", "both.back", "10.2.0.9", "fd02::9", true},
		{"nowhere", "web", "", "", false},
		{"unknown", "web", "", "", false},
	} {
		for family, want := range map[string]string{"4": c.four, "6": c.six} {
			is := map[string]func(netip.Addr) bool{"4": netip.Addr.Is4, "6": netip.Addr.Is6}[family]
			got, known := z.Lookup(c.client, c.name, is)
			if known != c.known || fmt.Sprint(got) != fmt.Sprint(addrs(strings.Fields(want)...)) {
				t.Errorf("%s, %q, IPv%s: got %v, %v, want %s, %v", c.client, c.name, family, got, known,
					want, c.known)
			}
		}
	}
}

func TestReverseReturnsFirstName(t *testing.T) {
	z := town()
	for _, c := range []struct{ client, address, want string }{
		{"web", "10.1.0.9", "both.front"}, {"db", "10.2.0.3", "db.back"}, {"both", "fd01::2", "web.front"},
		{"web", "10.2.0.3", ""}, {"web", "10.1.0.77", ""}, {"nowhere", "10.1.0.2", ""}, {"unknown", "10.1.0.2", ""},
	} {
		if got, ok := z.Reverse(c.client, netip.MustParseAddr(c.address)); got != c.want || ok != (c.want != "") {
			t.Errorf("%s, %s: got %q, %v, want %q", c.client, c.address, got, ok, c.want)
		}
	}
}

func TestOtherNetworksNamesAreRegistered(t *testing.T) {
	z := town()
	z.Put(zone.Container{Owner: "plain", Addresses: addrs("172.17.0.2")})
	registered := func() (found []string) {
		for _, name := range []string{
			"db", "STORE.", "0123456789ab", "alias.with.dots", "web.front", "front", "mydb", "absent", "", ".",
		} {
			if z.Registered(name) {
				found = append(found, name)
			}
		}
		for _, a := range addrs("10.2.0.3", "fd02::6", "172.17.0.2", "10.1.0.1", "127.0.0.1") {
			if z.Assigned(a) {
				found = append(found, a.String())
			}
		}
		return found
	}

	if got, want := strings.Join(registered(), " "), "db STORE. 0123456789ab 10.2.0.3 fd02::6 172.17.0.2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}

	z.Remove("db")
	z.Remove("plain")
	if got, want := strings.Join(registered(), " "), "STORE. 0123456789ab fd02::6"; got != want {
		t.Errorf("after removals: got %s, want %s", got, want)
	}

	for _, owner := range []string{"web", "db2", "six", "both", "nowhere"} {
		z.Remove(owner)
	}

	if got := registered(); len(got) > 0 {
		t.Errorf("in an empty zone: got %s", got)
	}
}

func TestLookupShufflesAddresses(t *testing.T) {
	z := town()
	first := map[netip.Addr]bool{}
	for range 200 {
		got, _ := z.Lookup("both", "store", netip.Addr.Is4)
		if len(got) != 2 {
			t.Fatalf("got %v", got)
		}
		first[got[0]] = true
	}
	if len(first) != 2 {
		t.Errorf("first is always %v", first)
	}
}

func TestChangesAreAtomic(t *testing.T) {
	z := town()
	z.Put(zone.Container{Owner: "db", Members: []zone.Member{member("front", "10.1.0.3", "db")}})
	if got, known := z.Lookup("db2", "db", netip.Addr.Is4); known {
		t.Errorf("on the former network: got %v", got)
	}

	if _, known := z.Lookup("db2", "store", netip.Addr.Is4); !known {
		t.Error("shared name was removed")
	}

	if got, ok := z.Reverse("db2", netip.MustParseAddr("10.2.0.3")); ok {
		t.Errorf("former address belongs to %s", got)
	}

	if got, _ := z.Lookup("web", "db", netip.Addr.Is4); len(got) != 1 {
		t.Errorf("on the new network: got %v", got)
	}

	z.Remove("db")
	z.Remove("db")
	if got, known := z.Lookup("web", "db", netip.Addr.Is4); known {
		t.Errorf("removed container: got %v", got)
	}
}

// TestZoneMatchesModel compares the zone, after random changes, with a search of all containers.
func TestZoneMatchesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		z, model := &zone.Zone{}, map[string]zone.Container{}
		owners := []string{"a", "b", "c", "d", "e"}
		names := []string{"web", "db", "x.y", "web.n1", "Db"}
		for range rapid.IntRange(1, 30).Draw(t, "changes") {
			owner := rapid.SampledFrom(owners).Draw(t, "owner")
			if rapid.Bool().Draw(t, "remove") {
				z.Remove(owner)
				delete(model, owner)
				continue
			}
			c := drawContainer(t, owner, names)
			z.Put(c)
			model[owner] = c
		}
		for _, client := range owners {
			for _, name := range append(names, "web.N2", "x.y.n1", "absent", "n1") {
				for _, is := range []func(netip.Addr) bool{netip.Addr.Is4, netip.Addr.Is6} {
					got, known := z.Lookup(client, name, is)
					want, wantKnown := inList(model, client, name, is)
					slices.SortFunc(got, netip.Addr.Compare)
					slices.SortFunc(want, netip.Addr.Compare)
					if known != wantKnown || !slices.Equal(got, want) {
						t.Fatalf("%s, %s: got %v, %v, want %v, %v", client, name, got, known, want, wantKnown)
					}
				}
			}
		}
	})
}

func drawContainer(t *rapid.T, owner string, names []string) zone.Container {
	c := zone.Container{Owner: owner}
	for _, n := range []string{"n1", "n2"} {
		if rapid.Bool().Draw(t, "on "+n) {
			m := zone.Member{Network: n, NetworkName: n, Names: rapid.SliceOfN(rapid.SampledFrom(names),
				0, 3).Draw(t, "names")}
			m.Addresses = rapid.SliceOfNDistinct(rapid.SampledFrom(addrs("10.0.0.1", "10.0.0.2", "fd00::1")),
				0, 3, rapid.ID).Draw(t, "addresses")
			c.Members = append(c.Members, m)
		}
	}
	return c
}

// inList is Lookup by a linear search.
func inList(
	all map[string]zone.Container, client, name string, is func(netip.Addr) bool,
) (found []netip.Addr, known bool) {
	on := func(network, name string) {
		for _, c := range all {
			for _, m := range c.Members {
				if m.Network == network && slices.ContainsFunc(m.Names,
					func(n string) bool { return strings.EqualFold(n, name) }) {
					known = true
					for _, a := range m.Addresses {
						if is(a) {
							found = append(found, a)
						}
					}
				}
			}
		}
	}

	for _, qualified := range []bool{false, true} {
		for _, m := range all[client].Members {
			bare, fits := name, true
			if qualified {
				bare, fits = strings.CutSuffix(strings.ToLower(name), "."+m.NetworkName)
			}
			if fits && len(found) == 0 {
				on(m.Network, bare)
			}
		}
		if known {
			return found, true
		}
	}

	return nil, false
}

func TestZoneConcurrentUse(t *testing.T) {
	z := town()
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 200 {
				owner := fmt.Sprintf("c%d-%d", w, i)
				z.Put(zone.Container{Owner: owner, Members: []zone.Member{member("front", "10.1.1.1", owner)}})
				if got, ok := z.Lookup("web", owner, netip.Addr.Is4); !ok || len(got) != 1 {
					t.Errorf("%s: %v, %v", owner, got, ok)
				}
				if got, _ := z.Lookup("web", "web", netip.Addr.Is4); len(got) != 1 {
					t.Errorf("web: %v", got)
				}
				z.Remove(owner)
			}
		})
	}

	all.Wait()
}

func BenchmarkLookupAmong10000(b *testing.B) {
	z := crowd()
	for b.Loop() {
		if _, ok := z.Lookup("o77", "c4242", netip.Addr.Is4); !ok {
			b.Fatal("not found")
		}
	}
}

func BenchmarkChangeAmong10000(b *testing.B) {
	z := crowd()
	c := zone.Container{Owner: "new", Members: []zone.Member{member("front", "10.1.0.2", "new 0123456789ab alias")}}
	for b.Loop() {
		z.Put(c)
		z.Remove("new")
	}
}

func crowd() *zone.Zone {
	z := &zone.Zone{}
	for i := range 10000 {
		z.Put(zone.Container{Owner: fmt.Sprintf("o%d", i), Members: []zone.Member{member("front",
			fmt.Sprintf("10.1.%d.%d", i/256, i%256), fmt.Sprintf("c%d alias%d", i, i))}})
	}
	return z
}
