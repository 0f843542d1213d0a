package conntrack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/crashpoint"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// direct is a socket that stays open, for deletions that launches and refused connections wait for. The kernel
// responds while it receives a request, so that no thread waits. The socket is closed when it is not referenced
// any more. It is safe for concurrent use.
type direct struct {
	mu   sync.Mutex
	file *os.File // nil before the first request
}

// send sends requests and returns the first error among the responses.
func (d *direct) send(ns hostns.NS, requests []byte) error {
	if err := crashpoint.Before(crashpoint.Netlink, "conntrack"); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil {
		if err := d.open(ns); err != nil {
			return fmt.Errorf("conntrack: %w", err)
		}
	}
	fd := int(d.file.Fd())
	if err := unix.Sendto(fd, requests, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	return acknowledged(fd)
}

// open opens the socket in a network namespace.
func (d *direct) open(ns hostns.NS) error {
	return ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		d.file = os.NewFile(uintptr(fd), "conntrack")
		return nil
	})
}

// appendDeletion appends a request to delete entries, with an acknowledgment.
func appendDeletion(data []byte, family byte, attrs []byte) []byte {
	payload := append([]byte{family, unix.NFNETLINK_V0, 0, 0}, attrs...)
	data = binary.NativeEndian.AppendUint32(data, uint32(unix.NLMSG_HDRLEN+len(payload)))
	data = binary.NativeEndian.AppendUint16(data, msgDelete)
	data = binary.NativeEndian.AppendUint16(data, unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	data = append(data, make([]byte, 8)...) // sequence and port, which responses need not repeat
	data = append(data, payload...)
	return append(data, make([]byte, -len(data)&3)...)
}

// acknowledged reads the responses that are queued, and returns the first error.
func acknowledged(fd int) (failed error) {
	buf := make([]byte, 4096)
	for {
		n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return failed
		case err != nil:
			return err
		}

		for data := buf[:n]; len(data) >= unix.NLMSG_HDRLEN+4; {
			length := int(binary.NativeEndian.Uint32(data))
			if code := int32(binary.NativeEndian.Uint32(data[unix.NLMSG_HDRLEN:])); code != 0 && failed == nil {
				failed = unix.Errno(-code)
			}
			data = data[min(len(data), max(unix.NLMSG_HDRLEN, (length+3)&^3)):]
		}
	}
}
