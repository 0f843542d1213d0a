// Package space chooses the subnets of overlay networks from the address space of a fleet.
//
// It is pure: the caller knows which prefixes are in use. It is used by fleetagent.
package space

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
)

// Lengths of the subnets that are chosen.
const (
	Len4 = 20
	Len6 = 64
)

// The usual IPv4 space, and the length of the IPv6 one.
const (
	usual4 = "10.128.0.0/9"
	ulaLen = 48
)

// Default returns the address space of a fleet that was given none: 10.128.0.0/9, and a unique local
// IPv6 prefix (RFC 4193) whose 40 random bits are those of the fleet's ID.
func Default(fleet string) []netip.Prefix {
	id, _ := hex.DecodeString(fleet) // IDs are hexadecimal
	var b [16]byte
	b[0] = 0xfd
	copy(b[1:6], id)
	return []netip.Prefix{netip.MustParsePrefix(usual4), netip.PrefixFrom(netip.AddrFrom16(b), ulaLen)}
}

// Complete returns an address space, with the default of each address family that it does not have,
// as texts.
func Complete(given []netip.Prefix, fleet string) []string {
	var all []string
	for _, p := range given {
		all = append(all, p.String())
	}
	for _, usual := range Default(fleet) {
		if !slices.ContainsFunc(given, func(p netip.Prefix) bool { return p.Addr().Is4() == usual.Addr().Is4() }) {
			all = append(all, usual.String())
		}
	}
	return all
}

// Parse reads an address space: at most one prefix of each address family.
func Parse(texts []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, invalid(text, "is not an address range such as 10.128.0.0/9")
		}
		size := Len4
		if p.Addr().Is6() {
			size = Len6
		}
		switch {
		case p.Addr().Is4In6(), p != p.Masked():
			return nil, invalid(text, "has host bits; use %s", p.Masked())
		case p.Bits() > size:
			return nil, invalid(text, "is smaller than a subnet; use a prefix of at most %d bits", size)
		case p.Addr().IsMulticast(), p.Addr().IsLoopback(), p.Addr().IsLinkLocalUnicast(), p.Addr().IsUnspecified():
			return nil, invalid(text, "cannot be used for containers")
		}
		for _, other := range all {
			if other.Addr().Is4() == p.Addr().Is4() {
				return nil, invalid(text, "is the second of its address family, after %s", other)
			}
		}
		all = append(all, p)
	}
	return all, nil
}

func invalid(text, format string, args ...any) error {
	return fault.New(fault.Invalid, "address space "+text, fmt.Sprintf(format, args...))
}

// Choose returns the first subnet of a length in a space that overlaps none of the prefixes in use.
// It reports false if there is none.
func Choose(space netip.Prefix, size int, used []netip.Prefix) (netip.Prefix, bool) {
	if space.Bits() > size {
		return netip.Prefix{}, false
	}
	var within []netip.Prefix
	for _, u := range used {
		if u.Overlaps(space) {
			within = append(within, u)
		}
	}
	slices.SortFunc(within, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})

	at := netip.PrefixFrom(space.Addr(), size)
	for _, u := range within { // sorted, so at only moves up
		for u.Overlaps(at) {
			next, ok := after(larger(u, at))
			if !ok || !space.Contains(next) {
				return netip.Prefix{}, false
			}
			at = netip.PrefixFrom(next, size)
		}
	}
	return at, true
}

func larger(a, b netip.Prefix) netip.Prefix {
	if a.Bits() < b.Bits() {
		return a
	}
	return b
}

// after returns the first address behind a prefix. It reports false if there is none.
func after(p netip.Prefix) (netip.Addr, bool) {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits() - 1; i >= 0; i-- {
		bit := byte(1) << (7 - i%8)
		b[i/8] ^= bit
		if b[i/8]&bit != 0 {
			a, ok := netip.AddrFromSlice(b)
			return a, ok
		}
	}
	return netip.Addr{}, false
}

// VNI returns the VXLAN network identifier of a fleet: 24 bits of its ID, but never below 8192, where
// the values of other programs are (1: flannel, 4096: Docker and Calico).
func VNI(fleet string) uint32 {
	id, _ := hex.DecodeString(fleet)
	const least, most = 8192, 1<<24 - 1
	n := uint32(0)
	for _, b := range id[:min(len(id), 4)] {
		n = n<<8 | uint32(b)
	}
	return least + n%(most-least+1)
}
