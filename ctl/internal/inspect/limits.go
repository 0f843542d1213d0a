package inspect

import (
	"github.com/fairlead/fairlead/proto/bandwidth"
	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/egress/limitpb"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// Limits are limits in the form of their flags. What is empty or missing was not given.
type Limits struct {
	Bandwidth      string  `json:",omitempty"`
	Packets        string  `json:",omitempty"`
	MaxConnections *uint32 `json:",omitempty"` // 0: no limit
	// From says where each limit of an endpoint comes from, by the name of its flag: "options" of the container,
	// "network" or "configuration".
	From map[string]string `json:",omitempty"`
}

// limitsOf returns nil if no limits were given.
func limitsOf(d egress.Defaults) *Limits {
	if d == (egress.Defaults{}) {
		return nil
	}
	l := &Limits{Bandwidth: d.Bandwidth.String(), Packets: d.Limits.Packets.String()}
	if n := d.Limits.Connections; n != 0 || d.Limits.AnyConnections {
		l.MaxConnections = &n
	}
	return l
}

// ownLimits returns the limits of a container's options.
func ownLimits(n *containerv1.NetworkConfig) egress.Defaults {
	var all egress.Defaults
	if b := n.GetBandwidth(); b != nil {
		all.Bandwidth = bandwidth.Limit{In: b.GetIn(), Out: b.GetOut(), None: b.GetIn() == 0 && b.GetOut() == 0}
	}
	if p := n.GetPackets(); p != nil {
		all.Limits.Packets = egress.Packets{In: p.GetIn(), Out: p.GetOut(), None: p.GetIn() == 0 && p.GetOut() == 0}
	}
	all.Limits.Connections, all.Limits.AnyConnections = n.GetMaxConnections(), n.GetUnlimitedConnections()
	return all
}

// endpointLimits returns the limits that apply to an endpoint, with where they come from; nil if there are none.
func endpointLimits(n *containerv1.NetworkConfig, e *networkv1.Endpoint) *Limits {
	var all egress.Defaults
	from := map[string]string{}
	for _, source := range []struct {
		name string
		egress.Defaults
	}{
		{"options", ownLimits(n)},
		{"network", limitpb.FromProto(e.GetLimits())},
		{"configuration", limitpb.FromProto(e.GetDefaultLimits())},
	} {
		next := all.Or(source.Defaults)
		if next.Bandwidth != all.Bandwidth {
			from["bandwidth"] = source.name
		}
		if next.Limits.Packets != all.Limits.Packets {
			from["packets"] = source.name
		}
		if next.Limits.Connections != all.Limits.Connections ||
			next.Limits.AnyConnections != all.Limits.AnyConnections {
			from["max-connections"] = source.name
		}
		all = next
	}

	l := limitsOf(all)
	if l != nil {
		l.From = from
	}
	return l
}
