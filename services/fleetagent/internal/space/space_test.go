package space

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }

func TestDefaultSpaceIsOfTheFleet(t *testing.T) {
	all := Default("0102030405ff00000000000000000000")
	if len(all) != 2 || all[0] != prefix("10.128.0.0/9") || all[1] != prefix("fd01:203:405::/48") {
		t.Errorf("got %v", all)
	}
	if _, err := Parse([]string{all[0].String(), all[1].String()}); err != nil {
		t.Errorf("got error %v", err)
	}
}

func TestVNIAvoidsThoseOfOtherPrograms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vni := VNI(rapid.StringMatching("[0-9a-f]{32}").Draw(t, "fleet"))
		if vni < 8192 || vni >= 1<<24 {
			t.Fatalf("got VNI %d", vni)
		}
	})
}

func TestSpaceIsParsedStrictly(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8": "", "10.0.0.0/8 fd00::/48": "", "10.0.0.0/20": "",
		"ten":                        "is not an address range",
		"10.0.0.1/8":                 "has host bits; use 10.0.0.0/8",
		"10.0.0.0/21":                "is smaller than a subnet",
		"fd00::/65":                  "is smaller than a subnet",
		"127.0.0.0/8":                "cannot be used",
		"224.0.0.0/4":                "cannot be used",
		"10.0.0.0/8 172.16.0.0/12":   "is the second of its address family, after 10.0.0.0/8",
		"::ffff:10.0.0.0/104":        "",
		"fe80::/10 10.128.0.0/9 x/y": "cannot be used",
	} {
		_, err := Parse(strings.Fields(text))
		if text == "::ffff:10.0.0.0/104" {
			want = "has host bits"
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %q", text, err, want)
		}
	}
}

func TestFirstFreeSubnetIsChosen(t *testing.T) {
	for _, c := range []struct {
		space, used, want string
		size              int
	}{
		{"10.128.0.0/9", "", "10.128.0.0/20", 20},
		{"10.128.0.0/9", "10.128.0.0/20", "10.128.16.0/20", 20},
		{"10.128.0.0/9", "10.128.0.5/32 10.128.16.0/24", "10.128.32.0/20", 20},
		{"10.128.0.0/9", "10.128.16.0/20", "10.128.0.0/20", 20},
		{"10.128.0.0/9", "10.0.0.0/8", "", 20},
		{"10.128.0.0/19", "10.128.0.0/20 10.128.16.77/32", "", 20},
		{"255.255.240.0/20", "255.255.255.255/32", "", 20},
		{"fd00::/48", "fd00::/64 fd00:0:0:1::/80", "fd00:0:0:2::/64", 64},
	} {
		var used []netip.Prefix
		for _, text := range strings.Fields(c.used) {
			used = append(used, prefix(text))
		}
		got, ok := Choose(prefix(c.space), c.size, used)
		if ok != (c.want != "") || ok && got != prefix(c.want) {
			t.Errorf("%s next to %s: got %v, %v, want %s", c.space, c.used, got, ok, c.want)
		}
	}
}

func TestChosenSubnetsOverlapNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		space := prefix("10.128.0.0/16")
		var used []netip.Prefix
		for range rapid.IntRange(0, 30).Draw(t, "used") {
			a := netip.AddrFrom4([4]byte{10, 128, rapid.Byte().Draw(t, "a"), rapid.Byte().Draw(t, "b")})
			p, _ := a.Prefix(rapid.IntRange(17, 32).Draw(t, "bits"))
			used = append(used, p)
		}
		got, ok := Choose(space, 20, used)
		for i := range 16 { // every subnet of the space
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 128, byte(i * 16), 0}), 20)
			free := true
			for _, u := range used {
				free = free && !u.Overlaps(p)
			}
			if free {
				if !ok || got != p {
					t.Fatalf("got %v, %v, want the first free %s", got, ok, p)
				}
				return
			}
		}
		if ok {
			t.Fatalf("got %s although nothing is free", got)
		}
	})
}
