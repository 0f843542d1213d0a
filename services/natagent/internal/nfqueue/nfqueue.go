// Package nfqueue receives the packets that firewall rules queue for a verdict. Package egress uses it. The
// kernel drops queued packets while no process receives them.
package nfqueue

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Constants of linux/netfilter/nfnetlink_queue.h.
const (
	msgPacket  = 0
	msgVerdict = 1
	msgConfig  = 2

	attrConfigCommand = 1
	attrConfigParams  = 2
	attrConfigLength  = 3
	attrConfigMask    = 4
	attrConfigFlags   = 5
	commandBind       = 1
	copyPacket        = 2
	flagGSO           = 1 << 2 // packets that are split later are not split before

	attrHeader  = 1
	attrVerdict = 2
	attrMark    = 3
	attrAddress = 9
	attrPayload = 10
	attrLength  = 13
)

// Code is the fate of a packet.
type Code uint32

// Codes of linux/netfilter.h.
const (
	Drop   Code = 0
	Accept Code = 1
	Repeat Code = 4 // the chain that queued the packet sees it again
	// Hold is no verdict: the packet waits for one in Also of a later verdict.
	Hold Code = 1 << 31
)

// Verdict is a decision about a packet.
type Verdict struct {
	Code Code
	Mark uint32 // of the packet from then on; 0: unchanged
	Also []Held
}

// Held is a verdict about a packet of the same queue that was held. It comes into force first.
type Held struct {
	ID   uint32
	Code Code
	Mark uint32
}

// Packet is a queued packet.
type Packet struct {
	Queue     uint16
	Data      []byte  // from the IP header on; only valid until the verdict
	Sender    [6]byte // on the last link; zero if the host sends the packet
	Truncated bool
	ID        uint32 // in its queue
}

// Config configures a queue.
type Config struct {
	Number uint16
	Length uint32 // bytes of a packet that the kernel copies
	Max    uint32 // packets that wait; others are dropped
	Split  bool   // packets that are split later are split before; their parts have no Sender
}

// Queues receives the packets of queues.
type Queues struct{ conn *netlink.Conn }

// Open opens queues in a network namespace, which is given by its descriptor. It fails if another process
// receives their packets.
func Open(netns int, all ...Config) (*Queues, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: netns})
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	_ = conn.SetReadBuffer(8 << 20)
	q := &Queues{conn}
	for _, c := range all {
		if err := q.bind(c); err != nil {
			return nil, errors.Join(fmt.Errorf("bind queue %d: %w", c.Number, err), conn.Close())
		}
	}
	_ = conn.SetOption(netlink.NoENOBUFS, true) // not earlier: bind must fail if a response is lost
	return q, nil
}

// Close closes the queues. It must not be called during Read.
func (q *Queues) Close() error { return q.conn.Close() }

// bind makes the socket receive the packets of a queue.
func (q *Queues) bind(c Config) error {
	params := append(binary.BigEndian.AppendUint32(nil, c.Length), copyPacket)
	mask, flags := binary.BigEndian.AppendUint32(nil, flagGSO), binary.BigEndian.AppendUint32(nil, flagGSO)
	if c.Split {
		flags = make([]byte, len(flags))
	}
	for _, attrs := range [][]netlink.Attribute{
		{{Type: attrConfigCommand, Data: []byte{commandBind, 0, 0, unix.AF_UNSPEC}}},
		{{Type: attrConfigParams, Data: params}, {Type: attrConfigFlags, Data: flags},
			{Type: attrConfigMask, Data: mask},
			{Type: attrConfigLength, Data: binary.BigEndian.AppendUint32(nil, c.Max)}},
	} {
		data, err := netlink.MarshalAttributes(attrs)
		if err != nil {
			return err
		}
		if err = q.execute(message(msgConfig, netlink.Acknowledge, c.Number, data)); err != nil {
			return err
		}
	}
	return nil
}

// execute sends a message and waits for its acknowledgement. Packets that arrive before it are dropped: their
// senders send them again.
func (q *Queues) execute(m netlink.Message) error {
	raw, err := q.conn.SyscallConn()
	if err != nil {
		return err
	}
	if m, err = q.conn.Send(m); err != nil {
		return err
	}

	for buffer := make([]byte, bufferSize); ; {
		n, err := receive(raw, buffer, true)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for got := range messages(buffer[:n]) {
			if done, err := acknowledges(got, m.Header.Sequence); done {
				return err
			}
			if p, ok := parse(got); ok {
				if err := send(raw, appendVerdict(nil, p.Queue, Held{ID: p.ID, Code: Drop})); err != nil {
					return err
				}
			}
		}
	}
}

// acknowledges reports whether a message is the kernel's response to a request, and returns the error in it.
func acknowledges(m netlink.Message, sequence uint32) (bool, error) {
	if m.Header.Type != netlink.Error || m.Header.Sequence != sequence || len(m.Data) < 4 {
		return false, nil
	}
	if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
		return true, unix.Errno(-code)
	}
	return true, nil
}

func message(kind netlink.HeaderType, flags netlink.HeaderFlags, queue uint16, attrs []byte) netlink.Message {
	return netlink.Message{Header: netlink.Header{Type: unix.NFNL_SUBSYS_QUEUE<<8 | kind,
		Flags: netlink.Request | flags},
		Data: append(binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, queue), attrs...)}
}

// parse reads a message; ok is false for other messages.
func parse(m netlink.Message) (p Packet, ok bool) {
	const family, header, address = 4, 4, 4 // lengths of fixed parts
	if m.Header.Type != unix.NFNL_SUBSYS_QUEUE<<8|msgPacket || len(m.Data) < family {
		return p, false
	}
	p.Queue = binary.BigEndian.Uint16(m.Data[2:])
	for rest := m.Data[family:]; len(rest) >= unix.NLA_HDRLEN; {
		length := int(binary.NativeEndian.Uint16(rest))
		if length < unix.NLA_HDRLEN || length > len(rest) {
			return p, false
		}
		data := rest[unix.NLA_HDRLEN:length]
		switch binary.NativeEndian.Uint16(rest[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER) {
		case attrHeader:
			if len(data) >= header {
				p.ID, ok = binary.BigEndian.Uint32(data), true
			}
		case attrAddress:
			if len(data) >= address+len(p.Sender) && binary.BigEndian.Uint16(data) == uint16(len(p.Sender)) {
				copy(p.Sender[:], data[address:])
			}
		case attrLength:
			p.Truncated = true
		case attrPayload:
			p.Data = data
		}
		rest = rest[min(len(rest), aligned(length)):]
	}
	return p, ok
}

// aligned returns the length of a message or an attribute with its padding.
func aligned(length int) int { return (length + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }
