package network

import (
	"encoding/hex"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/id"
)

const (
	vethPrefix  = "veth"
	vethDigits  = 7
	aliasPrefix = "fairlead"
)

// MACOf is the hardware address that belongs to an address: 02:42 and the four bytes of an IPv4 address, or the last four of
// an IPv6 address. As long as an address has one owner, so has its MAC, and neighbour entries of a reused address stay right.
func MACOf(addr netip.Addr) net.HardwareAddr {
	b := addr.Unmap().AsSlice()
	return append(net.HardwareAddr{0x02, 0x42}, b[len(b)-4:]...)
}

// macLen is how many bytes a hardware address has.
const macLen = 6

// HostMAC is the hardware address of an endpoint's end on the host. It is given to the kernel, not left to it, so that no
// network manager replaces it, and starts with fe so that no bridge ever takes it for its own.
func HostMAC(endpointID string) net.HardwareAddr {
	b, err := hex.DecodeString(endpointID[:10])
	if err != nil {
		return nil // not an id: the kernel chooses
	}
	return append(net.HardwareAddr{0xfe}, b...)
}

// IsHostEnd reports whether a link without an alias is an endpoint's end on the host whose creation was interrupted: its hardware
// address is the one that belongs to its name. The kernel takes name and address with the creation, and an alias only afterwards.
func IsHostEnd(name string, mac net.HardwareAddr) bool {
	digits, ok := strings.CutPrefix(name, vethPrefix)
	return ok && len(digits) == vethDigits && len(mac) == macLen && mac[0] == 0xfe && strings.HasPrefix(hex.EncodeToString(mac[1:]), digits)
}

// HostInterface names an endpoint's end on the host: veth and seven digits of its id.
func HostInterface(endpointID string) string { return vethPrefix + endpointID[:vethDigits] }

// IsHostInterface reports whether a link may be an endpoint's end on the host.
func IsHostInterface(link string) bool {
	return strings.HasPrefix(link, vethPrefix) && len(link) == len(vethPrefix)+vethDigits
}

// DefaultPrefix starts the names of interfaces inside containers.
const DefaultPrefix = "eth"

// ContainerInterface names the interface with that number inside a container.
func ContainerInterface(prefix string, number int) string {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	return prefix + strconv.Itoa(number)
}

// FreeInterface names an interface with the lowest number that is not taken.
func FreeInterface(prefix string, taken map[string]bool) string {
	for n := 0; ; n++ { // ends, as taken does
		if name := ContainerInterface(prefix, n); !taken[name] {
			return name
		}
	}
}

// DefaultBridge names the bridge of a network whose maker gave no name: br- and the first 12 digits of its id.
func DefaultBridge(networkID string) string { return "br-" + id.Short(networkID) }

// Alias is written on the host's end of an endpoint. It says which network of which agent made it (network ids are random, so
// agents with different state never take each other's links for their own) and for whom.
func Alias(networkID, owner string) string {
	return aliasPrefix + ":" + id.Short(networkID) + ":" + id.Short(owner)
}

// AliasIsOf tells whether an alias was made for that network.
func AliasIsOf(alias, networkID string) bool {
	return strings.HasPrefix(alias, aliasPrefix+":"+id.Short(networkID)+":")
}
