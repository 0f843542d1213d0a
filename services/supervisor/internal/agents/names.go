package agents

import (
	"context"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/egress"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// hostGateway is the value of --add-host that denotes the host.
const hostGateway = "host-gateway"

// overlay is the driver of networks that span hosts.
const overlay = "overlay"

// UsesHostGateway reports whether a container's additional hosts contain host-gateway.
func UsesHostGateway(dns *container.DNS) bool {
	return slices.ContainsFunc(dns.ExtraHosts, func(h string) bool { return strings.HasSuffix(h, ":"+hostGateway) })
}

// Registration holds the names of a container and the content of its name files.
type Registration struct {
	Owner, Name  string
	Hostname     string // of the name files; empty means the default
	Config       *container.Config
	Endpoints    []container.Endpoint
	HostGateways []string // addresses of host-gateway
	Egress       []string // rules for outgoing traffic; nil: unchanged, or none
}

// Register registers a container, which creates its name files.
func (a *Agents) Register(ctx context.Context, r Registration) (container.NameFiles, error) {
	req, err := a.registerRequest(ctx, r)
	if err != nil {
		return container.NameFiles{}, err
	}
	resp, err := a.cfg.Names.Register(ctx, req)
	return nameFilesFromProto(resp.GetFiles()), err
}

// RegisterAgain updates a registration that was kept for joined containers after the container
// exited.
func (a *Agents) RegisterAgain(ctx context.Context, r Registration) (container.NameFiles, error) {
	req, err := a.registerRequest(ctx, r)
	if err != nil {
		return container.NameFiles{}, err
	}
	if _, err := a.cfg.Names.Update(ctx,
		&dnsv1.UpdateRequest{Owner: r.Owner, Addresses: req.GetAddresses(), Networks: req.GetNetworks(),
			LinkAliases: req.GetLinkAliases()}); err != nil {
		return container.NameFiles{}, err
	}
	resp, err := a.cfg.Names.Register(ctx, req)
	return nameFilesFromProto(resp.GetFiles()), err
}

// RegisterShared registers a container that joined the network namespace of another one. Its name
// files have its own host name, and all else from that one.
func (a *Agents) RegisterShared(ctx context.Context, uid, with, hostname string) (container.NameFiles, error) {
	resp, err := a.cfg.Names.Register(ctx,
		&dnsv1.RegisterRequest{Owner: uid, FileSource: dnsv1.FileSource_FILE_SOURCE_SHARED, SharesWith: with,
			Hostname: hostname})
	return nameFilesFromProto(resp.GetFiles()), err
}

// UpdateNames updates the registration of a running container.
func (a *Agents) UpdateNames(ctx context.Context, r Registration) error {
	networks, err := a.networkNames(ctx, r)
	if err != nil {
		return err
	}
	_, err = a.cfg.Names.Update(ctx,
		&dnsv1.UpdateRequest{Owner: r.Owner, Networks: networks, HostGateways: r.HostGateways,
			LinkAliases: linkAliases(&r.Config.Network), Addresses: allAddresses(r.Endpoints),
			Egress: r.Egress})
	return err
}

// RemoveNames removes the DNS names of a container and keeps its name files.
func (a *Agents) RemoveNames(ctx context.Context, uid string) error {
	_, err := a.cfg.Names.Update(ctx, &dnsv1.UpdateRequest{Owner: uid})
	return err
}

// Unregister releases the registration of an owner.
func (a *Agents) Unregister(ctx context.Context, uid string) error {
	_, err := a.cfg.Names.Release(ctx, &dnsv1.ReleaseRequest{Owner: uid})
	return err
}

// NameOwners returns the owners of all registrations.
func (a *Agents) NameOwners(ctx context.Context) ([]string, error) {
	resp, err := a.cfg.Names.ListOwners(ctx, &dnsv1.ListOwnersRequest{})
	return resp.GetOwners(), err
}

func nameFilesFromProto(f *dnsv1.NameFiles) container.NameFiles {
	return container.NameFiles{Hostname: f.GetHostnamePath(), Hosts: f.GetHostsPath(),
		ResolvConf: f.GetResolvConfPath(), HostName: f.GetHostname()}
}

func (a *Agents) registerRequest(ctx context.Context, r Registration) (*dnsv1.RegisterRequest, error) {
	dns := r.Config.DNS
	req := &dnsv1.RegisterRequest{Owner: r.Owner, FileSource: dnsv1.FileSource_FILE_SOURCE_GENERATED,
		Hostname: r.Hostname, Domainname: dns.Domainname, Servers: dns.Servers, Search: dns.Search,
		Options: dns.Options, Ipv6Disabled: r.Config.HasNoIPv6(), LinkAliases: linkAliases(&r.Config.Network),
		Addresses: allAddresses(r.Endpoints), HostGateways: r.HostGateways}
	if r.Config.Network.Mode == container.ModeHost {
		req.FileSource = dnsv1.FileSource_FILE_SOURCE_HOST
	}

	for _, h := range dns.ExtraHosts {
		name, addr, _ := strings.Cut(h, ":") // Validate requires the colon
		req.ExtraHosts = append(req.ExtraHosts, &dnsv1.ExtraHost{Name: name, Address: addr})
	}

	var err error
	if req.Networks, err = a.networkNames(ctx, r); err != nil {
		return nil, err
	}

	req.Egress = r.Egress
	if len(req.Networks) > 0 || len(req.Egress) > 0 {
		req.FileSource = dnsv1.FileSource_FILE_SOURCE_RESOLVER
	}

	return req, nil
}

// networkNames returns the DNS names of a container on each user-defined network.
// These are its name, aliases, short ID, host name and those of its label. The default bridge has no DNS names.
func (a *Agents) networkNames(ctx context.Context, r Registration) ([]*dnsv1.NetworkRegistration, error) {
	var all []*dnsv1.NetworkRegistration
	for _, e := range r.Endpoints {
		if e.NetworkName == "" || e.NetworkName == string(container.ModeBridge) {
			continue
		}
		network, err := a.Network(ctx, e.NetworkID)
		if err != nil {
			return nil, err
		}
		names := append([]string{r.Name}, aliasesOn(&r.Config.Network, e.NetworkName)...)
		names = append(names, id.Short(r.Owner))
		if r.Config.DNS.Hostname != "" {
			names = append(names, r.Config.DNS.Hostname)
		}
		names = append(names, r.Config.DNSNames()...)
		registration := &dnsv1.NetworkRegistration{NetworkId: e.NetworkID, NetworkName: e.NetworkName,
			Addresses: e.Addresses(), Names: names, Internal: network.Internal, Servers: e.Servers, Search: e.Search}
		if network.Driver == overlay {
			registration.Labels, _ = egress.NameableLabels(r.Config.Labels)
		}
		all = append(all, registration)
	}

	return all, nil
}

func allAddresses(endpoints []container.Endpoint) (out []string) {
	for _, e := range endpoints {
		out = append(out, e.Addresses()...)
	}
	return out
}

func aliasesOn(n *container.Network, network string) []string {
	i := slices.IndexFunc(n.Attachments, func(a container.Attachment) bool { return a.Network == network })
	if i < 0 {
		return nil
	}
	return n.Attachments[i].Aliases
}

// linkAliases returns the link aliases of a container. They refer to short IDs, which a rename does
// not change.
func linkAliases(n *container.Network) []*dnsv1.LinkAlias {
	var out []*dnsv1.LinkAlias
	for _, l := range n.Links {
		out = append(out, &dnsv1.LinkAlias{Alias: l.Alias, Name: id.Short(l.Container)})
	}
	for _, a := range n.Attachments {
		for _, l := range a.Links {
			out = append(out, &dnsv1.LinkAlias{Alias: l.Alias, Name: id.Short(l.Container) + "." + a.Network})
		}
	}
	return out
}
