// Package portsocket reserves host ports by binding sockets, so that natagent and other processes
// detect each other's ports. Package publish uses it.
//
// A port socket never accepts a connection: DNAT comes first. If the rules are missing, a socket
// filter drops the packet, and the client's retry finds the rules. A TCP socket must listen: a
// server with SO_REUSEADDR, as most have, could bind over a socket that is only bound.
package portsocket

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/hostport"
)

// Binder binds ports in one network namespace.
type Binder struct{ ns hostns.NS }

// New returns a binder.
func New(ns hostns.NS) *Binder { return &Binder{ns} }

// Port is a port socket.
type Port struct{ fd int }

// Close closes the socket, which releases the port.
func (p *Port) Close() error { return unix.Close(p.fd) }

// Bind binds a port. Errors: EADDRINUSE if a process has the port, EADDRNOTAVAIL if the address is
// not the host's, hostport.ErrNoTransport.
func (h *Binder) Bind(proto port.Protocol, at netip.AddrPort) (port *Port, err error) {
	err = h.ns.Do(func() (err error) {
		port, err = hold(proto, at)
		return err
	})
	return port, err
}

// IPv6 reports whether the host supports IPv6.
func (h *Binder) IPv6() bool {
	port, err := h.Bind(port.UDP, netip.AddrPortFrom(netip.IPv6Unspecified(), 0))
	if err != nil {
		return false
	}
	return port.Close() == nil
}

func hold(proto port.Protocol, at netip.AddrPort) (*Port, error) {
	fd, err := open(proto, at.Addr())
	if err != nil {
		return nil, err
	}
	if err := take(fd, proto, at); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &Port{fd}, nil
}

func open(proto port.Protocol, ip netip.Addr) (int, error) {
	family, kind := unix.AF_INET, unix.SOCK_STREAM
	if ip.Is6() {
		family = unix.AF_INET6
	}
	if proto == port.UDP {
		kind = unix.SOCK_DGRAM
	}

	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(proto.Number()))
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ESOCKTNOSUPPORT) {
		return -1, fmt.Errorf("%w: %w", hostport.ErrNoTransport, err)
	}

	return fd, os.NewSyscallError("socket", err)
}

func take(fd int, proto port.Protocol, at netip.AddrPort) error {
	if err := attachDropFilter(fd); err != nil {
		return os.NewSyscallError("attach filter", err)
	}

	// Connections of an earlier server can be in TIME_WAIT.
	if proto == port.TCP {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return os.NewSyscallError("set SO_REUSEADDR", err)
		}
	}

	if at.Addr().Is6() { // IPv4 has its own socket
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return os.NewSyscallError("set IPV6_V6ONLY", err)
		}
	}

	if err := unix.Bind(fd, sockaddr(at)); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if proto == port.UDP {
		return nil
	}

	return os.NewSyscallError("listen", unix.Listen(fd, 1))
}

// attachDropFilter attaches a filter that drops all packets: it keeps 0 bytes of each.
func attachDropFilter(fd int) error {
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop})
}

func sockaddr(at netip.AddrPort) unix.Sockaddr {
	if at.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
}
