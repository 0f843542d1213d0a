package conntrack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// Multicast groups of linux/netfilter/nfnetlink_compat.h.
const (
	groupNew     = 1
	groupDestroy = 3
)

// Sizes of buffers.
const (
	dumpBuffer  = 64 << 10 // larger than any message of a dump
	eventBuffer = 4 << 20
)

// Reader reads conntrack entries. It changes nothing.
type Reader struct{ ns hostns.NS }

// NewReader returns a reader for a network namespace.
func NewReader(ns hostns.NS) *Reader { return &Reader{ns} }

// List calls each for all entries. It reads them piece by piece: memory does not grow with their
// number. An error of each ends the list.
func (r *Reader) List(ctx context.Context, each func(Connection) error) error {
	for _, v6 := range []bool{false, true} {
		if err := r.listFamily(ctx, v6, each); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) listFamily(ctx context.Context, v6 bool, each func(Connection) error) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: r.ns.Fd()})
	if err != nil {
		return fmt.Errorf("conntrack: %w", err)
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()

	if _, err := conn.Send(netlink.Message{
		Header: netlink.Header{Type: msgGet, Flags: netlink.Request | netlink.Dump},
		Data:   []byte{familyOf(v6), unix.NFNETLINK_V0, 0, 0},
	}); err != nil {
		return fmt.Errorf("list conntrack entries: %w", err)
	}

	err = receiveEach(conn, func(kind uint16, data []byte) error {
		c, err := parseConnection(data)
		if err != nil {
			return err
		}
		return each(c)
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// receiveEach calls each for the messages of a dump. netlink.Conn.Receive would collect all of them.
func receiveEach(conn *netlink.Conn, each func(kind uint16, data []byte) error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	buf := make([]byte, dumpBuffer)
	for {
		n := 0
		if err := raw.Read(func(fd uintptr) bool {
			n, _, err = unix.Recvfrom(int(fd), buf, 0)
			return !errors.Is(err, unix.EAGAIN)
		}); err != nil {
			return err
		}
		if err != nil {
			return fmt.Errorf("list conntrack entries: %w", err)
		}
		if done, err := eachMessage(buf[:n], each); done || err != nil {
			return err
		}
	}
}

// eachMessage calls each for the messages of a buffer. done is true after the end of a dump.
func eachMessage(buf []byte, each func(kind uint16, data []byte) error) (done bool, err error) {
	for len(buf) >= unix.SizeofNlMsghdr {
		length, kind := int(binary.NativeEndian.Uint32(buf)), binary.NativeEndian.Uint16(buf[4:])
		if length < unix.SizeofNlMsghdr || length > len(buf) {
			return true, errors.New("conntrack: message with a wrong length")
		}
		data := buf[unix.SizeofNlMsghdr:length]
		switch kind {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			if len(data) < 4 {
				return true, errors.New("conntrack: error without a number")
			}
			return true, fmt.Errorf("list conntrack entries: %w", unix.Errno(-int32(binary.NativeEndian.Uint32(data))))
		default:
			if err := each(kind, data); err != nil {
				return true, err
			}
		}
		buf = buf[min((length+3)&^3, len(buf)):]
	}
	return false, nil
}

// Watch calls each for connections that start, and with ended for those that end, until ctx ends. lost
// is called when the kernel has dropped some because there were too many. started is called once, when
// no later connection can be missed.
func (r *Reader) Watch(ctx context.Context, started, lost func(), each func(c Connection, ended bool) error) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: r.ns.Fd()})
	if err != nil {
		return fmt.Errorf("conntrack: %w", err)
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	_ = conn.SetReadBuffer(eventBuffer)
	for _, group := range []uint32{groupNew, groupDestroy} {
		if err := conn.JoinGroup(group); err != nil {
			return fmt.Errorf("watch conntrack entries: %w", err)
		}
	}
	started()

	for {
		err := receiveEach(conn, func(kind uint16, data []byte) error {
			c, err := parseConnection(data)
			if err != nil {
				return err
			}
			return each(c, kind == msgDelete)
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			lost()
		default:
			return err
		}
	}
}
