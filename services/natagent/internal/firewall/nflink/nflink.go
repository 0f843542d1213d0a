// Package nflink provides a netlink socket for the nftables library.
//
// The library's own socket waits with select(2), which fails and panics for descriptors from 1024
// on; a process with one socket per published port has more. No waiting is needed: the kernel
// queues the response while sendto runs, and continues a dump at each read. So all messages are
// read until none is left.
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

// Link is a persistent socket. Its embedded connection is safe for concurrent use.
type Link struct {
	*nftables.Conn

	port uint32

	mu       sync.Mutex // serializes requests
	fd       int        // -1: closed
	sends    int        // buffer sizes of the socket
	receives int
	buffer   []byte
}

// libraryPort is the netlink port that the library assumes for itself.
const libraryPort = 1

// Open opens a socket in a network namespace.
func Open(ns hostns.NS) (*Link, error) {
	fd := -1
	err := ns.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return nil, err
	}
	return newLink(fd)
}

// OpenOn uses a netlink socket that another service has opened, for its network namespace. It closes the file.
func OpenOn(socket *os.File) (*Link, error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	fd, derr := -1, error(nil)
	err = raw.Control(func(at uintptr) { fd, derr = unix.FcntlInt(at, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, derr, socket.Close()); err != nil {
		return nil, err
	}
	return newLink(fd)
}

func newLink(fd int) (l *Link, err error) {
	l = &Link{fd: fd, buffer: make([]byte, 64<<10)}
	if l.port, err = bind(l.fd); err == nil {
		// not persistent, so that concurrent requests have separate responses
		l.Conn, err = nftables.New(nftables.WithTestDial(l.exchange))
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}

	return l, nil
}

// bind binds the socket and returns its netlink port.
func bind(fd int) (uint32, error) {
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}

	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1) // errors omit the request
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

// Port returns the socket's netlink port. The kernel reports it as the owner of tables and the
// source of changes.
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

// exchange sends requests and returns all responses. It returns io.EOF without requests.
func (l *Link) exchange(requests []netlink.Message) ([]netlink.Message, error) {
	if len(requests) == 0 {
		return nil, io.EOF
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fd < 0 {
		return nil, os.ErrClosed
	}
	if err := crashpoint.Before(crashpoint.Firewall, pointName(requests)); err != nil {
		return nil, err
	}
	if err := l.send(requests); err != nil {
		return nil, err
	}
	defer func() { _ = crashpoint.After(crashpoint.Firewall, pointName(requests)) }()

	var responses []netlink.Message
	for {
		some, err := l.receive()
		switch {
		case errors.Is(err, unix.EAGAIN) && len(responses) == 0:
			return nil, io.EOF
		case errors.Is(err, unix.EAGAIN):
			return responses, nil
		case err != nil:
			return nil, err
		}
		responses = append(responses, some...)
	}
}

// pointName returns the crash point of requests: flush for changes, list for reads.
func pointName(requests []netlink.Message) string {
	if len(requests) > 1 {
		return "flush"
	}
	return "list"
}

// send sends messages as one datagram.
func (l *Link) send(messages []netlink.Message) error {
	var data []byte
	for _, m := range messages {
		data = appendMessage(data, m)
	}
	l.sends = enlarge(l.fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, l.sends, len(data))
	l.receives = enlarge(l.fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, l.receives,
		max(minReceive, len(messages)*perResponse))
	return os.NewSyscallError("sendto", unix.Sendto(l.fd, data, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
}

// Receive buffer sizes, as in nft.
const (
	minReceive  = 1 << 20
	perResponse = 1 << 10
)

// enlarge grows a socket buffer to wanted bytes, if permitted, and returns the requested size.
func enlarge(fd, force, polite, has, wanted int) int {
	if wanted <= has {
		return has
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, wanted) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, polite, wanted)
	}
	return wanted
}

// receive reads one datagram. It returns EAGAIN if none is queued.
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
	data = binary.NativeEndian.AppendUint32(data, 0) // the kernel sets the port
	data = append(data, m.Data...)
	return append(data, make([]byte, -len(data)&3)...)
}

// parse splits data into messages. They do not reference data.
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
				Flags:    netlink.HeaderFlags(binary.NativeEndian.Uint16(data[6:])),
				Sequence: binary.NativeEndian.Uint32(data[8:]), PID: libraryPort},
			Data: append([]byte(nil), data[unix.NLMSG_HDRLEN:length]...),
		})
		data = data[min(len(data), int(length+3)&^3):]
	}

	return all, nil
}
