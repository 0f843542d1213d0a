package nftables

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Registers. Longer values than 4 bytes span several 32-bit registers. The 16-byte registers 1 to 4
// and the 32-bit ones from 8 on share their memory. The kernel reports a 32-bit register at the
// start of a 16-byte one by the latter's number. The same is written here, so that rules can be
// compared.
const (
	reg1 = unix.NFT_REG_1
	reg2 = unix.NFT_REG_2
)

// statusDNAT is the conntrack status bit IPS_DST_NAT.
const statusDNAT = 1 << 5

// word returns the number of the n-th 32-bit register.
func word(n uint32) uint32 {
	if n%4 == 0 {
		return reg1 + n/4
	}
	return unix.NFT_REG32_00 + n
}

// join concatenates expressions.
func join(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func one(e expr.Any) []expr.Any { return []expr.Any{e} }

func load(key expr.MetaKey, reg uint32) expr.Any { return &expr.Meta{Key: key, Register: reg} }

func equal(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: data} }

func differ(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: data} }

// family holds the header offsets and sets of IPv4 or IPv6.
type family struct {
	proto, icmpProto byte
	saddr, daddr     uint32 // offsets
	length           uint32
	address          nftables.SetDatatype

	setNames
}

func ipv4() family {
	return family{unix.NFPROTO_IPV4, unix.IPPROTO_ICMP, 12, 16, 4, nftables.TypeIPAddr, setNames4()}
}

func ipv6() family {
	return family{unix.NFPROTO_IPV6, unix.IPPROTO_ICMPV6, 8, 24, 16, nftables.TypeIP6Addr, setNames6()}
}

// only matches packets of the family, which is required before lookups in an inet table.
func (f family) only() []expr.Any {
	return []expr.Any{load(expr.MetaKeyNFPROTO, reg1), equal([]byte{f.proto})}
}

// load loads an address of the packet.
func (f family) load(offset, reg uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.length}
}

// within matches an address of the packet against a prefix.
func (f family) within(offset uint32, p netip.Prefix) []expr.Any {
	bytes := uint32(p.Bits() / 8)
	return join(f.only(), []expr.Any{
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: bytes},
		equal(p.Addr().AsSlice()[:bytes]),
	})
}

// in looks up the value in register 1.
func in(set string) []expr.Any { return one(&expr.Lookup{SourceRegister: reg1, SetName: set}) }

func notIn(set string) []expr.Any {
	return one(&expr.Lookup{SourceRegister: reg1, SetName: set, Invert: true})
}

func ifaceIn(key expr.MetaKey, set string) []expr.Any {
	return join(one(load(key, reg1)), in(set))
}

func ifaceNotIn(key expr.MetaKey, set string) []expr.Any {
	return join(one(load(key, reg1)), notIn(set))
}

// ifaceIsNot matches all interfaces except one.
func ifaceIsNot(key expr.MetaKey, name string) []expr.Any {
	return []expr.Any{load(key, reg1), differ(ifname(name))}
}

// ct matches if any of the bits is set.
func ct(key expr.CtKey, bits uint32) []expr.Any {
	mask := binary.NativeEndian.AppendUint32(nil, bits)
	zero := make([]byte, 4)
	return []expr.Any{
		&expr.Ct{Key: key, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: mask, Xor: zero},
		differ(zero),
	}
}

// toLocal matches packets to the host's own addresses.
func toLocal() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: reg1, FlagDADDR: true, ResultADDRTYPE: true},
		equal(binary.NativeEndian.AppendUint32(nil, unix.RTN_LOCAL)),
	}
}

func verdict(kind expr.VerdictKind, chain string) []expr.Any {
	return one(&expr.Verdict{Kind: kind, Chain: chain})
}

// accept accepts packets without counting them. It is for packets of known connections.
func accept() []expr.Any { return verdict(expr.VerdictAccept, "") }

// acceptNew counts and accepts packets. Only the first packets of a connection get there.
func acceptNew() []expr.Any { return join(count(), accept()) }

// drop counts and drops packets.
func drop() []expr.Any { return join(count(), verdict(expr.VerdictDrop, "")) }

// count counts packets and bytes.
func count() []expr.Any { return one(&expr.Counter{}) }

// masquerade randomizes source ports, as otherwise two simultaneous connections could pick the same
// port and one would stall.
func masquerade() []expr.Any { return join(count(), one(&expr.Masq{FullyRandom: true})) }

// key loads the destination of a packet (address, or protocol and port, or both) from register 1
// on. next is the first free 32-bit register.
func (f family) key(address, port bool) (out []expr.Any, next uint32) {
	if address {
		out, next = one(f.load(f.daddr, reg1)), f.length/4
	}
	if port {
		out = append(out, load(expr.MetaKeyL4PROTO, word(next)),
			&expr.Payload{DestRegister: word(next + 1), Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2})
		next += 2
	}
	return out, next
}

// restrictSources drops packets whose key is in the set restricted, unless the key with the source is
// in allowed. It ignores packets of the host itself, which have no input interface.
func (f family) restrictSources(restricted, allowed string, address, port bool) []expr.Any {
	key, next := f.key(address, port)
	return join(ifaceIsNot(expr.MetaKeyIIFNAME, ""), f.only(), key, in(restricted),
		key, one(f.load(f.saddr, word(next))), notIn(allowed), drop())
}

// acceptDirect accepts packets to an address, protocol and port in a set.
func (f family) acceptDirect(set string) []expr.Any {
	key, _ := f.key(true, true)
	return join(f.only(), key, in(set), acceptNew())
}

// toSubnet loads the output bridge and the destination of a packet.
func (f family) toSubnet() []expr.Any {
	return []expr.Any{load(expr.MetaKeyOIFNAME, reg1), f.load(f.daddr, reg2)}
}

// isolateBridges drops packets from our bridges, unless the set has their output bridge and
// destination subnet.
func (f family) isolateBridges(set string) []expr.Any {
	return join(ifaceIn(expr.MetaKeyIIFNAME, setBridges), f.only(), f.toSubnet(), notIn(set), drop())
}

// acceptSubnet accepts packets to an output bridge and destination subnet in a set.
func (f family) acceptSubnet(set string) []expr.Any {
	return join(f.only(), f.toSubnet(), in(set), acceptNew())
}

// acceptICMP accepts ICMP to an output bridge and destination subnet in a set.
func (f family) acceptICMP(set string) []expr.Any {
	return join(f.only(), one(load(expr.MetaKeyL4PROTO, reg1)), one(equal([]byte{f.icmpProto})), f.toSubnet(), in(set),
		acceptNew())
}

// dnatPort looks up protocol and port, with exact also the address, and translates to the result.
func (f family) dnatPort(set string, exact bool) []expr.Any {
	key, _ := f.key(exact, true)
	return join(f.only(), key, lookUp(set), count(), one(&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(f.proto),
		RegAddrMin: reg1, RegProtoMin: word(f.length / 4), RegAddrMax: reg1, RegProtoMax: word(f.length / 4),
		Specified: true}))
}

// dnatPorts looks up protocol and port, with exact also the address, in a map of port ranges, and
// translates the address only.
func (f family) dnatPorts(set string, exact bool) []expr.Any {
	key, _ := f.key(exact, true)
	return join(f.only(), key, f.translate(set, expr.NATTypeDestNAT))
}

// dnatHost looks up the address and translates to the result, for all protocols.
func (f family) dnatHost(set string) []expr.Any {
	return join(f.only(), one(f.load(f.daddr, reg1)), f.translate(set, expr.NATTypeDestNAT))
}

// snatEgress looks up the source of packets that leave to other interfaces than our bridges, and
// sets their source to the result.
func (f family) snatEgress(set string) []expr.Any {
	return join(ifaceNotIn(expr.MetaKeyOIFNAME, setBridges), f.only(), one(f.load(f.saddr, reg1)),
		f.translate(set, expr.NATTypeSourceNAT))
}

// masqueradeEgress masquerades packets of the subnets in a set that leave to other interfaces than
// our bridges.
func (f family) masqueradeEgress(set string) []expr.Any {
	return join(f.only(), one(f.load(f.saddr, reg1)), in(set), ifaceNotIn(expr.MetaKeyOIFNAME, setBridges),
		masquerade())
}

// masqueradeHairpin masquerades packets with DNAT that return to the bridge and subnet they came
// from.
func (f family) masqueradeHairpin(set string) []expr.Any {
	return join(ct(expr.CtKeySTATUS, statusDNAT), f.only(), one(load(expr.MetaKeyOIFNAME, reg1)),
		one(f.load(f.saddr, reg2)), in(set), masquerade())
}

// masqueradeGateway masquerades packets with DNAT from a network that were sent to an address of the same
// network, which the host has. destination is the conntrack key of the destination before DNAT.
func (f family) masqueradeGateway(destination expr.CtKey) []expr.Any {
	return join(ct(expr.CtKeySTATUS, statusDNAT), f.only(), one(f.load(f.saddr, reg1)),
		one(&expr.Ct{Key: destination, Register: word(f.length / 4)}), in(f.gateway), masquerade())
}

// translate looks up an address with the key in register 1 and translates to it.
func (f family) translate(set string, kind expr.NATType) []expr.Any {
	return join(lookUp(set), count(), one(&expr.NAT{Type: kind, Family: uint32(f.proto), RegAddrMin: reg1,
		RegAddrMax: reg1}))
}

// lookUp replaces the key in register 1 by its value in a map. Packets without a value do not match.
func lookUp(set string) []expr.Any {
	return one(&expr.Lookup{SourceRegister: reg1, SetName: set, DestRegister: reg1, IsDestRegSet: true})
}

// ifname encodes an interface name for comparison in the kernel.
func ifname(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}
