package port_test

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/port"
)

func TestSourcesAreRead(t *testing.T) {
	for want, texts := range map[port.Sources][]string{
		"":                        nil,
		"10.0.0.0/8":              {"10.1.0.0/16", "10.0.0.0/8", "10.0.0.0/8"},
		"10.9.9.9/32,fd00::/8":    {"fd00::/8", "10.9.9.9"},
		"0.0.0.0/0":               {"0.0.0.0/0", "192.168.8.0/24"},
		"10.0.0.0/9,10.128.0.0/9": {"10.128.0.0/9", "10.0.0.0/9"},
	} {
		if got, err := port.ParseSources(texts); err != nil || got != want {
			t.Errorf("Parse(%v) = %q, %v; want %q", texts, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"10.1.0.0/8":          `invalid source "10.1.0.0/8": it should be 10.0.0.0/8`,
		"lan":                 `invalid source "lan": it should be a network such as 10.0.0.0/8, or an address`,
		"":                    `invalid source "": it should be a network such as 10.0.0.0/8, or an address`,
		"::ffff:10.0.0.0/104": `invalid source "::ffff:10.0.0.0/104": it should be a network such as 10.0.0.0/8, or an address`,
		"fe80::1%eth0":        `invalid source "fe80::1%eth0": it should be a network such as 10.0.0.0/8, or an address`,
	} {
		if _, err := port.ParseSources([]string{text}); err == nil || err.Error() != want {
			t.Errorf("Parse(%q): %v; want %s", text, err, want)
		}
	}
}

func TestASetIsSplitByFamily(t *testing.T) {
	v4, v6 := netip.MustParseAddr("1.2.3.4"), netip.MustParseAddr("::1")
	for _, row := range []struct {
		set      port.Sources
		v4, v6   port.Sources
		ok4, ok6 bool
	}{
		{"", "", "", true, true},
		{"10.0.0.0/8", "10.0.0.0/8", "", true, false},
		{"0.0.0.0/0,fd00::/8", "", "fd00::/8", true, true},
	} {
		got4, ok4 := row.set.ForFamily(v4)
		got6, ok6 := row.set.ForFamily(v6)
		if got4 != row.v4 || got6 != row.v6 || ok4 != row.ok4 || ok6 != row.ok6 {
			t.Errorf("%q: %q %v, %q %v", row.set, got4, ok4, got6, ok6)
		}
	}
}

func TestEitherOfTwoSets(t *testing.T) {
	for _, row := range [][3]port.Sources{
		{"", "10.0.0.0/8", ""},
		{"10.0.0.0/8", "", ""},
		{"10.1.0.0/16,fd00::/8", "10.0.0.0/8", "10.0.0.0/8,fd00::/8"},
		{"10.2.0.0/16", "10.1.0.0/16", "10.1.0.0/16,10.2.0.0/16"},
	} {
		if got := row[0].Union(row[1]); got != row[2] {
			t.Errorf("%q or %q is %q, want %q", row[0], row[1], got, row[2])
		}
	}
}

// TestASetHasTheAddressesOfItsNetworks: however they overlap, and read back it is the same.
func TestASetHasTheAddressesOfItsNetworks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var texts []string
		var all []netip.Prefix
		for range rapid.IntRange(1, 6).Draw(t, "networks") {
			a := netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 3).Draw(t, "b")),
				byte(rapid.IntRange(0, 255).Draw(t, "c")), 0})
			p := netip.PrefixFrom(a, rapid.IntRange(8, 24).Draw(t, "bits")).Masked()
			texts, all = append(texts, p.String()), append(all, p)
		}
		s, err := port.ParseSources(texts)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := port.ParseSources(s.Strings()); err != nil || again != s {
			t.Fatalf("%q is read as %q, %v", s, again, err)
		}
		a := netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 3).Draw(t, "x")),
			byte(rapid.IntRange(0, 255).Draw(t, "y")), 9})
		if want := slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(a) }); s.Contains(a) != want {
			t.Fatalf("%q contains %s: %v, want %v", s, a, !want, want)
		}
	})
}
