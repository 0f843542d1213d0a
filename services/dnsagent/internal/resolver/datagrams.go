package resolver

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// datagrams reads queries from a UDP socket in two steps, so that a crash loses no query before its
// response is sent. It must be used by one goroutine at a time.
type datagrams struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	err  error
	buf  []byte
}

func newDatagrams(conn *net.UDPConn) *datagrams {
	d := &datagrams{conn: conn, buf: make([]byte, maxQuestion)}
	d.raw, d.err = conn.SyscallConn()
	return d
}

// peek waits for a query and leaves it in the socket. The next call overwrites the message.
func (d *datagrams) peek() (message []byte, from netip.AddrPort, err error) {
	if d.err != nil {
		return nil, from, d.err
	}

	n, sender, received := 0, unix.Sockaddr(nil), error(nil)
	err = d.raw.Read(func(fd uintptr) bool {
		n, sender, received = recv(fd, d.buf, unix.MSG_PEEK)
		return !errors.Is(received, unix.EAGAIN)
	})
	if err = errors.Join(err, received); err != nil {
		return nil, from, err
	}

	switch sender := sender.(type) {
	case *unix.SockaddrInet4:
		from = netip.AddrPortFrom(netip.AddrFrom4(sender.Addr), uint16(sender.Port))
	case *unix.SockaddrInet6:
		from = netip.AddrPortFrom(netip.AddrFrom16(sender.Addr), uint16(sender.Port))
	}

	return d.buf[:n], from, nil
}

// consume removes the peeked query from the socket.
func (d *datagrams) consume() {
	_ = d.raw.Read(func(fd uintptr) bool {
		_, _, _ = recv(fd, nil, unix.MSG_DONTWAIT)
		return true
	})
}

func recv(fd uintptr, buf []byte, flags int) (int, unix.Sockaddr, error) {
	for {
		n, from, err := unix.Recvfrom(int(fd), buf, flags)
		if !errors.Is(err, unix.EINTR) {
			return n, from, err
		}
	}
}
