package egress

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
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

	attrPayload = 9
	attrPrefix  = 10
)

// Delays of the kernel before it sends records that it collected.
const (
	collectTime  = 10 // hundredths of a second
	collectCount = 64
)

// logged is a record of the log group.
type logged struct {
	prefix string
	data   []byte
}

// openLog opens a socket that receives the records of the log group.
func (k *kernel) openLog() (*netlink.Conn, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: k.ns.Fd()})
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	if err := bindGroup(conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	_ = conn.SetReadBuffer(4 << 20)
	return conn, nil
}

// readLog reads a socket of openLog until ctx ends, and closes it. lost is called for each overflow of the
// socket.
func readLog(ctx context.Context, conn *netlink.Conn, record func(logged), lost func()) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()

	for {
		messages, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			lost()
			continue
		case err != nil:
			return fmt.Errorf("read records: %w", err)
		}
		for _, m := range messages {
			if one, ok := parseLogged(m); ok {
				record(one)
			}
		}
	}
}

// bindGroup makes a socket receive the records of the group.
func bindGroup(conn *netlink.Conn) error {
	mode := append(binary.BigEndian.AppendUint32(nil, snapLength), copyPacket, 0)
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
			Data: append(binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, Group), data...),
		})
		if err != nil {
			return fmt.Errorf("bind log group %d: %w", Group, err)
		}
	}
	return nil
}

// parseLogged reads a message; ok is false for other messages.
func parseLogged(m netlink.Message) (one logged, ok bool) {
	if m.Header.Type != unix.NFNL_SUBSYS_ULOG<<8|msgPacket || len(m.Data) < 4 {
		return one, false
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[4:])
	if err != nil {
		return one, false
	}
	for ad.Next() {
		switch ad.Type() {
		case attrPrefix:
			one.prefix = ad.String()
		case attrPayload:
			one.data = append([]byte(nil), ad.Bytes()...)
		}
	}
	return one, ad.Err() == nil
}
