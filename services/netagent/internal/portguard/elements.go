package portguard

import (
	"net"
	"net/netip"
	"slices"
)

// element is an element of a set, encoded as in the kernel.
type element struct {
	set      string
	key, end string // end is only set in interval sets
}

// Lengths of the parts of a key. Each part starts at a multiple of four.
const (
	nameLen = 16
	macLen  = 8
)

func padded(text string, length int) string {
	b := make([]byte, length)
	copy(b, text)
	return string(b)
}

// LinkLocal returns the link-local address that the kernel derives from a MAC.
func LinkLocal(mac net.HardwareAddr) netip.Addr {
	a := [16]byte{0: 0xfe, 1: 0x80, 11: 0xff, 12: 0xfe}
	copy(a[8:11], mac[:3])
	copy(a[13:], mac[3:6])
	a[8] ^= 2
	return netip.AddrFrom16(a)
}

// sources returns the source addresses of a port. Hosts without an address use the unspecified
// ones, in DHCP requests, duplicate address detection and multicast reports.
func (p Port) sources(mac net.HardwareAddr) []netip.Addr {
	return append(slices.Clone(p.Addresses), netip.IPv4Unspecified(), netip.IPv6Unspecified(), LinkLocal(mac))
}

func elementsOfPort(p Port) []element {
	if p.Name == "" {
		return nil
	}

	name, bridge := padded(p.Name, nameLen), padded(p.Bridge, nameLen)
	out := []element{{set: setPorts, key: name}}
	for _, mac := range p.MACs {
		at := name + padded(string(mac), macLen)
		for _, a := range p.sources(mac) {
			out = append(out, element{set: perFamily(a, setSource4, setSource6), key: at + string(a.AsSlice())})
		}
		for _, n := range disjoint(p.Allowed) {
			out = append(out, interval(perFamily(n.Addr(), setNet4, setNet6), at, n))
		}
	}

	for _, a := range p.Addresses {
		out = append(out, element{set: perFamily(a, setLive4, setLive6), key: bridge + string(a.AsSlice())})
	}

	return unique(out)
}

func elementsOfBridge(b Bridge) []element {
	if b.Name == "" {
		return nil
	}

	name := padded(b.Name, nameLen)
	var out []element
	if b.Internal {
		out = append(out, element{set: setInternal, key: name})
	}

	for _, n := range disjoint(b.Subnets) {
		out = append(out, interval(perFamily(n.Addr(), setSubnet4, setSubnet6), name, n))
	}

	return out
}

func interval(set, before string, n netip.Prefix) element {
	first := n.Masked().Addr()
	last := first.AsSlice()
	for i := n.Bits(); i < first.BitLen(); i++ {
		last[i/8] |= 1 << (7 - i%8)
	}
	return element{set: set, key: before + string(first.AsSlice()), end: before + string(last)}
}

func perFamily(a netip.Addr, four, six string) string {
	if a.Is4() {
		return four
	}
	return six
}

// disjoint returns the prefixes that no other prefix contains, as the kernel accepts no overlaps.
func disjoint(all []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for i, p := range all {
		inAnother := slices.ContainsFunc(all, func(o netip.Prefix) bool {
			return o.Bits() < p.Bits() && o.Contains(p.Addr())
		})
		if !inAnother && !slices.Contains(all[:i], p) {
			out = append(out, p)
		}
	}
	return out
}

func unique(all []element) []element {
	seen := make(map[element]bool, len(all))
	return slices.DeleteFunc(all, func(e element) bool {
		if seen[e] {
			return true
		}
		seen[e] = true
		return false
	})
}
