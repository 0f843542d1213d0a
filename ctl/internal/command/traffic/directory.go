package traffic

import (
	"context"
	"net/netip"
	"strings"

	"github.com/fairlead/fairlead/ctl/client"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
)

// owner is a container with an address.
type owner struct{ id, name string }

// directory knows whose addresses there are, and what containers resolved.
type directory struct {
	owners   map[string]owner             // by address
	resolved map[string]map[string]string // by container ID and address
}

// readDirectory asks the agent. Without dnsagent there are no resolved names.
func readDirectory(ctx context.Context, cl *client.Client) (*directory, error) {
	list, err := cl.Containers.ListContainers(ctx, &containerv1.ListContainersRequest{})
	if err != nil {
		return nil, err
	}
	d := &directory{map[string]owner{}, map[string]map[string]string{}}
	for _, c := range list.GetContainers() {
		for _, a := range addresses(c) {
			d.owners[a] = owner{c.GetId(), c.GetConfig().GetName()}
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
