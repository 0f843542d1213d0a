// Package redirect redirects a container's DNS queries to the ports of the embedded resolver. Port
// 53 of the resolver's address stays free for a name server in the container. Packages dnssockets
// and heal call it.
//
// It rewrites ports without conntrack: an entry for each query would fill the kernel's table at a
// few thousand queries a second, and two concurrent queries of one socket would race for an entry.
// Its one table is in the container's namespace. natagent owns the host's rules; these belong to
// sockets that only netagent can open.
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

// ruleCount is the number of rules.
const ruleCount = 6

// port is the port that programs send queries to.
const port = 53

// Offsets in packet headers.
const (
	sourceAddress, destinationAddress = 12, 16
	sourcePort, destinationPort       = 0, 2
	udpChecksum, tcpChecksum          = 6, 16
	tcpSequence, tcpFlags             = 4, 13
	tcpRefusal                        = 0x14 // RST and ACK
	icmpUnreachable                   = 3
)

// Apply replaces the rules in the namespace of a descriptor in one transaction. The rules also
// suppress the kernel's refusal while no process has the sockets open: clients get no response and
// retry.
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
		query := match(destinationAddress, resolver, p.protocol)
		answer := match(sourceAddress, resolver, p.protocol)
		all = append(all,
			append(query, rewrite(destinationPort, port, p.actual, p.checksum)...),
			append(answer, rewrite(sourcePort, p.actual, port, p.checksum)...))
	}

	return append(all,
		append(match(sourceAddress, resolver, unix.IPPROTO_ICMP),
			transport(0, 1), equal([]byte{icmpUnreachable}),
			&expr.Verdict{Kind: expr.VerdictDrop}),
		append(match(sourceAddress, resolver, unix.IPPROTO_TCP),
			transport(tcpFlags, 1),
			&expr.Bitwise{SourceRegister: unix.NFT_REG_1, DestRegister: unix.NFT_REG_1, Len: 1,
				Mask: []byte{tcpRefusal}, Xor: []byte{0}},
			equal([]byte{tcpRefusal}),
			// a RST for an existing connection has a sequence number
			transport(tcpSequence, 4), equal([]byte{0, 0, 0, 0}),
			&expr.Verdict{Kind: expr.VerdictDrop}))
}

// transport loads a field of the transport header.
func transport(offset, size uint32) expr.Any {
	return &expr.Payload{DestRegister: unix.NFT_REG_1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: size}
}

// match matches packets of a protocol with the resolver's address.
func match(offset uint32, resolver netip.Addr, protocol byte) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: unix.NFT_REG_1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		equal(resolver.AsSlice()),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: unix.NFT_REG_1},
		equal([]byte{protocol}),
	}
}

// rewrite replaces a port and bypasses conntrack.
func rewrite(offset uint32, from, to uint16, checksum uint32) []expr.Any {
	return []expr.Any{
		transport(offset, 2),
		equal(binary.BigEndian.AppendUint16(nil, from)),
		&expr.Notrack{},
		&expr.Immediate{Register: unix.NFT_REG_1, Data: binary.BigEndian.AppendUint16(nil, to)},
		&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: unix.NFT_REG_1,
			Base:   expr.PayloadBaseTransportHeader,
			Offset: offset, Len: 2, CsumType: expr.CsumTypeInet, CsumOffset: checksum},
	}
}

func equal(data []byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, Data: data}
}
