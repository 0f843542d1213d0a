// Package legacy has the fields that Docker removed from its types, for requests of older versions. It
// performs no I/O.
package legacy

import (
	"net/netip"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
)

// NetworkSettings are the network settings of a container. Version 1.52 removed the addresses of the
// network mode, which are those in Networks.
type NetworkSettings struct {
	container.NetworkSettings
	*Addresses // nil since version 1.52
}

// Addresses are those of the endpoint of the network mode.
type Addresses struct {
	Bridge                 string
	HairpinMode            bool
	LinkLocalIPv6Address   string
	LinkLocalIPv6PrefixLen int
	SecondaryIPAddresses   []struct{}
	SecondaryIPv6Addresses []struct{}
	EndpointID             string
	Gateway                netip.Addr
	GlobalIPv6Address      netip.Addr
	GlobalIPv6PrefixLen    int
	IPAddress              netip.Addr
	IPPrefixLen            int
	IPv6Gateway            netip.Addr
	MacAddress             string
}

// NetworkSettingsOf adds the addresses of an endpoint, which can be nil.
func NetworkSettingsOf(s container.NetworkSettings, e *network.EndpointSettings,
	v apiversion.Version) NetworkSettings {
	out := NetworkSettings{NetworkSettings: s}
	if v.AtLeast(52) {
		return out
	}
	out.Addresses = &Addresses{}
	if e != nil {
		out.Addresses = &Addresses{EndpointID: e.EndpointID, Gateway: e.Gateway,
			GlobalIPv6Address: e.GlobalIPv6Address, GlobalIPv6PrefixLen: e.GlobalIPv6PrefixLen, IPAddress: e.IPAddress,
			IPPrefixLen: e.IPPrefixLen, IPv6Gateway: e.IPv6Gateway, MacAddress: e.MacAddress.String()}
	}
	return out
}

// Config is the configuration of a container. Version 1.52 removed the MAC address, which is part of
// the endpoint.
type Config struct {
	*container.Config
	MacAddress string `json:",omitempty"`
}

// HostConfig is the host part of the configuration, with limits that newer kernels do not have.
type HostConfig struct {
	*container.HostConfig
	*KernelMemory // nil since version 1.42
}

// KernelMemory are limits that cgroup v2 does not have. They are never set.
type KernelMemory struct {
	KernelMemory    int64
	KernelMemoryTCP int64
}

// HostConfigOf adds the removed fields.
func HostConfigOf(h *container.HostConfig, v apiversion.Version) HostConfig {
	out := HostConfig{HostConfig: h}
	if v.Before(42) {
		out.KernelMemory = &KernelMemory{}
	}
	return out
}
