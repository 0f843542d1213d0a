// Package nflog receives the packets that firewall rules send to a log group. Package egress records
// refused packets with it.
package nflog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/natagent/internal/nlfile"
)

// Constants of linux/netfilter/nfnetlink_log.h.
const (
	msgPacket = 0
	msgConfig = 1

	attrConfigCommand   = 1
	attrConfigMode      = 2
	attrConfigTimeout   = 4
	attrConfigThreshold = 5
	commandBind         = 1
	copyPacket          = 2

	attrHardware = 8
	attrPayload  = 9
	attrPrefix   = 10
)

// Delays of the kernel before it sends packets that it collected.
const (
	collectTime  = 10 // hundredths of a second
	collectCount = 64
)

// Packet is a packet that a rule logged.
type Packet struct {
	Prefix string // of the rule
	From   []byte // MAC address of the sender; nil if the packet did not come from an interface
	Data   []byte // from the IP header on; at most the length of the Group
}

// Group is a log group.
type Group struct {
	Number uint16
	Length uint32 // bytes of a packet that the kernel copies
}

// Log receives the packets of a group.
type Log struct{ conn *netlink.Conn }

// Open opens the log of a group in a network namespace, which is given by its descriptor.
func Open(netns int, g Group) (*Log, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: netns})
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	return newLog(conn, g)
}

// OpenOn opens the log of a group with a netlink socket of its network namespace.
func OpenOn(socket *os.File, g Group) (*Log, error) {
	conn, err := nlfile.Conn(socket)
	if err != nil {
		return nil, fmt.Errorf("use a netlink socket: %w", err)
	}
	return newLog(conn, g)
}

func newLog(conn *netlink.Conn, g Group) (*Log, error) {
	if err := bind(conn, g); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	_ = conn.SetReadBuffer(4 << 20)
	return &Log{conn}, nil
}

// Close closes the log. It must not be called during Read.
func (l *Log) Close() error { return l.conn.Close() }

// Read reads the log until ctx ends, and closes it. lost is called for each overflow of the socket.
func (l *Log) Read(ctx context.Context, receive func(Packet), lost func()) error {
	defer l.conn.Close()
	defer context.AfterFunc(ctx, func() { _ = l.conn.SetReadDeadline(time.Unix(1, 0)) })()

	for {
		messages, err := l.conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			lost()
			continue
		case err != nil:
			return fmt.Errorf("read packets: %w", err)
		}
		for _, m := range messages {
			if one, ok := parse(m); ok {
				receive(one)
			}
		}
	}
}

// bind makes a socket receive the packets of a group.
func bind(conn *netlink.Conn, g Group) error {
	mode := append(binary.BigEndian.AppendUint32(nil, g.Length), copyPacket, 0)
	for _, attr := range []netlink.Attribute{
		{Type: attrConfigCommand, Data: []byte{commandBind}},
		{Type: attrConfigMode, Data: mode},
		{Type: attrConfigTimeout, Data: binary.BigEndian.AppendUint32(nil, collectTime)},
		{Type: attrConfigThreshold, Data: binary.BigEndian.AppendUint32(nil, collectCount)},
	} {
		data, err := netlink.MarshalAttributes([]netlink.Attribute{attr})
		if err != nil {
			return err
		}
		_, err = conn.Execute(netlink.Message{
			Header: netlink.Header{Type: unix.NFNL_SUBSYS_ULOG<<8 | msgConfig,
				Flags: netlink.Request | netlink.Acknowledge},
			Data: append(binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, g.Number), data...),
		})
		if err != nil {
			return fmt.Errorf("bind log group %d: %w", g.Number, err)
		}
	}
	return nil
}

// parse reads a message; ok is false for other messages.
func parse(m netlink.Message) (one Packet, ok bool) {
	if m.Header.Type != unix.NFNL_SUBSYS_ULOG<<8|msgPacket || len(m.Data) < 4 {
		return one, false
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[4:])
	if err != nil {
		return one, false
	}
	for ad.Next() {
		switch ad.Type() {
		case attrHardware:
			one.From = hardwareAddress(ad.Bytes())
		case attrPrefix:
			one.Prefix = ad.String()
		case attrPayload:
			one.Data = append([]byte(nil), ad.Bytes()...)
		}
	}
	return one, ad.Err() == nil
}

// hardwareAddress reads an address after its length and two bytes that are not used.
func hardwareAddress(data []byte) []byte {
	const header = 4
	if len(data) < header {
		return nil
	}
	if n := int(binary.BigEndian.Uint16(data)); n <= len(data)-header {
		return append([]byte(nil), data[header:header+n]...)
	}
	return nil
}
