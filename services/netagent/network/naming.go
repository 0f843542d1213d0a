package network

import (
	"encoding/hex"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/agent/id"
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

// HostMAC is the hardware address of an endpoint's end on the host. It is given to the kernel, not left to it, so that no
// network manager replaces it, and starts with fe so that no bridge ever takes it for its own.
func HostMAC(endpointID string) net.HardwareAddr {
	b, err := hex.DecodeString(endpointID[:10])
	if err != nil {
		return nil // not an id: the kernel chooses
	}
	return append(net.HardwareAddr{0xfe}, b...)
}

// HostInterface names an endpoint's end on the host: veth and seven digits of its id.
func HostInterface(endpointID string) string { return vethPrefix + endpointID[:vethDigits] }

// ContainerInterface names the interface with that number inside a container.
func ContainerInterface(number int) string { return "eth" + strconv.Itoa(number) }

// Alias is written on the host's end of an endpoint. It says which network of which agent made it (network ids are random, so
// agents with different state never take each other's links for their own) and for whom.
func Alias(networkID, owner string) string {
	return aliasPrefix + ":" + id.Short(networkID) + ":" + id.Short(owner)
}

// AliasIsOf tells whether an alias was made for that network.
func AliasIsOf(alias, networkID string) bool {
	return strings.HasPrefix(alias, aliasPrefix+":"+id.Short(networkID)+":")
}
