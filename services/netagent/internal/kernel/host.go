// Package kernel is netagent's one door to the kernel: links, addresses, routes, neighbours, namespaces and network sysctls.
//
// Everything that can be interrupted is retried here, so nobody else has to. The package says what is and makes what it is
// told; it decides nothing and remembers nothing. Errors are plain and wrap the kernel's errno; callers that know what it
// means for their user make faults of them.
package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/crashpoint"
)

// Host is the door to the namespace that is the host's. It is safe for concurrent use and keeps its sockets until Close.
type Host struct {
	ns      *os.File // nil: the process's own
	handle  *netlink.Handle
	sockets map[int]*nl.SocketHandle // for the messages that netlink.Handle has no words for
	strict  map[int]*nl.SocketHandle // for lists
}

// Open opens the door to the namespace that a file is; an empty path means the process's own.
func Open(nsPath string) (*Host, error) {
	h, at := &Host{}, netns.None()
	if nsPath != "" {
		f, err := os.Open(nsPath)
		if err != nil {
			return nil, fmt.Errorf("network namespace: %w", err)
		}
		h.ns, at = f, netns.NsHandle(f.Fd())
	}
	handle, err := netlink.NewHandleAt(at, unix.NETLINK_ROUTE)
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	h.handle = handle
	for _, sockets := range []*map[int]*nl.SocketHandle{&h.sockets, &h.strict} {
		socket, err := nl.GetNetlinkSocketAt(at, netns.None(), unix.NETLINK_ROUTE)
		if err != nil {
			h.Close()
			return nil, fmt.Errorf("netlink socket: %w", err)
		}
		*sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}
	}
	// A kernel that does not know this sends more than was asked for, which is left out here.
	_ = unix.SetsockoptInt(h.strict[unix.NETLINK_ROUTE].Socket.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	return h, nil
}

// Close lets go of the sockets.
func (h *Host) Close() {
	if h.handle != nil {
		h.handle.Close()
	}
	for _, sockets := range []map[int]*nl.SocketHandle{h.sockets, h.strict} {
		for _, s := range sockets {
			s.Close()
		}
	}
	if h.ns != nil {
		_ = h.ns.Close()
	}
}

// inside runs f on a thread that is in the host's namespace.
func (h *Host) inside(f func() error) error {
	if h.ns == nil {
		return f()
	}
	return onOwnThread(func() error {
		if err := unix.Setns(int(h.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return f()
	})
}

// onOwnThread runs f on a thread of its own, which ends with f: whatever namespace f leaves it in, nobody else gets it.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked, so the runtime ends the thread
		done <- f()
	}()
	return <-done
}

// send executes one message of our own making.
func (h *Host) send(kind, flags uint16, parts ...nl.NetlinkRequestData) error {
	return retry(func() error {
		req := &nl.NetlinkRequest{Sockets: h.sockets, NlMsghdr: unix.NlMsghdr{
			Len: unix.SizeofNlMsghdr, Type: kind, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK | flags}}
		for _, p := range parts {
			req.AddData(p)
		}
		_, err := req.Execute(unix.NETLINK_ROUTE, 0)
		return err
	})
}

// attempts is how often an interrupted request is made. Dumps of a busy host are interrupted often, but not this often.
const attempts = 20

// retry makes a request again while the kernel says that it was interrupted.
func retry(f func() error) error {
	err := crashpoint.Before(crashpoint.Netlink, "")
	if err != nil {
		return err
	}
	defer func() { _ = crashpoint.After(crashpoint.Netlink, "") }()
	for range attempts {
		err = f()
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return err
}

// retried is retry for requests with an answer.
func retried[T any](f func() (T, error)) (T, error) {
	var out T
	err := retry(func() (err error) {
		out, err = f()
		return err
	})
	return out, err
}

// missing tells whether the kernel says that the thing is not there.
func missing(err error) bool {
	var notFound netlink.LinkNotFoundError
	return errors.As(err, &notFound) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) ||
		errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EADDRNOTAVAIL)
}

// ipNet is a prefix with its host bits, as the netlink library wants it.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// prefixOf is the way back; not valid if it is none.
func prefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return netip.Prefix{}
	}
	ones, bits := n.Mask.Size()
	if addr = addr.Unmap(); bits != addr.BitLen() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(addr, ones)
}

// familyOf is the netlink library's number for the address's family.
func familyOf(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}
