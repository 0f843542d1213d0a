package rules

import (
	"encoding/binary"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/servers"
	nft "github.com/fairlead/fairlead/services/natagent/internal/firewall/nftables"
)

// Connections whose server name is checked have a label; from the first packet on, all their packets are
// queued until they have a second label too. natagent marks a packet to set that label, or to refuse.
const (
	chainChecked  = "checked"
	labelLength   = 16
	labelByte     = 15 // of the labels
	labelChecked  = 0x40
	labelVerified = 0x80
	labelQUIC     = 0x20 // datagrams with other than Initial packets pass
)

// labels returns a value of a connection's labels.
func labels(bits byte) []byte {
	all := make([]byte, labelLength)
	all[labelByte] = bits
	return all
}

// isChecked matches connections whose server name is checked and not verified, or all others.
func isChecked(op expr.CmpOp) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeyLABELS, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: labelLength,
			Mask: labels(labelChecked | labelVerified), Xor: labels(0)},
		&expr.Cmp{Op: op, Register: reg1, Data: labels(labelChecked)},
	}
}

// setLabel adds a label to a connection.
func setLabel(bit byte) []expr.Any {
	return []expr.Any{&expr.Immediate{Register: reg1, Data: labels(bit)},
		&expr.Ct{Key: expr.CtKeyLABELS, Register: reg1, SourceRegister: true}}
}

// check counts packets and sends them to the chain that queues them.
func check() []expr.Any {
	return append(setLabel(labelChecked), count(), &expr.Verdict{Kind: expr.VerdictGoto, Chain: chainChecked})
}

// knownRules returns the first rules of chains that see both directions of connections.
func knownRules() []Rule {
	return append([]Rule{
		{"known connections", join(established(), isChecked(expr.CmpOpNeq),
			[]expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}})},
		{"server name not known yet", join(isChecked(expr.CmpOpEq),
			[]expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chainChecked}})},
	}, errorRules()...)
}

// checkedRules returns the rules for connections whose server name is not known yet, and for those of QUIC, where
// each datagram that can begin another one is queued.
func checkedRules(kind QueueKind) []Rule {
	marked := func(mark uint32) []expr.Any {
		return []expr.Any{meta(expr.MetaKeyMARK, reg1), equal(native(mark)...)}
	}
	unmark := []expr.Any{&expr.Immediate{Register: reg1, Data: native(0)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: reg1}}
	udp := []expr.Any{meta(expr.MetaKeyL4PROTO, reg1), equal(unix.IPPROTO_UDP)}
	return append(errorRules(), []Rule{
		{"server name of QUIC is allowed", join(udp, marked(servers.MarkVerified), setLabel(labelQUIC), unmark,
			accept())},
		{"server name is allowed", join(marked(servers.MarkVerified), setLabel(labelVerified), unmark, accept())},
		{"server name is not allowed", join(marked(servers.MarkRefused), refuse())},
		{"from a QUIC server", join(udp, isReply(true), accept())},
		{"from a QUIC client after the handshake", join(udp, hasLabel(labelQUIC), afterHandshake(), accept())},
		{"more of one container than natagent checks", join(isReply(false), tooMany(setSenders, queuedRate), drop())},
		{"more new connections of one container than natagent checks", join(isReply(false), begins(),
			tooMany(setBeginners, newRate), drop())},
		{"more QUIC handshakes of one container than natagent checks", join(udp, isReply(false),
			tooMany(setBeginners, newRate), drop())},
		{"from a QUIC client", join(udp, kind.queue(servers.QueueQUIC))},
		{"from the client", join(isReply(false), kind.queue(servers.QueueClient))},
		{"from the server", join(isReply(true), kind.queue(servers.QueueServer))},
		{"without a known connection", drop()},
	}...)
}

// Packets of a container that are queued in a second: all, and those that begin connections, which cost more. Half as
// many can come without a pause. A container that sends more would fill the queue for all others.
const (
	queuedRate   = 20_000
	newRate      = 4000
	setSenders   = "senders"
	setBeginners = "beginners"
	sendersTime  = 10 * time.Minute // after the last packet
)

// sendersSets returns the sets of containers whose packets were queued.
func sendersSets(t *nftables.Table) []Set {
	return []Set{
		rateSet(t, setSenders, nftables.TypeEtherAddr, sendersTime, "containers whose packets were queued"),
		rateSet(t, setBeginners, nftables.TypeEtherAddr, sendersTime,
			"containers whose first packets of connections were queued"),
	}
}

// tooMany matches packets of a container beyond a rate.
func tooMany(set string, rate uint64) []expr.Any {
	return []expr.Any{ethernet(offsetFrom), &expr.Dynset{SrcRegKey: reg1, SetName: set,
		Operation: unix.NFT_DYNSET_OP_UPDATE, Exprs: []expr.Any{&expr.Limit{Type: expr.LimitTypePkts, Over: true,
			Rate: rate, Unit: expr.LimitTimeSecond, Burst: uint32(rate / 2)}}}}
}

// begins matches the first packets of TCP connections.
func begins() []expr.Any {
	const flagsOffset, syn = 13, 2
	return []expr.Any{
		meta(expr.MetaKeyL4PROTO, reg1), equal(unix.IPPROTO_TCP),
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: flagsOffset, Len: 1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 1, Mask: []byte{syn}, Xor: []byte{0}}, differ(0),
	}
}

// hasLabel matches connections with a label.
func hasLabel(bit byte) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeyLABELS, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: labelLength, Mask: labels(bit), Xor: labels(0)},
		equal(labels(bit)...),
	}
}

// afterHandshake matches datagrams of QUIC without a long header. One that is split later is longer than maxLength
// if a part of it has an Initial packet, which servers accept in 1200 bytes and more only.
func afterHandshake() []expr.Any {
	const lengthOffset, dataOffset, longHeader, maxLength = 4, 8, 0x80, 1500
	udp := func(offset, length uint32) expr.Any {
		return &expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: length}
	}
	return []expr.Any{
		udp(lengthOffset, 2), between([]byte{0, 0}, binary.BigEndian.AppendUint16(nil, maxLength)),
		udp(dataOffset, 1), &expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 1, Mask: []byte{longHeader},
			Xor: []byte{0}}, equal(0),
	}
}

// QueueKind is the module of the kernel that queues packets.
type QueueKind int

const (
	NoQueue     QueueKind = iota // the kernel has none
	nativeQueue                  // nft_queue
	compatQueue                  // xt_NFQUEUE
)

// queue queues packets; without a queue they are refused.
func (k QueueKind) queue(number uint16) []expr.Any {
	switch k {
	case nativeQueue:
		return []expr.Any{count(), &expr.Queue{Num: number}}
	case compatQueue:
		info := xt.Unknown(append(native16(number), make([]byte, 6)...)) // padded to 8 bytes
		return []expr.Any{count(), &expr.Target{Name: "NFQUEUE", Info: &info}}
	}
	return refuse()
}

// ProbeQueue returns how the kernel queues packets.
func ProbeQueue(conn *nftables.Conn) QueueKind {
	for _, kind := range []QueueKind{nativeQueue, compatQueue} {
		if nft.Supports(conn, join(isChecked(expr.CmpOpEq), setLabel(labelChecked), kind.queue(servers.QueueClient))) {
			return kind
		}
	}
	return NoQueue
}
