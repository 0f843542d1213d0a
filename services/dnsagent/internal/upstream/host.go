// Package upstream finds and dials the upstream name servers of containers: those of the host, from
// the host network, and those of a container, from its own.
//
// It does not implement DNS. Package registration chooses the upstreams of a container. The root
// package calls it.
package upstream

import (
	"net/netip"
	"os"
	"sync"
	"syscall"

	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvconf"
)

// port is the port of name servers.
const port = 53

// Host returns the servers of the host's resolv.conf. A change of the file, by a VPN or an
// administrator, applies to the next query.
type Host struct {
	path string

	mu      sync.Mutex
	seen    fileVersion
	servers []netip.AddrPort
}

// fileVersion identifies the content of a file without reading it.
type fileVersion struct {
	device, inode uint64
	size          int64
	changed       syscall.Timespec
}

// WatchFile returns the servers of a file.
func WatchFile(path string) *Host { return &Host{path: path} }

// Servers returns the current servers. An unreadable file has none.
func (h *Host) Servers() []netip.AddrPort {
	h.mu.Lock()
	defer h.mu.Unlock()

	now, ok := versionOf(h.path)
	switch {
	case !ok:
		h.seen, h.servers = fileVersion{}, nil
	case now != h.seen:
		data, err := os.ReadFile(h.path)
		if err != nil {
			return nil
		}
		h.seen, h.servers = now, WithPort(resolvconf.Parse(data).Servers)
	}

	return h.servers
}

// versionOf returns the version of the file at a path. It follows symbolic links, since most hosts
// replace the link.
func versionOf(path string) (fileVersion, bool) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return fileVersion{}, false
	}
	return fileVersion{st.Dev, st.Ino, st.Size, st.Ctim}, true
}

// WithPort adds the DNS port to server addresses.
func WithPort(servers []netip.Addr) []netip.AddrPort {
	var all []netip.AddrPort
	for _, s := range servers {
		all = append(all, netip.AddrPortFrom(s, port))
	}
	return all
}
