package portguard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// This file does not use the netlink libraries: a launch waits for these transactions. A persistent
// socket with messages of a known format needs no goroutines and no allocation for each attribute.

// socket is a persistent netfilter socket in one namespace.
type socket struct {
	fd   int
	port uint32
	seq  uint32
	buf  []byte
}

const (
	sendBuffer    = 16 << 20
	receiveBuffer = 256 << 10
	answerSeconds = 10
)

// openSocket opens a socket in the namespace of a file; an empty path selects that of the process.
func openSocket(nsPath string) (*socket, error) {
	done := make(chan error, 1)
	s := &socket{fd: -1}
	go func() {
		if nsPath == "" {
			done <- s.open()
			return
		}

		runtime.LockOSThread() // never unlocked, so the runtime ends the thread
		f, err := os.Open(nsPath)
		if err == nil {
			defer f.Close()
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
		}

		if err == nil {
			err = s.open()
		}

		done <- err
	}()
	return s, <-done
}

func (s *socket) open() (err error) {
	if s.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER); err != nil {
		return err
	}

	// A transaction with many elements is one message to the socket.
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	}

	_ = unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	err = errors.Join(unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO,
		&unix.Timeval{Sec: answerSeconds}),
		unix.Bind(s.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	if err != nil {
		return errors.Join(err, s.close())
	}

	name, err := unix.Getsockname(s.fd)
	if at, ok := name.(*unix.SockaddrNetlink); ok {
		s.port = at.Pid
	}

	s.buf = make([]byte, receiveBuffer)
	return err
}

func (s *socket) close() error {
	if s.fd < 0 {
		return nil
	}
	fd := s.fd
	s.fd = -1
	return unix.Close(fd)
}

const messageHeader = 4 // size of struct nfgenmsg

func (s *socket) appendMessage(to []byte, kind, flags uint16, family byte, subsystem uint16, attrs []byte) []byte {
	s.seq++
	to = binary.NativeEndian.AppendUint32(to, uint32(unix.SizeofNlMsghdr+messageHeader+len(attrs)))
	to = binary.NativeEndian.AppendUint16(to, kind)
	to = binary.NativeEndian.AppendUint16(to, flags|unix.NLM_F_REQUEST)
	to = binary.NativeEndian.AppendUint32(to, s.seq)
	to = binary.NativeEndian.AppendUint32(to, s.port)
	to = append(to, family, unix.NFNETLINK_V0, byte(subsystem>>8), byte(subsystem))
	return append(to, attrs...)
}

// execute sends a transaction, which the kernel applies atomically.
func (s *socket) execute(messages []message) error {
	first := s.seq + 1
	out := s.appendMessage(nil, unix.NFNL_MSG_BATCH_BEGIN, 0, unix.NFPROTO_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	for i, m := range messages {
		flags := m.flags
		if i == len(messages)-1 {
			flags |= unix.NLM_F_ACK // errors are reported for each message, success for the last one
		}
		out = s.appendMessage(out, uint16(unix.NFNL_SUBSYS_NFTABLES<<8|m.kind), flags, m.family, 0, m.attrs)
	}

	last := s.seq
	out = s.appendMessage(out, unix.NFNL_MSG_BATCH_END, 0, unix.NFPROTO_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	if err := unix.Sendto(s.fd, out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}

	var failed error
	err := s.receive(func(kind uint16, seq uint32, data []byte) (more bool) {
		if seq < first || kind != unix.NLMSG_ERROR || len(data) < 4 {
			return true // of an earlier transaction
		}
		if code := int32(binary.NativeEndian.Uint32(data)); code != 0 && failed == nil {
			failed = fmt.Errorf("message %d: %w", seq-first, unix.Errno(-code))
		}
		return seq != last && !(seq == first && failed != nil)
	})
	return errors.Join(err, failed)
}

// list sends a request for a list and calls each with its entries.
func (s *socket) list(m message, each func(data []byte)) error {
	out := s.appendMessage(nil, uint16(unix.NFNL_SUBSYS_NFTABLES<<8|m.kind), unix.NLM_F_DUMP, m.family, 0, m.attrs)
	mine := s.seq
	if err := unix.Sendto(s.fd, out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}

	var failed error
	err := s.receive(func(kind uint16, seq uint32, data []byte) (more bool) {
		switch {
		case seq != mine:
		case kind == unix.NLMSG_DONE:
			return false
		case kind == unix.NLMSG_ERROR && len(data) >= 4:
			if code := int32(binary.NativeEndian.Uint32(data)); code != 0 {
				failed = unix.Errno(-code)
			}
			return false
		case len(data) >= messageHeader:
			each(data[messageHeader:])
		}
		return true
	})
	return errors.Join(err, failed)
}

// receive calls each with every message until it returns false.
func (s *socket) receive(each func(kind uint16, seq uint32, data []byte) (more bool)) error {
	for more := true; more; {
		n, _, err := unix.Recvfrom(s.fd, s.buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		for b := s.buf[:n]; len(b) >= unix.SizeofNlMsghdr; {
			length := int(binary.NativeEndian.Uint32(b))
			if length < unix.SizeofNlMsghdr || length > len(b) {
				break
			}
			if !each(binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint32(b[8:]),
				b[unix.SizeofNlMsghdr:length]) {
				more = false
			}
			b = b[min(len(b), (length+3)&^3):]
		}
	}
	return nil
}

// eachAttr calls f with the attributes in data.
func eachAttr(data []byte, f func(kind uint16, value []byte)) {
	const header = 4
	for len(data) >= header {
		length := int(binary.NativeEndian.Uint16(data))
		if length < header || length > len(data) {
			return
		}
		f(binary.NativeEndian.Uint16(data[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), data[header:length])
		data = data[min(len(data), (length+3)&^3):]
	}
}
