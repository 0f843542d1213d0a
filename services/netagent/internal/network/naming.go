package network

import (
	"net"
	"net/netip"

	"github.com/fairlead/fairlead/proto/id"
)

// MACOf returns the MAC address derived from an IP address: 02:42 and its last four bytes. An
// address and its MAC have the same owner, so neighbour entries of a reused address stay valid.
func MACOf(addr netip.Addr) net.HardwareAddr {
	b := addr.Unmap().AsSlice()
	return append(net.HardwareAddr{0x02, 0x42}, b[len(b)-4:]...)
}

// MACLen is the length of a MAC address in bytes.
const MACLen = 6

// DefaultPrefix is the default prefix of interface names in containers.
const DefaultPrefix = "eth"

// DefaultBridge returns the default bridge name: br- and the first 12 digits of the network id.
func DefaultBridge(networkID string) string { return "br-" + id.Short(networkID) }

// maxQuoted is the number of bytes of a value that a message shows.
const maxQuoted = 80

// Quote returns a value for a message, in quotes. It is cut after 80 bytes.
func Quote(s string) string {
	if len(s) > maxQuoted {
		s = s[:maxQuoted] + "…"
	}
	return `"` + s + `"`
}
