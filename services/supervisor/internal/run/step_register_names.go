package run

import (
	"context"
	"os"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// hostGateway is the value of --add-host that denotes the host.
const hostGateway = "host-gateway"

// registerNames registers the container in dnsagent, which writes its name files.
func (l *launch) registerNames() saga.Step {
	return saga.Step{
		Name: registerNames, After: []string{mountNames, joinNetwork},
		Do: func(ctx context.Context) error {
			ctx, cancel := withCallTimeout(ctx)
			defer cancel()
			req, err := l.registerRequest(ctx)
			if err != nil {
				return err
			}
			resp, err := l.r.Names.Register(ctx, req)
			if fault.Is(err, fault.Exists) && l.r.joins.any(l.id) {
				resp, err = l.registerAgain(ctx, req)
			}
			if err != nil {
				return err
			}
			l.live.Files = nameFiles(resp.GetFiles())
			return nil
		},
		Undo: func(ctx context.Context) error {
			if l.keepsFiles() {
				return l.retainFiles(ctx)
			}
			_, err := l.r.Names.Release(ctx, &dnsv1.ReleaseRequest{Owner: l.id})
			return err
		},
	}
}

func nameFiles(f *dnsv1.NameFiles) container.NameFiles {
	return container.NameFiles{Hostname: f.GetHostnamePath(), Hosts: f.GetHostsPath(),
		ResolvConf: f.GetResolvConfPath(), HostName: f.GetHostname()}
}

// retainFiles removes the DNS names and keeps the name files for joined containers.
// The last of these releases the files.
func (l *launch) retainFiles(ctx context.Context) error {
	_, err := l.r.Names.Update(ctx, &dnsv1.UpdateRequest{Owner: l.id})
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// registerAgain updates a registration that was kept for joined containers after the container
// exited.
func (l *launch) registerAgain(ctx context.Context, req *dnsv1.RegisterRequest) (*dnsv1.RegisterResponse, error) {
	if _, err := l.r.Names.Update(ctx,
		&dnsv1.UpdateRequest{Owner: l.id, Addresses: req.GetAddresses(), Networks: req.GetNetworks(),
			LinkAliases: req.GetLinkAliases()}); err != nil {
		return nil, err
	}
	return l.r.Names.Register(ctx, req)
}

func (l *launch) registerRequest(ctx context.Context) (*dnsv1.RegisterRequest, error) {
	dns := l.req.Config.DNS
	req := &dnsv1.RegisterRequest{Owner: l.id, FileSource: dnsv1.FileSource_FILE_SOURCE_GENERATED,
		Hostname:   dns.Hostname,
		Domainname: dns.Domainname, Servers: dns.Servers, Search: dns.Search, Options: dns.Options,
		Ipv6Disabled: l.req.Config.HasNoIPv6(), LinkAliases: privateAliases(&l.req.Config)}
	if l.req.Config.Network.Mode == container.ModeHost {
		req.FileSource = dnsv1.FileSource_FILE_SOURCE_HOST
	}

	var err error
	if l.req.Config.UTS == container.UTSHost {
		if req.Hostname, err = l.utsName(); err != nil {
			return nil, err
		}
	}

	for _, e := range l.live.Endpoints {
		req.Addresses = append(req.Addresses, addresses(e)...)
	}

	wantsGateway := false
	for _, h := range dns.ExtraHosts {
		name, addr, _ := strings.Cut(h, ":") // Validate requires the colon
		req.ExtraHosts = append(req.ExtraHosts, &dnsv1.ExtraHost{Name: name, Address: addr})
		wantsGateway = wantsGateway || addr == hostGateway
	}

	if req.Networks, err = l.r.networkNames(ctx, l.id, l.name, &l.req.Config, l.live.Endpoints); err != nil {
		return nil, err
	}

	if len(req.Networks) > 0 {
		req.FileSource = dnsv1.FileSource_FILE_SOURCE_RESOLVER
	}

	if wantsGateway {
		req.HostGateways, err = l.r.hostGateways(ctx)
		l.live.HostGateways = req.HostGateways
	}

	return req, err
}

// utsName returns the host's name for a container in the host's UTS namespace, otherwise an empty
// name.
func (l *launch) utsName() (string, error) {
	if l.req.Config.UTS != container.UTSHost {
		return "", nil
	}
	name, err := os.Hostname()
	return name, fault.Wrap(err, fault.Internal, "host name", "cannot be read")
}

// addresses returns an endpoint's addresses without prefix lengths.
func addresses(e container.Endpoint) []string {
	var out []string
	for _, cidr := range []string{e.IPv4, e.IPv6} {
		if addr, _, ok := strings.Cut(cidr, "/"); ok {
			out = append(out, addr)
		}
	}
	return out
}

// hostGateways returns the configured host-gateway addresses, or else the gateways of the default
// bridge.
func (r *Runner) hostGateways(ctx context.Context) ([]string, error) {
	if len(r.HostGateways) > 0 {
		return r.HostGateways, nil
	}
	resp, err := r.Networks.GetNetwork(ctx, &networkv1.GetNetworkRequest{Reference: string(container.ModeBridge)})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range resp.GetNetwork().GetPools() {
		out = append(out, p.GetGateway())
	}
	return out, nil
}
