// Package preflight checks a host before it becomes part of a fleet: its name, its address and what it needs of
// the host. It changes nothing. It is used by fleetagent.
package preflight

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/fleetagent/internal/admission"
)

// Name returns the name for this host in the fleet: the given one, or its host name's first label.
func Name(given string) (string, error) {
	if given == "" {
		name, err := os.Hostname()
		if err != nil {
			return "", fault.New(fault.Internal, "host name", "cannot be read", fault.WithCause(err))
		}
		given, _, _ = strings.Cut(strings.ToLower(name), ".")
	}
	return given, admission.CheckName(given)
}

// Address checks a given address: it must be one of this host's, and others must be able to reach it.
func Address(given string) (netip.Addr, error) {
	address, err := netip.ParseAddr(given)
	if err != nil {
		return address, fault.Invalidf("address "+given, "address", "is not an IP address")
	}
	if address.IsLoopback() || address.IsUnspecified() || address.IsMulticast() || address.IsLinkLocalUnicast() {
		return address, fault.Invalidf("address "+given, "address", "cannot be reached by other hosts")
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return address, fault.New(fault.Internal, "addresses of this host", "cannot be read", fault.WithCause(err))
	}
	for _, a := range own {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == address.Unmap() {
			return address.Unmap(), nil
		}
	}
	return address, fault.Invalidf("address "+given, "address", "is not an address of this host")
}

// DefaultAddress returns the source address of the default route, without sending anything.
func DefaultAddress() (netip.Addr, error) {
	for _, target := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		conn, err := net.Dial("udp", target)
		if err != nil {
			continue
		}
		_ = conn.Close()
		if a, ok := conn.LocalAddr().(*net.UDPAddr); ok {
			return a.AddrPort().Addr().Unmap(), nil
		}
	}
	return netip.Addr{}, fault.New(fault.Invalid, "address", "cannot be chosen: the host has no default route",
		fault.WithHint("use --address"))
}

// Ports opens TCP ports for a moment, so that one in use is named before anything is made.
func Ports(address netip.Addr, ports ...uint16) error {
	for _, port := range ports {
		target := netip.AddrPortFrom(address, port).String()
		l, err := net.Listen("tcp", target)
		if err != nil {
			return fault.New(fault.Busy, fmt.Sprintf("port %s/tcp", target),
				"is needed for the fleet and cannot be opened", fault.WithCause(err),
				fault.WithHint("stop the program that uses it, or set another port in the configuration"))
		}
		_ = l.Close()
	}
	return nil
}
