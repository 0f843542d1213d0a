package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Host is a listen address: a Unix socket, a TCP address, or the sockets passed by systemd.
type Host struct {
	Network string // "unix", "tcp" or "fd"
	Address string // a path, ADDRESS:PORT, or nothing
}

// String formats the host for ParseHost. It is empty for the zero Host.
func (h Host) String() string {
	if h.Network == "" {
		return ""
	}
	return h.Network + "://" + h.Address
}

// Loopback reports whether only processes on this host can connect.
func (h Host) Loopback() bool {
	if h.Network != "tcp" {
		return true
	}
	name := h.Address[:strings.LastIndexByte(h.Address, ':')]
	addr, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return name == "localhost" || err == nil && addr.IsLoopback()
}

// UnixPathMax is the maximum length of a Unix socket path: 108 bytes in the kernel, with a trailing
// zero.
const UnixPathMax = 107

// ParseHost parses unix://PATH, tcp://ADDRESS:PORT or fd://.
func ParseHost(text string) (Host, error) {
	network, address, found := strings.Cut(text, "://")
	h := Host{network, address}
	switch {
	case !found:
		return Host{}, bad("write unix:///PATH, tcp://ADDRESS:PORT or fd://", "%q has no scheme", text)
	case network == "unix":
		return h.checked(h.checkPath())
	case network == "tcp":
		return h.checked(h.checkPort())
	case network == "fd" && address == "":
		return h, nil
	case network == "fd":
		return Host{}, bad("write fd:// for all sockets of the systemd unit", "%q names a descriptor", text)
	}
	return Host{}, bad("write unix:///PATH, tcp://ADDRESS:PORT or fd://", "%q has an unknown scheme", text)
}

func (h Host) checked(err error) (Host, error) {
	if err != nil {
		return Host{}, err
	}
	return h, nil
}

func (h Host) checkPath() error {
	switch {
	case !filepath.IsAbs(h.Address):
		return bad("write three slashes, as in unix:///run/fairlead/fairlead.sock", "%q has no absolute path", h)
	case strings.ContainsRune(h.Address, 0):
		return bad("", "%q has a zero byte in its path", h)
	case len(h.Address) > UnixPathMax:
		return bad("use a shorter path", "socket path %s has %d bytes, more than %d", h, len(h.Address), UnixPathMax)
	}
	return nil
}

func (h Host) checkPort() error {
	colon := strings.LastIndexByte(h.Address, ':')
	if colon < 0 {
		return bad("write tcp://ADDRESS:PORT", "%q has no port", h)
	}
	name, port := h.Address[:colon], h.Address[colon+1:]
	if _, ok := portNumber(port); !ok {
		return bad("write tcp://ADDRESS:PORT", "%q has no port from 1 to 65535", h)
	}
	inner, bracketed := strings.CutPrefix(name, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if addr, err := netip.ParseAddr(inner); bracketed != closed || bracketed && (err != nil || !addr.Is6()) {
		return bad("", "%q has brackets without an IPv6 address", h)
	}
	if !bracketed && strings.ContainsAny(name, ":/ \x00") {
		return bad("write an IPv6 address in brackets", "%q is not ADDRESS:PORT", h)
	}
	return nil
}

func portNumber(text string) (int, bool) {
	n := 0
	for _, c := range text {
		if c < '0' || c > '9' || n > 65535 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, n >= 1 && n <= 65535
}

// bad returns an Invalid fault about a value, without a subject. Build adds the key and its origin.
func bad(hint, format string, args ...any) error {
	return fault.New(fault.Invalid, "", fmt.Sprintf(format, args...), fault.WithHint("%s", hint))
}
