// Package api serves netagent's gRPC API. It converts messages and calls the network and sandbox
// managers. It contains no policy.
package api

import (
	"context"
	"net/netip"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/diagnosis"
	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/bandwidth"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Networks creates, updates, deletes and lists networks.
type Networks interface {
	Create(context.Context, network.Draft) (network.Network, error)
	Update(ctx context.Context, ref string, edit network.Update) (network.Network, error)
	// WaitConverged waits until all containers of a network are renumbered.
	WaitConverged(ctx context.Context, ref string) (network.Network, error)
	Delete(ctx context.Context, ref string) (networkID string, err error)
	// Prune deletes the unused networks that match.
	Prune(ctx context.Context, s network.Filter) (names []string, err error)
	// PoolUsage returns the usage of a network's pools, in their order.
	PoolUsage(network.Network) []ipam.Usage
	// Warnings returns a function that returns a network's warnings for the administrator.
	Warnings() func(network.Network) []string
	List() []network.Network
	Find(ref string) (network.Network, error)
}

// Sandboxes creates, changes and releases sandboxes.
type Sandboxes interface {
	Create(context.Context, endpoint.Request) (endpoint.Sandbox, error)
	Get(owner string) (endpoint.Sandbox, error)
	List() []endpoint.Sandbox
	ReservationOwners() []string
	Connect(ctx context.Context, owner string, spec endpoint.Spec) (endpoint.Sandbox, error)
	Disconnect(ctx context.Context, owner, ref string) (endpoint.Sandbox, error)
	Reserve(ctx context.Context, owner string, specs []endpoint.Spec) error
	SetBandwidth(owner string, limit bandwidth.Limit) error
	Release(ctx context.Context, owner string, keep endpoint.ReleaseKeep) error
	// Compare returns the differences between the namespace of an owner and its record.
	Compare(owner string) ([]string, error)
	// NeedsRenumbering reports whether a sandbox needs other addresses or is being renumbered.
	NeedsRenumbering(endpoint.Sandbox) bool
	// Watch returns a notifier for sandboxes that may need renumbering.
	Watch() (changed <-chan struct{}, stop func())
	Renumber(ctx context.Context, owner string) (endpoint.Sandbox, error)
	CompleteRenumbering(ctx context.Context, owner string) (removed []netip.Addr, err error)
}

// Config holds what a server calls.
type Config struct {
	Networks  Networks
	Sandboxes Sandboxes
	Events    *events.Broker
	// Diagnose probes which networks the host supports.
	Diagnose func() []diagnosis.Finding
	// SpaceWarnings returns the warnings about a new network in the address space of a fleet. Nil: none.
	SpaceWarnings func(network.Network) []string
	// Check compares the store with the kernel. With repair it reconciles first. Nil: no findings.
	Check func(ctx context.Context, repair bool) []diagnosis.Finding
}

// Server serves netagent's network and sandbox services.
type Server struct{ cfg Config }

// New creates a server.
func New(cfg Config) *Server { return &Server{cfg} }

// Register adds the services to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	networkv1.RegisterNetworkServiceServer(r, &networkHandler{warn: s.cfg.SpaceWarnings, networks: s.cfg.Networks,
		sandboxes: s.cfg.Sandboxes,
		events:    s.cfg.Events,
		diagnose:  s.cfg.Diagnose, check: s.cfg.Check})
	networkv1.RegisterSandboxServiceServer(r, &sandboxHandler{sandboxes: s.cfg.Sandboxes})
}
