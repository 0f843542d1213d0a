// Package ipam gives out addresses: the lowest free one of a pool, never one twice. It is pure; what is given out is
// remembered durably by whoever asked, and told to the Book again after a restart.
package ipam

import (
	"net/netip"
	"slices"
)

// Pool is where addresses come from.
type Pool struct {
	Subnet   netip.Prefix
	Range    netip.Prefix // the part of Subnet for automatic addresses; not valid means all of it
	Reserved []netip.Addr // never given out: gateways, and what the network's maker has set aside
}

// LowestFree is the lowest address that is neither used nor reserved; false if there is none. The subnet's first address and,
// for IPv4, its last one are never given out, unless the subnet is too small to have such.
func (p Pool) LowestFree(used func(netip.Addr) bool) (netip.Addr, bool) {
	from := p.from()
	for a := from.Addr(); a.IsValid() && from.Contains(a); a = a.Next() {
		if !used(a) && !p.kept(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// from is where automatic addresses come from.
func (p Pool) from() netip.Prefix {
	if p.Range.IsValid() {
		return p.Range.Masked()
	}
	return p.Subnet.Masked()
}

// Usable tells whether a container may have an address, if nobody else has it.
func (p Pool) Usable(a netip.Addr) bool { return !p.kept(a) }

// Automatic tells whether an address may be given to a container that asks for none by number.
func (p Pool) Automatic(a netip.Addr) bool { return p.from().Contains(a) && !p.kept(a) }

// kept tells whether an address is not for containers.
func (p Pool) kept(a netip.Addr) bool {
	if slices.Contains(p.Reserved, a) || !p.Subnet.Contains(a) {
		return true
	}
	if a.BitLen()-p.Subnet.Bits() < 2 { // /31 and /32: all of it is for hosts
		return false
	}
	first := a == p.Subnet.Masked().Addr()
	last := a.Is4() && !p.Subnet.Contains(a.Next())
	return first || last
}
