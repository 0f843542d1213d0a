package run

import (
	"context"
	"slices"

	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// networkNames returns the DNS names of a container on each user-defined network.
// These are its name, aliases, short ID and host name. The default bridge has no DNS names.
func (r *Runner) networkNames(ctx context.Context, uid, name string, cfg *container.Config,
	endpoints []container.Endpoint) ([]*dnsv1.NetworkRegistration, error) {
	var all []*dnsv1.NetworkRegistration
	for _, e := range endpoints {
		if e.NetworkName == "" || e.NetworkName == string(container.ModeBridge) {
			continue
		}
		resp, err := r.Networks.GetNetwork(ctx, &networkv1.GetNetworkRequest{Reference: e.NetworkID})
		if err != nil {
			return nil, err
		}
		names := append([]string{name}, aliasesOn(cfg.Network, e.NetworkName)...)
		names = append(names, id.Short(uid))
		if cfg.DNS.Hostname != "" {
			names = append(names, cfg.DNS.Hostname)
		}
		all = append(all, &dnsv1.NetworkRegistration{NetworkId: e.NetworkID, NetworkName: e.NetworkName,
			Addresses: addresses(e),
			Names:     names, Internal: resp.GetNetwork().GetInternal(), Servers: e.Servers, Search: e.Search})
	}

	return all, nil
}

func aliasesOn(n container.Network, network string) []string {
	i := slices.IndexFunc(n.Attachments, func(a container.Attachment) bool { return a.Network == network })
	if i < 0 {
		return nil
	}
	return n.Attachments[i].Aliases
}

// updateNames updates the registration of a running container in dnsagent.
func (r *Runner) updateNames(ctx context.Context, c *container.Container, live *container.RunState) error {
	networks, err := r.networkNames(ctx, c.ID, c.Config.Name, &c.Config, live.Endpoints)
	if err != nil {
		return err
	}
	req := &dnsv1.UpdateRequest{Owner: c.ID, Networks: networks, HostGateways: live.HostGateways,
		LinkAliases: privateAliases(&c.Config)}
	for _, e := range live.Endpoints {
		req.Addresses = append(req.Addresses, addresses(e)...)
	}
	_, err = r.Names.Update(ctx, req)
	return err
}
