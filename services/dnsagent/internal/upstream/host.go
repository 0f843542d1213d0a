// Package upstream knows the name servers that containers' questions are passed on to, and the two ways to them: from the host's
// network, to those that the host itself uses at the moment, and from a container's, to its own.
//
// It speaks no DNS. Which container uses which, package registration decides.
package upstream

import (
	"net/netip"
	"os"
	"sync"
	"syscall"

	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvconf"
)

// port is where name servers listen.
const port = 53

// Host is the host's own servers as its resolv.conf has them. A change there, by a VPN or by hand, counts from the next question on.
type Host struct {
	path string

	mu      sync.Mutex
	seen    fileVersion
	servers []netip.AddrPort
}

// fileVersion tells contents of a file apart without reading them.
type fileVersion struct {
	device, inode uint64
	size          int64
	changed       syscall.Timespec
}

// WatchFile follows a file.
func WatchFile(path string) *Host { return &Host{path: path} }

// Servers are those of this moment. A file that cannot be read has none.
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

// versionOf looks at what a path leads to, over symbolic links: that is how the file is exchanged on most hosts.
func versionOf(path string) (fileVersion, bool) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return fileVersion{}, false
	}
	return fileVersion{st.Dev, st.Ino, st.Size, st.Ctim}, true
}

// WithPort gives servers with the port that they listen on.
func WithPort(servers []netip.Addr) []netip.AddrPort {
	var all []netip.AddrPort
	for _, s := range servers {
		all = append(all, netip.AddrPortFrom(s, port))
	}
	return all
}
