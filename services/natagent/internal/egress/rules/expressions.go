package rules

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/prefixes"
)

const reg1, reg2 = unix.NFT_REG_1, unix.NFT_REG_2

// family is the header layout of IPv4 or IPv6.
type family struct {
	number  byte
	v6      bool
	saddr   uint32 // offset
	daddr   uint32
	length  uint32
	address nftables.SetDatatype
}

func families() []family {
	return []family{
		{unix.NFPROTO_IPV4, false, 12, 16, 4, nftables.TypeIPAddr},
		{unix.NFPROTO_IPV6, true, 8, 24, 16, nftables.TypeIP6Addr},
	}
}

func join(parts ...[]expr.Any) (all []expr.Any) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func meta(key expr.MetaKey, reg uint32) expr.Any { return &expr.Meta{Key: key, Register: reg} }

func equal(data ...byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: data} }

func differ(data ...byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: data} }

func between(from, to []byte) expr.Any {
	return &expr.Range{Op: expr.CmpOpEq, Register: reg1, FromData: from, ToData: to}
}

func network(offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length}
}

// only matches packets of the family.
func (f family) only() []expr.Any {
	return []expr.Any{meta(expr.MetaKeyNFPROTO, reg1), equal(f.number)}
}

// Direction is the direction of traffic that a chain decides about.
type Direction bool

// Directions.
const (
	Outgoing Direction = false
	Incoming Direction = true
)

// Directions returns both directions.
func Directions() []Direction { return []Direction{Outgoing, Incoming} }

// offset returns the offset of the address of the other end.
func (d Direction) offset(f family) uint32 {
	if d == Incoming {
		return f.saddr
	}
	return f.daddr
}

// peer matches packets whose other end is in a set.
func (d Direction) peer(f family, set string, invert bool) []expr.Any {
	return []expr.Any{network(d.offset(f), f.length), &expr.Lookup{SourceRegister: reg1, SetName: set, Invert: invert}}
}

// within matches packets whose other end is in a prefix.
func (d Direction) within(f family, p netip.Prefix) []expr.Any {
	out := []expr.Any{network(d.offset(f), f.length)}
	if p.Bits() < p.Addr().BitLen() {
		out = append(out, &expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: f.length,
			Mask: f.mask(p.Bits()), Xor: make([]byte, f.length)})
	}
	return append(out, equal(p.Masked().Addr().AsSlice()...))
}

// mask returns the mask of a prefix length.
func (f family) mask(bits int) []byte {
	ones, _ := netip.AddrFromSlice(bytes.Repeat([]byte{0xff}, int(f.length)))
	return netip.PrefixFrom(ones, bits).Masked().Addr().AsSlice()
}

// local matches packets to or from the host itself, or with forwarded all other packets. Only the latter
// have an interface at the other end.
func (d Direction) local(forwarded bool) []expr.Any {
	key, none := expr.MetaKeyOIFNAME, make([]byte, unix.IFNAMSIZ)
	if d == Incoming {
		key = expr.MetaKeyIIFNAME
	}
	if forwarded {
		return []expr.Any{meta(key, reg1), differ(none...)}
	}
	return []expr.Any{meta(key, reg1), equal(none...)}
}

// protocols returns the protocols of a group; 0 stands for all.
func protocols(g plan.Group, v6 bool) []uint8 {
	switch g.Ports.Protocol {
	case egress.TCP:
		return []uint8{unix.IPPROTO_TCP}
	case egress.UDP, egress.QUIC:
		return []uint8{unix.IPPROTO_UDP}
	case egress.SCTP:
		return []uint8{unix.IPPROTO_SCTP}
	case egress.ICMP:
		if v6 {
			return []uint8{unix.IPPROTO_ICMPV6}
		}
		return []uint8{unix.IPPROTO_ICMP}
	}
	if g.Ports.First != 0 {
		return []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP}
	}
	return []uint8{0}
}

// hasPorts matches a protocol, unless it is 0, and a range of destination ports.
func hasPorts(protocol uint8, ports egress.Ports) (out []expr.Any) {
	if protocol != 0 {
		out = []expr.Any{meta(expr.MetaKeyL4PROTO, reg1), equal(protocol)}
	}
	if ports.First == 0 {
		return out
	}
	first, last := binary.BigEndian.AppendUint16(nil, ports.First), binary.BigEndian.AppendUint16(nil, ports.Last)
	out = append(out, &expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2})
	if ports.First == ports.Last {
		return append(out, equal(first...))
	}
	return append(out, between(first, last))
}

func count() expr.Any { return &expr.Counter{} }

func accept() []expr.Any { return []expr.Any{count(), &expr.Verdict{Kind: expr.VerdictAccept}} }

func drop() []expr.Any { return []expr.Any{count(), &expr.Verdict{Kind: expr.VerdictDrop}} }

// refuse counts packets and sends them to the chain that rejects them.
func refuse() []expr.Any {
	return []expr.Any{count(), &expr.Verdict{Kind: expr.VerdictGoto, Chain: chainRefused}}
}

// record sends packets with a prefix to the log group, at most recordRate in a second.
func record(prefix string) []expr.Any { return append([]expr.Any{rate()}, log(prefix)...) }

// rate matches at most recordRate packets in a second.
func rate() expr.Any {
	return &expr.Limit{Type: expr.LimitTypePkts, Rate: recordRate, Unit: expr.LimitTimeSecond, Burst: recordRate}
}

// log sends packets with a prefix to the log group.
func log(prefix string) []expr.Any {
	return []expr.Any{&expr.Log{Key: 1<<unix.NFTA_LOG_PREFIX | 1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_SNAPLEN,
		Group: Group, Snaplen: SnapLength, Data: []byte(prefix)}}
}

func native(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

func native16(n uint16) []byte { return binary.NativeEndian.AppendUint16(nil, n) }

// established matches packets of known connections.
func established() []expr.Any { return inState(expr.CtStateBitESTABLISHED) }

// errorRules returns rules that accept errors about known connections, and resets by which the kernel rejects new ones.
// Connections that a helper expects are related too, but a peer chooses their ports and sometimes their addresses: they
// need a rule of the policy.
func errorRules() (all []Rule) {
	for _, protocol := range []byte{unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6} {
		all = append(all, Rule{"errors about known connections", join([]expr.Any{meta(expr.MetaKeyL4PROTO, reg1),
			equal(protocol)}, inState(expr.CtStateBitRELATED), goOn())})
	}
	return append(all, Rule{"rejections of connections", join([]expr.Any{meta(expr.MetaKeyL4PROTO, reg1),
		equal(unix.IPPROTO_TCP)}, isReset(), inState(expr.CtStateBitRELATED), isReply(true), goOn())})
}

// isReset matches TCP segments that reset a connection.
func isReset() []expr.Any {
	const flags, syn, rst = 13, 2, 4
	return []expr.Any{
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: flags, Len: 1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 1, Mask: []byte{syn | rst}, Xor: []byte{0}},
		equal(rst),
	}
}

func inState(bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: native(bits), Xor: make([]byte, 4)},
		differ(0, 0, 0, 0),
	}
}

// isReply matches packets of one direction of a connection.
func isReply(reply bool) []expr.Any {
	direction := byte(0)
	if reply {
		direction = 1
	}
	return []expr.Any{&expr.Ct{Key: expr.CtKeyDIRECTION, Register: reg1}, equal(direction)}
}

// neighbours matches neighbour discovery, without which IPv6 does not work. The hop limit of its messages shows that no
// router has forwarded them (RFC 4861): with another one, data could leave in them.
func neighbours() []expr.Any {
	const (
		first, last = 133, 137 // router solicitation to redirect
		hopLimit    = 7        // offset
		onLink      = 255
	)
	return join([]expr.Any{meta(expr.MetaKeyL4PROTO, reg1), equal(unix.IPPROTO_ICMPV6)},
		hasProtocol(unix.ETH_P_IPV6, expr.CmpOpEq), []expr.Any{
			&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
			between([]byte{first}, []byte{last}),
			network(hopLimit, 1), equal(onLink),
		})
}

// intervals returns the elements of an interval set of prefixes.
func intervals(list []netip.Prefix) (out []nftables.SetElement) {
	for _, p := range list {
		out = append(out, nftables.SetElement{Key: p.Addr().AsSlice()})
		if past := prefixes.Last(p).Next(); past.IsValid() { // otherwise the interval is open
			out = append(out, nftables.SetElement{Key: past.AsSlice(), IntervalEnd: true})
		}
	}
	return out
}

func (f family) of(all []netip.Prefix) (out []netip.Prefix) {
	for _, p := range all {
		if p.Addr().Is6() == f.v6 {
			out = append(out, p)
		}
	}
	return out
}
