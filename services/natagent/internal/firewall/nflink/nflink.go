// Package nflink is the netlink socket that natagent speaks to nf_tables over, in place of the library's own.
//
// The library asks select(2) whether an answer has come, which cannot name descriptors from 1024 on, and it panics there; a process that
// holds a socket for each published port has more. No waiting is needed: the kernel has queued the answer when sending returns, and goes
// on with a long list at each reading. So all is read until there is no more.
package nflink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/crashpoint"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// Link is a lasting socket. The library's connection over it may be used by several at once.
type Link struct {
	*nftables.Conn

	port uint32

	mu     sync.Mutex // one request and its answer at a time
	fd     int        // -1: closed
	sends  int        // what the socket's buffers hold
	taking int
	buffer []byte
}

// libraryPort is the port that the library takes itself for.
const libraryPort = 1

// Open opens a socket in a network namespace.
func Open(ns hostns.NS) (*Link, error) {
	l := &Link{fd: -1, buffer: make([]byte, 64<<10)}
	err := ns.Do(func() (err error) {
		l.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return nil, err
	}
	if l.port, err = bind(l.fd); err == nil {
		l.Conn, err = nftables.New(nftables.WithTestDial(l.exchange)) // not lasting: who asks at the same time has answers of his own
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// bind gives the socket a port, and answers which.
func bind(fd int) (uint32, error) {
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1) // an error need not repeat what was asked
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	address, ok := name.(*unix.SockaddrNetlink)
	if !ok {
		return 0, fmt.Errorf("netlink socket has an address of another kind: %T", name)
	}
	return address.Pid, nil
}

// Port is the socket's netlink port, by which the kernel names who owns a table, or has changed something.
func (l *Link) Port() uint32 { return l.port }

// Close closes the socket.
func (l *Link) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fd < 0 {
		return nil
	}
	err := unix.Close(l.fd)
	l.fd = -1
	return os.NewSyscallError("close", err)
}

// exchange sends what the library asks, and answers all that the kernel says to it. Nothing asked is nothing answered.
func (l *Link) exchange(asked []netlink.Message) ([]netlink.Message, error) {
	if len(asked) == 0 {
		return nil, io.EOF
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fd < 0 {
		return nil, os.ErrClosed
	}
	if err := crashpoint.Before(crashpoint.Firewall, pointName(asked)); err != nil {
		return nil, err
	}
	if err := l.send(asked); err != nil {
		return nil, err
	}
	defer func() { _ = crashpoint.After(crashpoint.Firewall, pointName(asked)) }()

	var answers []netlink.Message
	for {
		some, err := l.receive()
		switch {
		case errors.Is(err, unix.EAGAIN) && len(answers) == 0:
			return nil, io.EOF
		case errors.Is(err, unix.EAGAIN):
			return answers, nil
		case err != nil:
			return nil, err
		}
		answers = append(answers, some...)
	}
}

// pointName tells a crash point whether rules are changed or only read.
func pointName(asked []netlink.Message) string {
	if len(asked) > 1 {
		return "flush"
	}
	return "list"
}

// send writes messages as one datagram.
func (l *Link) send(messages []netlink.Message) error {
	var data []byte
	for _, m := range messages {
		data = appendMessage(data, m)
	}
	l.sends = enlarge(l.fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, l.sends, len(data))
	l.taking = enlarge(l.fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, l.taking, max(minTaking, len(messages)*perAnswer))
	return os.NewSyscallError("sendto", unix.Sendto(l.fd, data, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
}

// Room for answers, which nft, too, makes so large.
const (
	minTaking = 1 << 20
	perAnswer = 1 << 10
)

// enlarge makes a buffer hold a number of bytes, as far as the kernel lets it, and answers what was asked for.
func enlarge(fd, force, polite, has, wanted int) int {
	if wanted <= has {
		return has
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, wanted) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, polite, wanted)
	}
	return wanted
}

// receive reads a datagram; EAGAIN says that there is none.
func (l *Link) receive() ([]netlink.Message, error) {
	for {
		n, _, flags, _, err := unix.Recvmsg(l.fd, l.buffer, nil, unix.MSG_PEEK|unix.MSG_TRUNC|unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("recvmsg", err)
		}
		if flags&unix.MSG_TRUNC == 0 && n <= len(l.buffer) {
			break
		}
		l.buffer = make([]byte, n)
	}
	n, _, _, _, err := unix.Recvmsg(l.fd, l.buffer, nil, unix.MSG_DONTWAIT)
	if err != nil {
		return nil, os.NewSyscallError("recvmsg", err)
	}
	return parse(l.buffer[:n])
}

func appendMessage(data []byte, m netlink.Message) []byte {
	data = binary.NativeEndian.AppendUint32(data, uint32(unix.NLMSG_HDRLEN+len(m.Data)))
	data = binary.NativeEndian.AppendUint16(data, uint16(m.Header.Type))
	data = binary.NativeEndian.AppendUint16(data, uint16(m.Header.Flags))
	data = binary.NativeEndian.AppendUint32(data, m.Header.Sequence)
	data = binary.NativeEndian.AppendUint32(data, 0) // the kernel knows whose it is
	data = append(data, m.Data...)
	return append(data, make([]byte, -len(data)&3)...)
}

// parse reads messages, which keep nothing of data.
func parse(data []byte) (all []netlink.Message, err error) {
	for len(data) > 0 {
		if len(data) < unix.NLMSG_HDRLEN {
			return nil, errors.New("netlink message is too short")
		}
		length := binary.NativeEndian.Uint32(data)
		if length < unix.NLMSG_HDRLEN || int(length) > len(data) {
			return nil, fmt.Errorf("netlink message of %d bytes among %d", length, len(data))
		}
		all = append(all, netlink.Message{
			Header: netlink.Header{Length: length, Type: netlink.HeaderType(binary.NativeEndian.Uint16(data[4:])),
				Flags: netlink.HeaderFlags(binary.NativeEndian.Uint16(data[6:])), Sequence: binary.NativeEndian.Uint32(data[8:]), PID: libraryPort},
			Data: append([]byte(nil), data[unix.NLMSG_HDRLEN:length]...),
		})
		data = data[min(len(data), int(length+3)&^3):]
	}
	return all, nil
}
