// Package kernel is netagent's access to the kernel. It handles links, addresses, routes, neighbour
// entries, namespaces and network sysctls.
//
// It repeats interrupted requests, contains no policy and keeps no state. Errors wrap the kernel's
// errno; callers translate them into faults.
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

// Host is a connection to the host's network namespace. It is safe for concurrent use and keeps its
// sockets open until Close.
type Host struct {
	ns      *os.File // nil: the namespace of the process
	handle  *netlink.Handle
	sockets map[int]*nl.SocketHandle // for messages that netlink.Handle does not support
	strict  map[int]*nl.SocketHandle // for dumps with strict checking
}

// Open connects to the network namespace of a file; an empty path selects that of the process.
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

	// A kernel without strict checking does not filter dumps; the callers filter them again.
	_ = unix.SetsockoptInt(h.strict[unix.NETLINK_ROUTE].Socket.GetFd(), unix.SOL_NETLINK,
		unix.NETLINK_GET_STRICT_CHK, 1)
	return h, nil
}

// Close closes the sockets.
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

// inside runs f on a thread in the host's namespace.
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

// onOwnThread runs f on a new thread that exits with f. A namespace that f enters never reaches
// another goroutine.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked, so the runtime ends the thread
		done <- f()
	}()
	return <-done
}

// send sends one message and waits for the acknowledgement.
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

// attempts bounds the number of times an interrupted request is sent. Dumps on a busy host are interrupted often,
// but not this often.
const attempts = 20

// retry repeats f while the kernel reports an interruption.
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

// retried is retry for functions with a result.
func retried[T any](f func() (T, error)) (T, error) {
	var out T
	err := retry(func() (err error) {
		out, err = f()
		return err
	})
	return out, err
}

// missing reports whether an error means that the object does not exist.
func missing(err error) bool {
	var notFound netlink.LinkNotFoundError
	return errors.As(err, &notFound) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) ||
		errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EADDRNOTAVAIL)
}

// ipNet converts a prefix, with its host bits, for the netlink library.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// prefixOf converts a network of the netlink library; the zero prefix if it is not valid.
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

// familyOf returns the netlink library's constant for the family of an address.
func familyOf(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}
