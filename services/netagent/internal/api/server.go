// Package api is netagent's face: it turns requests into the domain's words and answers back. It decides nothing.
package api

import (
	"context"
	"net/netip"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/diagnosis"
	"github.com/fairlead/fairlead/agent/events"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Networks makes and deletes networks, and tells which there are.
type Networks interface {
	Create(context.Context, network.Spec) (network.Network, error)
	Update(ctx context.Context, ref string, edit network.Update) (network.Network, error)
	// WaitConverged answers when all containers on a network have followed.
	WaitConverged(ctx context.Context, ref string) (network.Network, error)
	Delete(ctx context.Context, ref string) (networkID string, err error)
	// Prune deletes those of a selection that nobody is on.
	Prune(ctx context.Context, s network.Filter) (names []string, err error)
	// PoolUsage tells how full a network's pools are, in their order.
	PoolUsage(network.Network) []ipam.Usage
	// Warnings answers what tells what an administrator should know of a network.
	Warnings() func(network.Network) []string
	List() []network.Network
	Find(ref string) (network.Network, error)
}

// Sandboxes makes and releases sandboxes.
type Sandboxes interface {
	Create(context.Context, network.Request) (network.Sandbox, error)
	Get(owner string) (network.Sandbox, error)
	List() []network.Sandbox
	Connect(ctx context.Context, owner string, spec network.EndpointSpec) (network.Sandbox, error)
	Disconnect(ctx context.Context, owner, ref string) (network.Sandbox, error)
	Reserve(ctx context.Context, owner string, specs []network.EndpointSpec) error
	Release(ctx context.Context, owner string, keep network.ReleaseKeep) error
	// NeedsRenumbering tells whether a sandbox is to have other addresses, or has not settled with them.
	NeedsRenumbering(network.Sandbox) bool
	// Watch answers a channel that has something in it whenever one may be.
	Watch() (changed <-chan struct{}, stop func())
	Renumber(ctx context.Context, owner string) (network.Sandbox, error)
	CompleteRenumbering(ctx context.Context, owner string) (gone []netip.Addr, err error)
}

// Server serves both of netagent's services.
type Server struct {
	networks  Networks
	sandboxes Sandboxes
	events    *events.Broker
	diagnose  func() []diagnosis.Finding

	// Check compares the store with the kernel, and with repair reconciles first. Nil: it compares nothing.
	Check func(ctx context.Context, repair bool) []diagnosis.Finding
}

// New makes a server.
func New(n Networks, s Sandboxes, events *events.Broker, diagnose func() []diagnosis.Finding) *Server {
	return &Server{networks: n, sandboxes: s, events: events, diagnose: diagnose}
}

// Register adds the handlers to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	networkv1.RegisterNetworkServiceServer(r, &networkHandler{networks: s.networks, events: s.events, diagnose: s.diagnose, check: s.Check})
	networkv1.RegisterSandboxServiceServer(r, &sandboxHandler{sandboxes: s.sandboxes})
}
