// Package portowner finds the process that uses a port, for messages only. It reads procfs, which
// is slow with many processes and can fail.
package portowner

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// Process is a process that uses a port.
type Process struct {
	Name string
	PID  int
}

// String returns the process's name in messages.
func (p Process) String() string { return fmt.Sprintf("%s, pid %d", p.Name, p.PID) }

// Find returns the process that prevents binding a port; ok is false if it cannot be found.
func Find(ns hostns.NS, proto port.Protocol, at netip.AddrPort) (p Process, ok bool) {
	inodes := map[string]bool{}
	for _, s := range sockets(ns, proto) {
		if s.Local.Port() == at.Port() && s.excludes(at.Addr()) {
			inodes["socket:["+s.Inode+"]"] = true
		}
	}
	return holderOf(inodes)
}

// InRange returns the lowest port from first to last that a socket prevents from being bound.
func InRange(ns hostns.NS, proto port.Protocol, ip netip.Addr, first, last uint16) (port uint16, taken bool) {
	for _, s := range sockets(ns, proto) {
		n := s.Local.Port()
		if n < first || n > last || !s.excludes(ip) || !s.Listening || taken && n > port {
			continue
		}
		port, taken = n, true
	}
	return port, taken
}

// sockets lists the sockets of a transport; none on error.
func sockets(ns hostns.NS, proto port.Protocol) (all []Socket) {
	if proto == port.SCTP {
		return nil
	}

	_ = ns.Do(func() error {
		for _, suffix := range []string{"", "6"} {
			f, err := os.Open("/proc/thread-self/net/" + string(proto) + suffix)
			if err != nil {
				continue // usually no IPv6
			}
			some, _ := Parse(f)
			_ = f.Close()
			all = append(all, some...)
		}
		return nil
	})

	return all
}

// holderOf searches the open files of all processes.
func holderOf(links map[string]bool) (Process, bool) {
	if len(links) == 0 {
		return Process{}, false
	}

	dirs, _ := filepath.Glob("/proc/[0-9]*/fd")
	for _, dir := range dirs {
		if !hasAny(dir, links) {
			continue
		}
		process := filepath.Dir(dir)
		name, err := os.ReadFile(filepath.Join(process, "comm"))
		pid, perr := strconv.Atoi(filepath.Base(process))
		if errors.Join(err, perr) == nil {
			return Process{strings.TrimSpace(string(name)), pid}, true
		}
	}

	return Process{}, false
}

// hasAny reports whether a process's fd directory has one of the links.
func hasAny(dir string, links map[string]bool) bool {
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		if link, err := os.Readlink(filepath.Join(dir, f.Name())); err == nil && links[link] {
			return true
		}
	}
	return false
}

// Socket is a line of /proc/net/tcp, udp, tcp6 or udp6.
type Socket struct {
	Local netip.AddrPort
	Inode string
	// Listening is true for an unconnected socket, such as a server's.
	Listening bool
}

// excludes reports whether the socket prevents binding its port on an address. Most IPv6 sockets on
// all addresses include IPv4.
func (s Socket) excludes(ip netip.Addr) bool {
	return port.Overlap(s.Local.Addr(), ip) || s.Local.Addr() == netip.IPv6Unspecified()
}

// States of unconnected sockets: TCP_LISTEN, and TCP_CLOSE for UDP.
const (
	listening   = "0A"
	unconnected = "07"
)

// Parse parses such a file and skips invalid lines.
func Parse(r io.Reader) ([]Socket, error) {
	var out []Socket
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 10 || f[9] == "0" {
			continue // the heading, or a socket without process
		}
		if local, ok := parseLocal(f[1]); ok {
			out = append(out, Socket{Local: local, Inode: f[9], Listening: f[3] == listening || f[3] == unconnected})
		}
	}

	return out, lines.Err()
}

// parseLocal parses "0100007F:1F90": the address as 32-bit words in host byte order, and the port.
func parseLocal(s string) (netip.AddrPort, bool) {
	a, p, ok := strings.Cut(s, ":")
	port, err := strconv.ParseUint(p, 16, 16)
	if !ok || err != nil || len(a) != 8 && len(a) != 32 {
		return netip.AddrPort{}, false
	}

	var b []byte
	for i := 0; i < len(a); i += 8 {
		word, err := strconv.ParseUint(a[i:i+8], 16, 32)
		if err != nil {
			return netip.AddrPort{}, false
		}
		b = binary.NativeEndian.AppendUint32(b, uint32(word))
	}

	addr, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), true
}
