package nftables

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Registers. A value longer than 4 bytes takes several 32-bit ones; the 16-byte registers 1 to 4 and the 32-bit ones from 8
// on are the same memory. The kernel reports a 32-bit register that starts a 16-byte one under the latter's number, so these
// are written so too; else every read-back would differ.
const (
	reg1 = unix.NFT_REG_1
	reg2 = unix.NFT_REG_2
)

// statusDNAT is the connection tracker's bit for "the destination was translated" (IPS_DST_NAT).
const statusDNAT = 1 << 5

// word is the number of the n-th 32-bit register.
func word(n uint32) uint32 {
	if n%4 == 0 {
		return reg1 + n/4
	}
	return unix.NFT_REG32_00 + n
}

// rule joins the parts of a rule.
func rule(parts ...[]expr.Any) []expr.Any {
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

// family is where things are in the headers of IPv4 or IPv6.
type family struct {
	proto        byte
	saddr, daddr uint32 // offsets
	length       uint32
}

func ipv4() family { return family{unix.NFPROTO_IPV4, 12, 16, 4} }
func ipv6() family { return family{unix.NFPROTO_IPV6, 8, 24, 16} }

// only matches packets of the family. In an inet table nothing else keeps a lookup from seeing the other one.
func (f family) only() []expr.Any {
	return []expr.Any{load(expr.MetaKeyNFPROTO, reg1), equal([]byte{f.proto})}
}

func (f family) address(offset, reg uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.length}
}

// within matches an address of the packet against a prefix.
func (f family) within(offset uint32, p netip.Prefix) []expr.Any {
	bytes := uint32(p.Bits() / 8)
	return rule(f.only(), []expr.Any{
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: bytes},
		equal(p.Addr().AsSlice()[:bytes]),
	})
}

// in looks up what is loaded from register 1 on.
func in(set string) []expr.Any { return one(&expr.Lookup{SourceRegister: reg1, SetName: set}) }

func notIn(set string) []expr.Any {
	return one(&expr.Lookup{SourceRegister: reg1, SetName: set, Invert: true})
}

func ifaceIn(key expr.MetaKey, set string) []expr.Any {
	return rule(one(load(key, reg1)), in(set))
}

func ifaceNotIn(key expr.MetaKey, set string) []expr.Any {
	return rule(one(load(key, reg1)), notIn(set))
}

// ifaceIsNot matches all interfaces but one.
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

// toLocal matches what is addressed to the host itself.
func toLocal() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: reg1, FlagDADDR: true, ResultADDRTYPE: true},
		equal(binary.NativeEndian.AppendUint32(nil, unix.RTN_LOCAL)),
	}
}

func verdict(kind expr.VerdictKind, chain string) []expr.Any {
	return one(&expr.Verdict{Kind: kind, Chain: chain})
}

func accept() []expr.Any { return verdict(expr.VerdictAccept, "") }
func drop() []expr.Any   { return verdict(expr.VerdictDrop, "") }

// masquerade takes a random source port: two connections that start at the same moment would else choose the same and one
// of them would stall.
func masquerade() []expr.Any { return one(&expr.Masq{FullyRandom: true}) }

// key loads what a packet is addressed to, the address, protocol and port or one of these, from register 1 on. next is the number of
// the first 32-bit register that is free then.
func (f family) key(address, port bool) (out []expr.Any, next uint32) {
	if address {
		out, next = one(f.address(f.daddr, reg1)), f.length/4
	}
	if port {
		out = append(out, load(expr.MetaKeyL4PROTO, word(next)),
			&expr.Payload{DestRegister: word(next + 1), Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2})
		next += 2
	}
	return out, next
}

// restrictSources drops what came in by an interface for a key that is in the set limited, unless the key with the source is in from. What
// the host itself sends has come in by none.
func (f family) restrictSources(limited, from string, address, port bool) []expr.Any {
	key, next := f.key(address, port)
	return rule(ifaceIsNot(expr.MetaKeyIIFNAME, ""), f.only(), key, in(limited),
		key, one(f.address(f.saddr, word(next))), notIn(from), drop())
}

// acceptDirect lets through what is addressed to an address, protocol and port in a set.
func (f family) acceptDirect(set string) []expr.Any {
	key, _ := f.key(true, true)
	return rule(f.only(), key, in(set), accept())
}

// isolateBridges drops what comes from one of our bridges, unless it is for what is in a set of bridges with subnets.
func (f family) isolateBridges(set string) []expr.Any {
	return rule(ifaceIn(expr.MetaKeyIIFNAME, setBridge), f.only(), one(load(expr.MetaKeyOIFNAME, reg1)),
		one(f.address(f.daddr, reg2)), notIn(set), drop())
}

// acceptICMP lets ICMP through to what is in a set of bridges with subnets.
func (f family) acceptICMP(set string, proto byte) []expr.Any {
	return rule(f.only(), one(load(expr.MetaKeyL4PROTO, reg1)), one(equal([]byte{proto})),
		one(load(expr.MetaKeyOIFNAME, reg1)), one(f.address(f.daddr, reg2)), in(set), accept())
}

// dnat looks up protocol and port, and with exact the address too, and translates to what it finds.
func (f family) dnat(set string, exact bool) []expr.Any {
	key, _ := f.key(exact, true)
	return rule(f.only(), key, []expr.Any{
		&expr.Lookup{SourceRegister: reg1, SetName: set, DestRegister: reg1, IsDestRegSet: true},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(f.proto), RegAddrMin: reg1, RegProtoMin: word(f.length / 4),
			RegAddrMax: reg1, RegProtoMax: word(f.length / 4), Specified: true},
	})
}

// dnatRun looks up protocol and port in a map of runs, with exact the address too, and translates to the address that it finds. The
// port stays.
func (f family) dnatRun(set string, exact bool) []expr.Any {
	key, _ := f.key(exact, true)
	return rule(f.only(), key, f.translate(set, expr.NATTypeDestNAT))
}

// dnatAddress looks up the address and translates to the one that it finds, whatever the protocol.
func (f family) dnatAddress(set string) []expr.Any {
	return rule(f.only(), one(f.address(f.daddr, reg1)), f.translate(set, expr.NATTypeDestNAT))
}

// snat looks up what is in register 1 and has the packet leave as the address that it finds.
func (f family) snat(set string) []expr.Any { return f.translate(set, expr.NATTypeSourceNAT) }

// translate looks up an address with what is loaded from register 1 on and translates to it.
func (f family) translate(set string, kind expr.NATType) []expr.Any {
	return []expr.Any{
		&expr.Lookup{SourceRegister: reg1, SetName: set, DestRegister: reg1, IsDestRegSet: true},
		&expr.NAT{Type: kind, Family: uint32(f.proto), RegAddrMin: reg1, RegAddrMax: reg1},
	}
}

// ifname is an interface's name as the kernel compares it.
func ifname(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

// concat is the type of several values side by side.
func concat(types ...nftables.SetDatatype) nftables.SetDatatype {
	return nftables.MustConcatSetType(types...) // panics for more than five, which any test would show
}
