package crash

import (
	"context"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// peers holds the clients of all services.
type peers struct {
	conns []*grpc.ClientConn

	containers   containerv1.ContainerServiceClient
	sandboxes    networkv1.SandboxServiceClient
	networks     networkv1.NetworkServiceClient
	publications natv1.PublicationServiceClient
	guards       natv1.FirewallServiceClient
	names        dnsv1.NameServiceClient
}

func newPeers(execRoot string) *peers {
	p := &peers{}
	dial := func(name string) *grpc.ClientConn {
		conn, err := grpc.NewClient("unix://"+filepath.Join(execRoot, name+".sock"),
			grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			panic(err) // only an invalid address causes an error
		}
		p.conns = append(p.conns, conn)
		return conn
	}
	supervisor, net, nat, dns := dial("supervisor"), dial("net"), dial("nat"), dial("dns")
	p.containers = containerv1.NewContainerServiceClient(supervisor)
	p.sandboxes, p.networks = networkv1.NewSandboxServiceClient(net), networkv1.NewNetworkServiceClient(net)
	p.publications, p.guards = natv1.NewPublicationServiceClient(nat), natv1.NewFirewallServiceClient(nat)
	p.names = dnsv1.NewNameServiceClient(dns)
	return p
}

func (p *peers) close() {
	for _, c := range p.conns {
		_ = c.Close()
	}
}

// records holds the contents of all stores.
type records struct {
	containers   map[string]*containerv1.Container // by id
	sandboxes    map[string]*networkv1.Sandbox     // by owner
	networks     map[string]*networkv1.Network     // by id
	publications map[string]*natv1.Publication     // by owner
	guarded      map[string]bool                   // by network id
	named        map[string]bool                   // by owner
	reserved     []string                          // owners of address reservations
}

func (p *peers) read(ctx context.Context) (*records, error) {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	r := &records{map[string]*containerv1.Container{}, map[string]*networkv1.Sandbox{}, map[string]*networkv1.Network{},
		map[string]*natv1.Publication{}, map[string]bool{}, map[string]bool{}, nil}
	wait := grpc.WaitForReady(true)
	containers, err := p.containers.ListContainers(ctx, &containerv1.ListContainersRequest{All: true}, wait)
	if err != nil {
		return nil, err
	}

	for _, c := range containers.GetContainers() {
		r.containers[c.GetId()] = c
	}

	sandboxes, err := p.sandboxes.ListSandboxes(ctx, &networkv1.ListSandboxesRequest{}, wait)
	if err != nil {
		return nil, err
	}

	for _, sb := range sandboxes.GetSandboxes() {
		r.sandboxes[sb.GetOwner()] = sb
	}

	r.reserved = sandboxes.GetReservationOwners()
	networks, err := p.networks.ListNetworks(ctx, &networkv1.ListNetworksRequest{}, wait)
	if err != nil {
		return nil, err
	}

	for _, n := range networks.GetNetworks() {
		r.networks[n.GetId()] = n
	}

	publications, err := p.publications.ListPublications(ctx, &natv1.ListPublicationsRequest{}, wait)
	if err != nil {
		return nil, err
	}

	for _, pub := range publications.GetPublications() {
		if len(pub.GetBindings()) > 0 {
			r.publications[pub.GetOwner()] = pub
		}
	}

	guarded, err := p.guards.ListNetworks(ctx, &natv1.ListNetworksRequest{}, wait)
	if err != nil {
		return nil, err
	}

	for _, n := range guarded.GetNetworks() {
		r.guarded[n.GetId()] = true
	}

	owners, err := p.names.ListOwners(ctx, &dnsv1.ListOwnersRequest{}, wait)
	if err != nil {
		return nil, err
	}

	for _, owner := range owners.GetOwners() {
		r.named[owner] = true
	}

	return r, nil
}
