// Package ipam allocates addresses and chooses subnets. It performs no I/O.
// The caller stores the allocations and restores them into an Allocator after a restart. Packages
// networks and sandbox call it.
package ipam

import (
	"net/netip"
	"slices"
)

// Pool is a set of addresses for containers.
type Pool struct {
	Subnet   netip.Prefix
	Range    netip.Prefix // the part of Subnet for dynamic addresses; zero: all of it
	Reserved []netip.Addr // never allocated: gateways and auxiliary addresses
}

// LowestFree returns the lowest address that is neither used nor reserved; ok is false if there is
// none. It skips the network address and, for IPv4, the broadcast address, unless the subnet is too
// small to have them.
func (p Pool) LowestFree(used func(netip.Addr) bool) (netip.Addr, bool) {
	from := p.from()
	for a := from.Addr(); a.IsValid() && from.Contains(a); a = a.Next() {
		if !used(a) && !p.excluded(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// from returns the prefix of dynamic addresses.
func (p Pool) from() netip.Prefix {
	if p.Range.IsValid() {
		return p.Range.Masked()
	}
	return p.Subnet.Masked()
}

// Usable reports whether a container can have the address if it is free.
func (p Pool) Usable(a netip.Addr) bool { return !p.excluded(a) }

// Automatic reports whether the address can be allocated dynamically.
func (p Pool) Automatic(a netip.Addr) bool { return p.from().Contains(a) && !p.excluded(a) }

// excluded reports whether containers cannot have the address.
func (p Pool) excluded(a netip.Addr) bool {
	if slices.Contains(p.Reserved, a) || !p.Subnet.Contains(a) {
		return true
	}
	if a.BitLen()-p.Subnet.Bits() < 2 { // /31 and /32 have no network or broadcast address
		return false
	}
	first := a == p.Subnet.Masked().Addr()
	last := a.Is4() && !p.Subnet.Contains(a.Next())
	return first || last
}
