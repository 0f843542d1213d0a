// Package redirect leads a container's questions for names, sent to port 53 of the embedded resolver's address, to the ports that
// the resolver really has, so that port 53 stays free for a name server in the container.
//
// It rewrites ports without connection tracking: a tracked flow for each question would fill the kernel's table at a few thousand a
// second, and two questions at once from one socket would race for an entry. The one table is in the container's namespace. natagent
// has all rules of the host; this one is here as it goes with sockets that only netagent can open.
package redirect

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// TableName is the name of the table, family ip.
const TableName = "fairlead-dns"

// ruleCount is how many rules there are.
const ruleCount = 6

// port is where programs send questions.
const port = 53

// Where things are in headers.
const (
	sourceAddress, destinationAddress = 12, 16
	sourcePort, destinationPort       = 0, 2
	udpChecksum, tcpChecksum          = 6, 16
	tcpSequence, tcpFlags             = 4, 13
	tcpRefusal                        = 0x14 // RST and ACK
	icmpUnreachable                   = 3
)

// Apply puts the rules into the namespace that a descriptor is of, in place of those that may be there, in one transaction. Once
// there they also keep the kernel from refusing a question while nobody has the sockets: it gets no answer, and is asked again.
func Apply(namespace int, resolver netip.Addr, udp, tcp uint16) error {
	messages, err := transaction(rules(resolver, udp, tcp))
	if err == nil {
		err = send(namespace, messages)
	}
	if err != nil {
		return fmt.Errorf("nftables table %s: %w", TableName, err)
	}
	return nil
}

func rules(resolver netip.Addr, udp, tcp uint16) [][]expr.Any {
	var all [][]expr.Any
	for _, p := range []struct {
		protocol byte
		checksum uint32
		actual   uint16
	}{{unix.IPPROTO_UDP, udpChecksum, udp}, {unix.IPPROTO_TCP, tcpChecksum, tcp}} {
		question := match(destinationAddress, resolver, p.protocol)
		answer := match(sourceAddress, resolver, p.protocol)
		all = append(all,
			append(question, rewrite(destinationPort, port, p.actual, p.checksum)...),
			append(answer, rewrite(sourcePort, p.actual, port, p.checksum)...))
	}
	return append(all,
		append(match(sourceAddress, resolver, unix.IPPROTO_ICMP),
			transport(0, 1), equal([]byte{icmpUnreachable}),
			&expr.Verdict{Kind: expr.VerdictDrop}),
		append(match(sourceAddress, resolver, unix.IPPROTO_TCP),
			transport(tcpFlags, 1),
			&expr.Bitwise{SourceRegister: unix.NFT_REG_1, DestRegister: unix.NFT_REG_1, Len: 1, Mask: []byte{tcpRefusal}, Xor: []byte{0}},
			equal([]byte{tcpRefusal}),
			transport(tcpSequence, 4), equal([]byte{0, 0, 0, 0}), // one that ends a connection has a number there
			&expr.Verdict{Kind: expr.VerdictDrop}))
}

// transport reads of the header behind IP's.
func transport(offset, size uint32) expr.Any {
	return &expr.Payload{DestRegister: unix.NFT_REG_1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: size}
}

// match is of packets of a protocol that have the resolver's address.
func match(offset uint32, resolver netip.Addr, protocol byte) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: unix.NFT_REG_1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		equal(resolver.AsSlice()),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: unix.NFT_REG_1},
		equal([]byte{protocol}),
	}
}

// rewrite changes a port into another, out of sight of the connection tracker.
func rewrite(offset uint32, from, to uint16, checksum uint32) []expr.Any {
	return []expr.Any{
		transport(offset, 2),
		equal(binary.BigEndian.AppendUint16(nil, from)),
		&expr.Notrack{},
		&expr.Immediate{Register: unix.NFT_REG_1, Data: binary.BigEndian.AppendUint16(nil, to)},
		&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: unix.NFT_REG_1, Base: expr.PayloadBaseTransportHeader,
			Offset: offset, Len: 2, CsumType: expr.CsumTypeInet, CsumOffset: checksum},
	}
}

func equal(data []byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, Data: data}
}
