// Package blocks decides how the subnet of an overlay network is divided among hosts.
//
// A host claims whole blocks of addresses and gives addresses of its own blocks to its containers,
// so a container starts without asking the store. A block is routed to its host. A static address
// outside of a host's blocks is a block of one address. The package is pure: which host has which
// block is kept in the store. It is used by fleetagent.
package blocks

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"math/big"
	"net/netip"
	"slices"
)

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

// minCap is the number of blocks that every host may have of a subnet.
const minCap = 20

// Cap returns how many blocks one host may claim in a subnet: a quarter, and at least 20. Single
// addresses that were claimed by their number do not count.
func Cap(subnet netip.Prefix) uint64 { return max(minCap, count(subnet, Len(subnet))/4) }

// Claims are blocks of one subnet that cannot be claimed. They may overlap.
type Claims []netip.Prefix

// Free returns an unclaimed block of a subnet that has an address besides the reserved ones. It
// searches from a start that depends on the host, so that hosts which claim at the same time rarely
// choose the same block. It reports false if there is none.
func (c Claims) Free(subnet netip.Prefix, host string, reserved []netip.Addr) (netip.Prefix, bool) {
	size := Len(subnet)
	total := count(subnet, size)
	taken := c.taken(subnet, size)
	for _, a := range reserved {
		if block, _ := a.Prefix(size); subnet.Contains(a) && full(block, reserved) {
			i := index(subnet, size, a)
			taken = append(taken, span{i, i})
		}
	}
	taken = merge(taken)

	i := start(host, subnet, total)
	for range 2 { // up to the end, then from the beginning
		for _, s := range taken {
			if s.first <= i && i <= s.last {
				i = s.last + 1
			}
		}
		if i < total {
			return at(subnet, size, i), true
		}
		i = 0
	}
	return netip.Prefix{}, false
}

// FreeCount returns the number of blocks of a subnet that are not claimed, not even in part.
func (c Claims) FreeCount(subnet netip.Prefix) uint64 {
	size := Len(subnet)
	free := count(subnet, size)
	for _, s := range merge(c.taken(subnet, size)) {
		free -= s.last - s.first + 1
	}
	return free
}

// Conflict returns a claim that a block overlaps.
func (c Claims) Conflict(block netip.Prefix) (netip.Prefix, bool) {
	i := slices.IndexFunc(c, block.Overlaps)
	if i < 0 {
		return netip.Prefix{}, false
	}
	return c[i], true
}

// span is a range of indexes of blocks.
type span struct{ first, last uint64 }

// taken returns the blocks of a subnet that are claimed, wholly or in part.
func (c Claims) taken(subnet netip.Prefix, size int) []span {
	var all []span
	for _, p := range c {
		switch {
		case !subnet.Overlaps(p):
		case p.Bits() <= subnet.Bits():
			all = append(all, span{0, count(subnet, size) - 1})
		default:
			all = append(all, span{index(subnet, size, p.Addr()), index(subnet, size, Last(p))})
		}
	}
	return all
}

// merge sorts spans and joins those that overlap.
func merge(all []span) []span {
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	var merged []span
	for _, s := range all {
		if n := len(merged); n > 0 && s.first <= merged[n-1].last {
			merged[n-1].last = max(merged[n-1].last, s.last)
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// full reports whether all addresses of a small block are reserved.
func full(block netip.Prefix, reserved []netip.Addr) bool {
	number := count(block, block.Addr().BitLen())
	if number > uint64(len(reserved)) {
		return false
	}
	a := block.Addr()
	for range number {
		if !slices.Contains(reserved, a) {
			return false
		}
		a = a.Next()
	}
	return true
}

// Without returns the blocks that remain of a block when a part of it is given away, largest first.
// It reports false if the part is not within the block.
func Without(block, part netip.Prefix) (rest []netip.Prefix, ok bool) {
	if part.Bits() < block.Bits() || !block.Contains(part.Addr()) {
		return nil, false
	}
	for block.Bits() < part.Bits() {
		low, high := netip.PrefixFrom(block.Addr(), block.Bits()+1), at(block, block.Bits()+1, 1)
		if high.Contains(part.Addr()) {
			low, high = high, low
		}
		rest, block = append(rest, high), low
	}
	return rest, true
}

// Enclosing returns the prefixes of a subnet that contain p, p included, from the length of the
// subnet's blocks on: the keys under which another claim could contain p.
func Enclosing(subnet, p netip.Prefix) []netip.Prefix {
	var all []netip.Prefix
	for size := min(Len(subnet), p.Bits()); size <= p.Bits(); size++ {
		outer, _ := p.Addr().Prefix(size)
		all = append(all, outer)
	}
	return all
}

// Last returns the last address of a prefix.
func Last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// count returns the number of prefixes of a length in a prefix, at most 2^62.
func count(p netip.Prefix, size int) uint64 { return 1 << min(62, max(0, size-p.Bits())) }

// start returns the index from which a host searches.
func start(host string, subnet netip.Prefix, total uint64) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(host + "\x00" + subnet.String())) // hash.Hash.Write never fails
	return h.Sum64() % total
}

// number returns an address as a number.
func number(a netip.Addr) *big.Int { return new(big.Int).SetBytes(a.AsSlice()) }

// index returns the index of the block with an address. Indexes of subnets with more than 2^62
// blocks wrap around at 2^62, which is never reached by a search.
func index(subnet netip.Prefix, size int, a netip.Addr) uint64 {
	distance := new(big.Int).Sub(number(a), number(subnet.Masked().Addr()))
	distance.Rsh(distance, uint(a.BitLen()-size)) //nolint:gosec // a prefix length
	return distance.And(distance, big.NewInt(1<<62-1)).Uint64()
}

// at returns the block with an index.
func at(subnet netip.Prefix, size int, i uint64) netip.Prefix {
	base := subnet.Masked().Addr()
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], i)
	sum := new(big.Int).SetBytes(raw[:])
	sum.Lsh(sum, uint(base.BitLen()-size)) //nolint:gosec // a prefix length
	a, _ := netip.AddrFromSlice(sum.Add(sum, number(base)).FillBytes(make([]byte, base.BitLen()/8)))
	return netip.PrefixFrom(a, size)
}
