// Package portsocket takes host ports from the kernel by binding sockets to them, so that natagent and the host's own programs
// notice each other, and a port that was handed out stays taken.
//
// A held port never answers. Connections to a published port are translated before they would reach the socket; one that
// arrives all the same (the rules are not in yet, or not any more) is dropped by a filter on the socket, and the client's
// next try finds the rules. A TCP port must be listened on to be held: a server that sets SO_REUSEADDR, as nearly all do,
// can bind over a socket that is bound only.
package portsocket

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/hostport"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// Binder holds ports in one network namespace.
type Binder struct{ ns hostns.NS }

// New makes a holder.
func New(ns hostns.NS) *Binder { return &Binder{ns} }

// Port is a port that is held until it is closed.
type Port struct{ fd int }

// Close lets go of the port.
func (p *Port) Close() error { return unix.Close(p.fd) }

// Bind takes a port. The error is the kernel's: EADDRINUSE if a program has the port, EADDRNOTAVAIL if the address is not
// the host's; or hostport.ErrNoTransport.
func (h *Binder) Bind(proto publication.Protocol, at netip.AddrPort) (port *Port, err error) {
	err = h.ns.Do(func() (err error) {
		port, err = hold(proto, at)
		return err
	})
	return port, err
}

// IPv6 tells whether the host has IPv6.
func (h *Binder) IPv6() bool {
	port, err := h.Bind(publication.UDP, netip.AddrPortFrom(netip.IPv6Unspecified(), 0))
	if err != nil {
		return false
	}
	return port.Close() == nil
}

func hold(proto publication.Protocol, at netip.AddrPort) (*Port, error) {
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

func open(proto publication.Protocol, ip netip.Addr) (int, error) {
	family, kind := unix.AF_INET, unix.SOCK_STREAM
	if ip.Is6() {
		family = unix.AF_INET6
	}
	if proto == publication.UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(proto.Number()))
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ESOCKTNOSUPPORT) {
		return -1, fmt.Errorf("%w: %w", hostport.ErrNoTransport, err)
	}
	return fd, os.NewSyscallError("socket", err)
}

func take(fd int, proto publication.Protocol, at netip.AddrPort) error {
	if err := attachDropFilter(fd); err != nil {
		return os.NewSyscallError("attach filter", err)
	}
	if proto == publication.TCP { // connections of a server that was there before may still be in TIME_WAIT
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return os.NewSyscallError("set SO_REUSEADDR", err)
		}
	}
	if at.Addr().Is6() { // IPv4 is published apart from IPv6, or not at all
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return os.NewSyscallError("set IPV6_V6ONLY", err)
		}
	}
	if err := unix.Bind(fd, sockaddr(at)); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if proto == publication.UDP {
		return nil
	}
	return os.NewSyscallError("listen", unix.Listen(fd, 1))
}

// attachDropFilter makes the socket deaf: a filter of one instruction that keeps 0 bytes of each packet.
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
