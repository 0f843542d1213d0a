// Package ipam allocates addresses and chooses subnets. It performs no I/O.
// The caller stores the allocations and restores them into an Allocator after a restart. Packages
// networks and sandbox call it.
package ipam

import (
	"net/netip"
	"slices"
	"time"
)

// Pool is a set of addresses for containers.
type Pool struct {
	Subnet netip.Prefix
	// Ranges are the parts of Subnet for dynamic addresses, in order of preference. They must not
	// overlap. Nil means all of Subnet, empty means none of it.
	Ranges   []netip.Prefix
	Reserved []netip.Addr // never allocated: gateways and auxiliary addresses
	// Cooldown is the time before another owner gets a released dynamic address, because other hosts
	// may still send traffic for the former owner to it. 0 means none.
	Cooldown time.Duration
}

// LowestFree returns the lowest address of the first range that has one which is neither used nor
// reserved; ok is false if there is none. It skips the network address and, for IPv4, the broadcast
// address, unless the subnet is too small to have them.
func (p Pool) LowestFree(used func(netip.Addr) bool) (netip.Addr, bool) {
	for _, from := range p.ranges() {
		for a := from.Addr(); a.IsValid() && from.Contains(a); a = a.Next() {
			if !used(a) && !p.excluded(a) {
				return a, true
			}
		}
	}
	return netip.Addr{}, false
}

// ranges returns the prefixes of dynamic addresses.
func (p Pool) ranges() []netip.Prefix {
	if p.Ranges == nil {
		return []netip.Prefix{p.Subnet.Masked()}
	}
	out := make([]netip.Prefix, len(p.Ranges))
	for i, r := range p.Ranges {
		out[i] = r.Masked()
	}
	return out
}

// inRanges reports whether an address is in a range of dynamic addresses.
func (p Pool) inRanges(a netip.Addr) bool {
	if p.Ranges == nil {
		return p.Subnet.Contains(a)
	}
	return slices.ContainsFunc(p.Ranges, func(r netip.Prefix) bool { return r.Contains(a) })
}

// Usable reports whether a container can have the address if it is free.
func (p Pool) Usable(a netip.Addr) bool { return !p.excluded(a) }

// Automatic reports whether the address can be allocated dynamically.
func (p Pool) Automatic(a netip.Addr) bool { return p.inRanges(a) && !p.excluded(a) }

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
