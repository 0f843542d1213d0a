// Package measure has the metrics of netagent.
package measure

import (
	"context"

	"github.com/fairlead/fairlead/agent/metrics"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Families returns the metrics.
func Families() []metrics.Family {
	return []metrics.Family{
		{Name: "fairlead_networks", Kind: metrics.Gauge, Labels: []string{"driver"},
			Help: "Networks."},
		{Name: "fairlead_sandboxes", Kind: metrics.Gauge,
			Help: "Network namespaces of containers."},
		{Name: "fairlead_network_endpoints", Kind: metrics.Gauge, Labels: []string{"network"},
			Help: "Containers that are connected to a network."},
		{Name: "fairlead_network_addresses", Kind: metrics.Gauge, Labels: []string{"network", "subnet", "state"},
			Help: "Addresses of a subnet: used, free for containers, or growable, by which it can grow at most."},
		{Name: "fairlead_attach_seconds", Kind: metrics.Histogram, Labels: []string{"outcome"},
			Help: "Time to create the namespace of a container with its networks, or to connect one more; outcome " +
				"is ok or error."},
	}
}

// Meter measures.
type Meter struct {
	Networks interface {
		List() []network.Network
		PoolUsage(n network.Network) []ipam.Usage
	}
	Sandboxes interface {
		List() []endpoint.Sandbox
		Times() *metrics.Times
	}
}

// Measure implements agent/service.Measurer.
func (m Meter) Measure(_ context.Context, set *metrics.Set) {
	endpoints := map[string]int{}
	sandboxes := m.Sandboxes.List()
	for _, sb := range sandboxes {
		for _, ep := range sb.Endpoints {
			endpoints[ep.NetworkID]++
		}
	}
	set.Add("fairlead_sandboxes", float64(len(sandboxes)))
	m.Sandboxes.Times().Measure(set, "fairlead_attach_seconds")

	networks := m.Networks.List()
	subnets := sortedSubnets(networks)
	for _, n := range networks {
		set.Add("fairlead_networks", 1, n.Driver)
		set.Add("fairlead_network_endpoints", float64(endpoints[n.ID]), n.Name)
		usage := m.Networks.PoolUsage(n)
		for i, p := range n.Spec.Pools {
			set.Add("fairlead_network_addresses", float64(usage[i].Used), n.Name, p.Subnet.String(), "used")
			set.Add("fairlead_network_addresses", float64(usage[i].Free), n.Name, p.Subnet.String(), "free")
			if more := growable(n, p, subnets); more > 0 {
				set.Add("fairlead_network_addresses", more, n.Name, p.Subnet.String(), "growable")
			}
		}
	}
}
