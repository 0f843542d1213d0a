// Package nlfile makes connections of netlink sockets that another service has opened: those in the network
// namespaces of containers, which natagent cannot enter. It is used by packages conntrack and nflog.
package nlfile

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Conn returns a connection that closes the file. It receives the messages of some multicast groups.
func Conn(file *os.File, groups ...int) (*netlink.Conn, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	s := &socket{file: file, raw: raw}
	var port uint32
	err = s.do(raw.Control, func(fd int) (err error) {
		port, err = bind(fd)
		for _, g := range groups { // after bind, which leaves all groups
			err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g))
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return netlink.NewConn(s, port), nil
}

// bind binds a socket and returns its netlink port.
func bind(fd int) (uint32, error) {
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	address, ok := name.(*unix.SockaddrNetlink)
	if !ok {
		return 0, fmt.Errorf("netlink socket has an address of type %T", name)
	}
	return address.Pid, nil
}

// socket implements netlink.Socket.
type socket struct {
	file *os.File
	raw  syscall.RawConn
}

// do calls f with the descriptor.
func (s *socket) do(control func(func(uintptr)) error, f func(fd int) error) error {
	var err error
	if cerr := control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

// Close implements netlink.Socket.
func (s *socket) Close() error { return s.file.Close() }

// Send implements netlink.Socket.
func (s *socket) Send(m netlink.Message) error { return s.SendMessages([]netlink.Message{m}) }

// SendMessages implements netlink.Socket.
func (s *socket) SendMessages(all []netlink.Message) error {
	var data []byte
	for _, m := range all {
		one, err := m.MarshalBinary()
		if err != nil {
			return err
		}
		data = append(data, one...)
	}
	return s.do(s.raw.Control, func(fd int) error {
		return os.NewSyscallError("sendto", unix.Sendto(fd, data, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	})
}

// ReceiveIter implements netlink.Socket.
func (s *socket) ReceiveIter() iter.Seq2[netlink.Message, error] {
	return func(yield func(netlink.Message, error) bool) {
		all, err := s.Receive()
		if err != nil {
			yield(netlink.Message{}, err)
			return
		}
		for _, m := range all {
			if !yield(m, nil) {
				return
			}
		}
	}
}

// Receive implements netlink.Socket. It waits for a datagram.
func (s *socket) Receive() ([]netlink.Message, error) {
	var data []byte
	var err error
	werr := s.raw.Read(func(fd uintptr) bool {
		data, err = datagram(int(fd))
		return !errors.Is(err, unix.EAGAIN)
	})
	if err = errors.Join(werr, err); err != nil {
		return nil, err
	}

	parsed, err := syscall.ParseNetlinkMessage(data)
	if err != nil {
		return nil, err
	}
	all := make([]netlink.Message, 0, len(parsed))
	for _, m := range parsed {
		all = append(all, netlink.Message{Data: m.Data, Header: netlink.Header{Length: m.Header.Len,
			Type: netlink.HeaderType(m.Header.Type), Flags: netlink.HeaderFlags(m.Header.Flags),
			Sequence: m.Header.Seq, PID: m.Header.Pid}})
	}
	return all, nil
}

// datagram reads one datagram, of any length. It returns EAGAIN if none is queued.
func datagram(fd int) ([]byte, error) {
	for {
		n, _, _, _, err := unix.Recvmsg(fd, nil, nil, unix.MSG_PEEK|unix.MSG_TRUNC|unix.MSG_DONTWAIT)
		if err == nil {
			data := make([]byte, n)
			n, _, _, _, err = unix.Recvmsg(fd, data, nil, unix.MSG_DONTWAIT)
			if err == nil {
				return data[:n], nil
			}
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, err
		}
	}
}

// SetDeadline is that of netlink.Conn.
func (s *socket) SetDeadline(t time.Time) error { return s.file.SetDeadline(t) }

// SetReadDeadline is that of netlink.Conn.
func (s *socket) SetReadDeadline(t time.Time) error { return s.file.SetReadDeadline(t) }

// SetWriteDeadline is that of netlink.Conn.
func (s *socket) SetWriteDeadline(t time.Time) error { return s.file.SetWriteDeadline(t) }

// SetReadBuffer is that of netlink.Conn.
func (s *socket) SetReadBuffer(bytes int) error {
	return s.buffer(unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, bytes)
}

// SetWriteBuffer is that of netlink.Conn.
func (s *socket) SetWriteBuffer(bytes int) error {
	return s.buffer(unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, bytes)
}

func (s *socket) buffer(force, polite, bytes int) error {
	return s.do(s.raw.Control, func(fd int) error {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, bytes) == nil {
			return nil
		}
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, polite, bytes))
	})
}

// Changes are the messages of a multicast group.
type Changes struct{ conn *netlink.Conn }

// Subscribe receives the messages of a multicast group from now on. It closes the file after an error.
func Subscribe(file *os.File, group int) (*Changes, error) {
	conn, err := Conn(file, group)
	if err != nil {
		return nil, err
	}
	return &Changes{conn}, nil
}

// Close closes the file. It must not be called during Read.
func (c *Changes) Close() error { return c.conn.Close() }

// Read calls changed for messages that another port has caused, until ctx ends, and closes the file.
func (c *Changes) Read(ctx context.Context, own uint32, changed func()) error {
	defer c.conn.Close()
	defer context.AfterFunc(ctx, func() { _ = c.conn.SetReadDeadline(time.Unix(1, 0)) })()
	for {
		messages, err := c.conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS): // some were lost
			changed()
		case err != nil:
			return err
		case slices.ContainsFunc(messages, func(m netlink.Message) bool { return m.Header.PID != own }):
			changed()
		}
	}
}
