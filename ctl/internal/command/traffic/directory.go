package traffic

import (
	"context"
	"net/netip"
	"strings"

	"github.com/fairlead/fairlead/ctl/client"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// owner is a container with an address.
type owner struct {
	id, name string
	gone     bool // the container does not have the address any more, and no other one has it yet
}

// directory knows whose addresses there are, and what containers resolved.
type directory struct {
	owners   map[string]owner             // by address
	resolved map[string]map[string]string // by container ID and address
	others   map[string]other             // containers of other hosts, by address
}

// other is a container of another host.
type other struct{ name, host string }

// readDirectory asks the agent. Without dnsagent there are no resolved names.
func readDirectory(ctx context.Context, cl *client.Client) (*directory, error) {
	list, err := cl.SelectContainers(ctx, &containerv1.ListContainersRequest{Summary: true})
	if err != nil {
		return nil, err
	}
	d := &directory{owners: map[string]owner{}, resolved: map[string]map[string]string{}, others: readOthers(ctx, cl)}
	for _, c := range list {
		for _, a := range addresses(c) {
			d.owners[a] = owner{id: c.GetId(), name: c.GetConfig().GetName()}
		}
	}

	names, err := cl.DNSQueries.ListResolvedNames(ctx, &dnsv1.ListResolvedNamesRequest{})
	if err != nil {
		return d, nil //nolint:nilerr // names are an addition
	}
	for _, n := range names.GetNames() {
		if d.resolved[n.GetOwner()] == nil {
			d.resolved[n.GetOwner()] = map[string]string{}
		}
		d.resolved[n.GetOwner()][n.GetAddress()] = n.GetName()
	}
	return d, nil
}

// readOthers returns the containers of all hosts of the fleet. It returns none without fleetagent or a fleet.
func readOthers(ctx context.Context, cl *client.Client) map[string]other {
	all := map[string]other{}
	list, err := cl.Fleet.ListEndpoints(ctx, &fleetv1.ListEndpointsRequest{})
	if err != nil {
		return all
	}
	for _, e := range list.GetEndpoints() {
		for _, a := range e.GetEndpoint().GetAddresses() {
			if names := e.GetEndpoint().GetNames(); len(names) > 0 {
				all[a] = other{names[0], e.GetHostName()}
			}
		}
	}
	return all
}

// keep adds what an earlier directory has of containers that are gone: their connections end later.
func (d *directory) keep(earlier *directory) {
	for a, o := range earlier.others {
		if _, known := d.others[a]; !known {
			d.others[a] = o
		}
	}
	for a, o := range earlier.owners {
		if _, known := d.owners[a]; known {
			continue
		}
		o.gone = true
		d.owners[a] = o
		if d.resolved[o.id] == nil && earlier.resolved[o.id] != nil {
			d.resolved[o.id] = earlier.resolved[o.id]
		}
	}
}

// knows reports whether an end of a connection is that of a known container. A new connection is not
// that of a container that is gone.
func (d *directory) knows(c *natv1.Connection) bool {
	for _, a := range []string{c.GetSource(), c.GetTarget()} {
		o, known := d.owners[a]
		if known && (!o.gone || c.GetEvent() != natv1.ConnectionEvent_CONNECTION_EVENT_NEW) {
			return true
		}
	}
	return false
}

// addresses returns the addresses of a running container on all networks, also former ones.
func addresses(c *containerv1.Container) (all []string) {
	for _, e := range c.GetSandbox().GetEndpoints() {
		for _, text := range append([]string{e.GetIpv4Address(), e.GetIpv6Address()}, e.GetFormerAddresses()...) {
			bare, _, _ := strings.Cut(text, "/")
			if a, err := netip.ParseAddr(bare); err == nil {
				all = append(all, a.String())
			}
		}
	}
	return all
}
