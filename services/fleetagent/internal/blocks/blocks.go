// Package blocks decides how the subnet of an overlay network is divided among hosts.
//
// A host claims whole blocks of addresses and gives addresses of its own blocks to its containers,
// so a container starts without asking the store. A block is routed to its host. A static address
// outside of a host's blocks is a block of one address. The package is pure: who owns which block is
// kept in the store. It is used by fleetagent.
package blocks

import (
	"encoding/binary"
	"hash/fnv"
	"math/bits"
	"net/netip"
	"slices"
)

// Claims are the claimed blocks of one subnet. They do not overlap.
type Claims []netip.Prefix

// Len returns the prefix length of the blocks of a subnet. Large subnets have blocks of 64
// addresses, small ones blocks of 16, 8 or single addresses, so that each subnet serves at least 16
// hosts.
func Len(subnet netip.Prefix) int {
	size := subnet.Bits()
	if subnet.Addr().Is6() {
		return max(122, min(128, size+4))
	}
	switch {
	case size <= 18:
		return 26
	case size <= 22:
		return 28
	case size <= 25:
		return 29
	}
	return 32
}

// Free returns an unclaimed block of a subnet. It searches from a start that depends on the host, so
// that hosts which claim at the same time rarely choose the same block. It reports false if all
// blocks are claimed, wholly or in part.
func (c Claims) Free(subnet netip.Prefix, host string) (netip.Prefix, bool) {
	size := Len(subnet)
	count := count(subnet, size)
	taken := c.taken(subnet, size)
	if uint64(len(taken)) >= count {
		return netip.Prefix{}, false
	}

	index := start(host, subnet, count)
	for range uint64(len(taken)) + 1 { // at most len(taken) blocks of these are claimed
		if _, claimed := slices.BinarySearch(taken, index); !claimed {
			return at(subnet, size, index), true
		}
		index = (index + 1) % count
	}
	return netip.Prefix{}, false
}

// taken returns the sorted indexes of the blocks of a subnet that are claimed, wholly or in part.
func (c Claims) taken(subnet netip.Prefix, size int) []uint64 {
	var all []uint64
	for _, p := range c {
		if !subnet.Overlaps(p) || p.Bits() < subnet.Bits() {
			continue
		}
		first := offset(subnet, p.Addr()) >> (p.Addr().BitLen() - size)
		number := uint64(1)
		if p.Bits() < size {
			number = 1 << (size - p.Bits())
		}
		for i := range number {
			all = append(all, first+i)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Conflict returns the claim that a new block overlaps.
func (c Claims) Conflict(block netip.Prefix) (netip.Prefix, bool) {
	i := slices.IndexFunc(c, block.Overlaps)
	if i < 0 {
		return netip.Prefix{}, false
	}
	return c[i], true
}

// Donate divides a block of a host for another host that is short of addresses. It returns the
// largest half of a half of … the block without used addresses, and the blocks that the owner keeps.
// It reports false if no address can be given, and never gives the whole block.
func Donate(block netip.Prefix, used []netip.Addr) (given netip.Prefix, kept []netip.Prefix, ok bool) {
	for block.Bits() < block.Addr().BitLen() {
		low, high := halves(block)
		switch inLow, inHigh := contains(low, used), contains(high, used); {
		case !inHigh:
			return high, append(kept, low), true
		case !inLow:
			return low, append(kept, high), true
		}
		// Both halves are in use. The one with fewer used addresses is divided further.
		if number(low, used) < number(high, used) {
			low, high = high, low
		}
		kept, block = append(kept, low), high
	}
	return netip.Prefix{}, nil, false
}

func halves(p netip.Prefix) (low, high netip.Prefix) {
	size := p.Bits() + 1
	return netip.PrefixFrom(p.Addr(), size), at(p, size, 1)
}

func contains(p netip.Prefix, used []netip.Addr) bool { return slices.ContainsFunc(used, p.Contains) }

func number(p netip.Prefix, used []netip.Addr) (n int) {
	for _, a := range used {
		if p.Contains(a) {
			n++
		}
	}
	return n
}

// count returns the number of blocks of a length in a subnet, at most 2^62.
func count(subnet netip.Prefix, size int) uint64 {
	return 1 << min(62, max(0, size-subnet.Bits()))
}

// start returns the index from which a host searches.
func start(host string, subnet netip.Prefix, count uint64) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(host + "\x00" + subnet.String())) // hash.Hash.Write never fails
	return h.Sum64() % count
}

// offset returns the lower 64 bits of the distance between a subnet's first address and an address.
func offset(subnet netip.Prefix, a netip.Addr) uint64 {
	return low64(a) - low64(subnet.Masked().Addr())
}

func low64(a netip.Addr) uint64 {
	if a.Is4() {
		b := a.As4()
		return uint64(binary.BigEndian.Uint32(b[:]))
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[8:])
}

// at returns the block with an index. The index is shifted to the block's position; in a subnet
// with more than 64 host bits, only the lower 64 bits are used.
func at(subnet netip.Prefix, size int, index uint64) netip.Prefix {
	base := subnet.Masked().Addr()
	if base.Is4() {
		b := base.As4()
		first := binary.BigEndian.Uint32(b[:]) + uint32(index<<(32-size)) // the index is within the subnet
		binary.BigEndian.PutUint32(b[:], first)
		return netip.PrefixFrom(netip.AddrFrom4(b), size)
	}

	b := base.As16()
	shift := 128 - size
	high, low := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	sum, overflow := bits.Add64(low, index<<shift, 0)
	high += overflow
	if shift > 0 && shift < 64 {
		high += index >> (64 - shift)
	}
	binary.BigEndian.PutUint64(b[:8], high)
	binary.BigEndian.PutUint64(b[8:], sum)
	return netip.PrefixFrom(netip.AddrFrom16(b), size)
}
