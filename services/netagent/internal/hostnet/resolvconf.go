package hostnet

import (
	"net/netip"
	"os"
	"strings"
)

// Nameservers returns the servers of the host's resolv.conf. An unreadable file has none.
func Nameservers() []netip.Addr {
	data, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return nil
	}

	var out []netip.Addr
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(words[1]); err == nil {
			out = append(out, addr.WithZone(""))
		}
	}

	return out
}
