package hostport_test

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/hostport"
)

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range texts {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestAllAddressesExcludeTheirFamily(t *testing.T) {
	for _, row := range []struct {
		has, asks string
		taken     bool
	}{
		{"0.0.0.0", "0.0.0.0", true}, {"0.0.0.0", "10.0.0.1", true}, {"10.0.0.1", "0.0.0.0", true},
		{"10.0.0.1", "10.0.0.1", true},
		{"10.0.0.1", "10.0.0.2", false}, {"0.0.0.0", "::", false}, {"::", "::1", true}, {"::1", "::", true},
		{"::", "10.0.0.1", false},
	} {
		l := hostport.NewAllocator()
		l.Add("o", "web", port.TCP, netip.MustParseAddr(row.has), 80)
		h, taken := l.HolderOf(port.TCP, netip.MustParseAddr(row.asks), 80)
		if taken != row.taken || taken && h.Name != "web" {
			t.Errorf("%s allocated, %s requested: %v, %v; want %v", row.has, row.asks, h, taken, row.taken)
		}
		if _, taken := l.HolderOf(port.UDP, netip.MustParseAddr(row.asks), 80); taken {
			t.Error("a TCP port is allocated for UDP")
		}
	}
}

func TestNextWrapsOnce(t *testing.T) {
	l, r, any := hostport.NewAllocator(), port.Range{First: 10, Last: 14}, addrs("0.0.0.0")
	next := func() []uint16 { return slices.Collect(l.Next(port.TCP, any, r)) }
	if got := next(); !slices.Equal(got, []uint16{10, 11, 12, 13, 14}) {
		t.Errorf("first: %v", got)
	}

	l.Add("o", "", port.TCP, any[0], 12)
	l.MarkUsed(port.TCP, any, 12)
	if got := next(); !slices.Equal(got, []uint16{13, 14, 10, 11}) {
		t.Errorf("after 12 %v", got)
	}

	l.MarkUsed(port.TCP, any, 14)
	if got := next(); !slices.Equal(got, []uint16{10, 11, 13, 14}) {
		t.Errorf("after the last %v", got)
	}

	l.MarkUsed(port.TCP, any, 40000) // the range has changed
	if got := next(); got[0] != 10 {
		t.Errorf("after a port of another range %v", got)
	}
	if got := slices.Collect(l.Next(port.UDP, any, r)); got[0] != 10 {
		t.Errorf("UDP continues after a TCP port: %v", got)
	}
	if got := slices.Collect(l.Free(port.TCP, any, port.Range{First: 65534, Last: 65535})); len(got) != 2 {
		t.Errorf("the highest ports: %v", got)
	}
}

// TestAllocatorMatchesModel compares the allocator with a list.
func TestAllocatorMatchesModel(t *testing.T) {
	type entry struct {
		owner string
		proto port.Protocol
		ip    netip.Addr
		port  uint16
	}

	draw := rapid.Custom(func(t *rapid.T) entry {
		return entry{rapid.SampledFrom([]string{"a", "b"}).Draw(t, "owner"),
			rapid.SampledFrom([]port.Protocol{"tcp", "udp"}).Draw(t, "proto"),
			rapid.SampledFrom(addrs("0.0.0.0", "10.0.0.1", "10.0.0.2", "::", "::1")).Draw(t, "ip"),
			rapid.Uint16Range(80, 83).Draw(t, "port")}
	})

	rapid.Check(t, func(t *rapid.T) {
		l, list := hostport.NewAllocator(), []entry{}
		excluded := func(e entry) bool {
			return slices.ContainsFunc(list, func(o entry) bool {
				return o.proto == e.proto && o.port == e.port && port.Overlap(o.ip, e.ip)
			})
		}
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				e := draw.Draw(t, "entry")
				if !excluded(e) {
					l.Add(e.owner, e.owner, e.proto, e.ip, e.port)
					list = append(list, e)
				}
			},
			"give": func(t *rapid.T) {
				e := draw.Draw(t, "entry")
				l.Remove(e.owner, e.proto, e.ip, e.port)
				list = slices.DeleteFunc(list, func(o entry) bool { return o == e })
			},
			"": func(t *rapid.T) {
				e := draw.Draw(t, "asked")
				if _, taken := l.HolderOf(e.proto, e.ip, e.port); taken != excluded(e) {
					t.Fatalf("%v: taken %v, want %v", e, taken, !taken)
				}
				free := slices.Contains(slices.Collect(l.Free(e.proto, []netip.Addr{e.ip},
					port.Range{First: 80, Last: 83})), e.port)
				if free == excluded(e) {
					t.Fatalf("%v: free %v", e, free)
				}
			},
		})
	})
}

func TestParseDynamicRejectsInvalid(t *testing.T) {
	for _, row := range [][2]string{{"", ""}, {"1", ""}, {"1 2 3", ""}, {"5 4", ""}, {"1 70000", ""}, {"1 2", "x"},
		{"1 2", "3-"}, {"1 2", "1,,2"}} {
		if _, err := hostport.ParseDynamic(row[0], row[1]); err == nil {
			t.Errorf("%q is accepted", row)
		}
	}
}

func FuzzParseDynamic(f *testing.F) {
	f.Add("32768\t60999\n", "\n")
	f.Add("1 65535", "80,90-95\n")
	f.Fuzz(func(t *testing.T, r, reserved string) {
		d, err := hostport.ParseDynamic(r, reserved)
		if err == nil && d.Range.First > d.Range.Last {
			t.Errorf("%q gave %v", r, d.Range)
		}
		_ = d.Reserved(80)
	})
}
