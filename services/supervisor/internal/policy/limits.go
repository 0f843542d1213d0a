package policy

import (
	"cmp"
	"slices"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// CheckLimits rejects limits of a container without a network of its own.
func CheckLimits(name string, mode container.Mode, l egress.Limits) error {
	if !l.IsLimited() {
		return nil
	}
	field := "max-connections"
	if l.Connections == 0 {
		field = "packets"
	}
	if with, joined := mode.Joined(); joined {
		return fault.New(fault.Invalid, container.Subject(name),
			"cannot have limits of connections and packets, as it "+
				"shares the network of container "+with, fault.WithField(field),
			fault.WithHint("set --%s on that container", field))
	}
	if mode == container.ModeHost || mode == container.ModeNone {
		return fault.New(fault.Invalid, container.Subject(name),
			"connections and packets cannot be limited on network "+
				string(mode), fault.WithField(field), fault.WithHint("use a bridge network"))
	}
	return nil
}

// NetworkLimits are the limits of a container on one network, where it has none of its own.
type NetworkLimits struct {
	NetworkID string
	egress.Limits
	// BytesOut is the number of bytes that it can send in a second. It holds a container that removes the limit of its
	// bandwidth, which is in its network namespace. 0 means no limit.
	BytesOut uint64
}

// maxHeld is the highest rate that the kernel computes with, in bits per second. No pair of interfaces reaches it.
const maxHeld = 100_000_000_000

// LimitsByNetwork returns the limits that apply to single networks of a container, sorted.
func LimitsByNetwork(m Member) (all []NetworkLimits) {
	for _, e := range m.Endpoints {
		theirs := e.Limits.Or(e.DefaultLimits)
		l := NetworkLimits{NetworkID: e.NetworkID, Limits: theirs.Limits.InForce()}
		if m.Own.Limits.Connections > 0 || m.Own.Limits.AnyConnections {
			l.Connections = 0
		}
		if m.Own.Limits.Packets != (egress.Packets{}) {
			l.Packets = egress.Packets{}
		}
		if out := m.Bandwidth.Or(theirs.Bandwidth).Out; out <= maxHeld {
			l.BytesOut = out / 8
		}
		if l.Limits.IsLimited() || l.BytesOut > 0 {
			all = append(all, l)
		}
	}
	SortNetworks(all)
	return all
}

// SortNetworks sorts limits by network.
func SortNetworks(all []NetworkLimits) {
	slices.SortFunc(all, func(a, b NetworkLimits) int { return cmp.Compare(a.NetworkID, b.NetworkID) })
}
