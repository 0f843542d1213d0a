// Package api implements the gRPC services of fairlead.nat.v1. It converts requests and responses
// and contains no policy. Package natagent creates the Server.
package api

import (
	"context"
	"net/netip"
	"time"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/diagnosis"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/explain"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/packettrace"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
	"github.com/fairlead/fairlead/services/natagent/internal/refusals"
)

// Publications publishes and releases ports.
type Publications interface {
	Publish(ctx context.Context, want *publication.Publication) ([]port.Binding, error)
	Update(ctx context.Context, want *publication.Publication, keepOpen bool) ([]port.Binding, error)
	List(ctx context.Context) ([]*publication.Publication, error)
	Release(ctx context.Context, owner string) error
	DrainConnections(ctx context.Context, addresses []netip.Addr, timeout time.Duration) (open int, err error)
	DeleteConntrack(ctx context.Context, addresses []netip.Addr) error
}

// HostFirewall checks bindings against the host firewall.
type HostFirewall interface {
	Review(ctx context.Context, bindings []port.Binding) (warnings []string, err error)
}

// Explainer explains connections.
type Explainer interface {
	Explain(ctx context.Context, p packettrace.Packet) (packettrace.Verdict, []string, error)
	// Rule returns the table and chain of a location.
	Rule(packettrace.Location) string
	// BlockedPorts returns the ports that the host firewall closes to other hosts.
	BlockedPorts(ctx context.Context, to netip.Addr, ports []explain.Port) ([]explain.Blocked, error)
}

// Networks manages the rules of networks.
type Networks interface {
	Put(ctx context.Context, n *firewall.Network) error
	List(ctx context.Context) ([]*firewall.Network, error)
	Delete(ctx context.Context, id string) error
	PutTunnel(ctx context.Context, t *firewall.Tunnel) error
}

// Policies enforces egress policies and records what they refuse.
type Policies interface {
	Put(ctx context.Context, c *plan.Container, starting bool) error
	PutPeers(ctx context.Context, all []plan.Peer, keepOthers bool) error
	Release(ctx context.Context, owner string) error
	List(ctx context.Context) ([]*plan.Container, error)
	Refused(owner string) uint64
	Learn(ctx context.Context, owner string, a answered.Answer) (answerable time.Duration, err error)
	RecordName(ctx context.Context, owner, name string, lost uint64) error
	Since(t time.Time) (found []refusals.Refusal, lost uint64, more <-chan struct{})
	Firsts(t time.Time) (found []refusals.Refusal, more <-chan struct{})
}

// Doctor diagnoses the firewall backends.
type Doctor interface {
	Backend() string
	Run(ctx context.Context) []diagnosis.Finding
}

// Checker compares the store with the kernel. With repair it reconciles first.
type Checker interface {
	Check(ctx context.Context, repair bool) []diagnosis.Finding
}

// Config holds what the gRPC services of natagent call.
type Config struct {
	Publications Publications
	HostFirewall HostFirewall
	Explainer    Explainer
	Networks     Networks
	Policies     Policies
	Connections  Connections
	Doctor       Doctor
	Checker      Checker
}

// Server registers the gRPC services of natagent.
type Server struct{ cfg Config }

// New returns a Server.
func New(cfg Config) *Server { return &Server{cfg} }

// Register registers the services.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	natv1.RegisterPublicationServiceServer(r, &publicationServer{publications: s.cfg.Publications,
		hostFirewall: s.cfg.HostFirewall, explainer: s.cfg.Explainer})
	natv1.RegisterFirewallServiceServer(r, &firewallServer{networks: s.cfg.Networks, doctor: s.cfg.Doctor,
		checker: s.cfg.Checker, closed: s.cfg.Explainer})
	natv1.RegisterPolicyServiceServer(r, &policyServer{policies: s.cfg.Policies})
	natv1.RegisterConnectionServiceServer(r, &connectionServer{connections: s.cfg.Connections})
}
