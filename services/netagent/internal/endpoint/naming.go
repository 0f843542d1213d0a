package endpoint

import (
	"encoding/hex"
	"net"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

const (
	vethPrefix  = "veth"
	vethDigits  = 7
	aliasPrefix = "fairlead"
)

// HostMAC returns the MAC address of an endpoint's host end. It is set explicitly, so that no
// network manager replaces it. It starts with fe, so that no bridge adopts it.
func HostMAC(endpointID string) net.HardwareAddr {
	b, err := hex.DecodeString(endpointID[:10])
	if err != nil {
		return nil // not an id: the kernel chooses the MAC address
	}
	return append(net.HardwareAddr{0xfe}, b...)
}

// IsHostEnd reports whether a link without an alias is a host end whose creation was interrupted.
// The kernel sets name and MAC address at creation, but the alias only later. The MAC address must
// match the name.
func IsHostEnd(name string, mac net.HardwareAddr) bool {
	digits, ok := strings.CutPrefix(name, vethPrefix)
	return ok && len(digits) == vethDigits && len(mac) == network.MACLen && mac[0] == 0xfe &&
		strings.HasPrefix(hex.EncodeToString(mac[1:]), digits)
}

// HostInterface returns the name of an endpoint's host end: veth and seven digits of its id.
func HostInterface(endpointID string) string { return vethPrefix + endpointID[:vethDigits] }

// IsHostInterface reports whether a link name has the form of a host end.
func IsHostInterface(link string) bool {
	return strings.HasPrefix(link, vethPrefix) && len(link) == len(vethPrefix)+vethDigits
}

// ContainerInterface returns the name of an interface in a container.
func ContainerInterface(prefix string, number int) string {
	if prefix == "" {
		prefix = network.DefaultPrefix
	}
	return prefix + strconv.Itoa(number)
}

// FreeInterface returns the interface name with the lowest free number.
func FreeInterface(prefix string, taken map[string]bool) string {
	for n := 0; ; n++ {
		if name := ContainerInterface(prefix, n); !taken[name] {
			return name
		}
	}
}

// Alias returns the link alias of a host end. It contains the network id, which is random, so
// agents with different state do not confuse their links.
func Alias(networkID, owner string) string {
	return aliasPrefix + ":" + id.Short(networkID) + ":" + id.Short(owner)
}

// AliasIsOf reports whether an alias belongs to the network.
func AliasIsOf(alias, networkID string) bool {
	return strings.HasPrefix(alias, aliasPrefix+":"+id.Short(networkID)+":")
}
