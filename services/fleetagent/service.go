// Package fleetagent is the service for fleets: hosts that share networks. It alone holds the
// credentials of the fleet's store. On a host without a fleet it is idle.
package fleetagent

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api"
	"github.com/fairlead/fairlead/services/fleetagent/internal/fleet"
	"github.com/fairlead/fairlead/services/fleetagent/internal/ledger"
	"github.com/fairlead/fairlead/services/fleetagent/internal/usage"
)

// Default TCP ports on the host's fleet address.
const (
	DefaultAgentPort       = 7450
	DefaultStoreClientPort = 7451
	DefaultStorePeerPort   = 7452
)

// DefaultLease is the time that a host counts as alive after its last renewal.
const DefaultLease = 15 * time.Second

// Config configures the service.
type Config struct {
	DataRoot     string
	StoreProgram string // path of fairlead-store
	Log          *slog.Logger

	// Accept handles calls of other hosts that may command this one. Their errors are statuses.
	Accept api.Accept

	// Firewall reads the host firewall. Nil means that it is not checked.
	Firewall natv1.FirewallServiceClient

	AgentPort, StoreClientPort, StorePeerPort uint16        // zero: the defaults
	Lease                                     time.Duration // zero: DefaultLease
}

// Service is the service.
type Service struct {
	*api.Server
	fleet *fleet.Fleet
}

// New creates the service. It reads and changes nothing.
func New(_ context.Context, c Config) (*Service, error) {
	orDefault := func(port, usual uint16) uint16 {
		if port == 0 {
			return usual
		}
		return port
	}
	lease := c.Lease
	if lease == 0 {
		lease = DefaultLease
	}
	broker := &events.Broker{}
	f := fleet.New(fleet.Config{Events: broker,
		Dir: filepath.Join(c.DataRoot, "fleet"), StoreDir: filepath.Join(c.DataRoot, "fleet-store"),
		ReplicaDir:   filepath.Join(c.DataRoot, "fleet-replica"),
		StoreProgram: c.StoreProgram, Log: c.Log, Lease: lease, Now: time.Now, Accept: c.Accept, Firewall: c.Firewall,
		Quarantine: ledger.DefaultQuarantine, Idle: usage.IdleTime,
		Ports: fleet.Ports{Agent: orDefault(c.AgentPort, DefaultAgentPort),
			StoreClient: orDefault(c.StoreClientPort, DefaultStoreClientPort),
			StorePeer:   orDefault(c.StorePeerPort, DefaultStorePeerPort)},
	})
	return &Service{api.New(f, f, broker), f}, nil
}

// Run runs until ctx ends.
func (s *Service) Run(ctx context.Context, ready func()) error { return s.fleet.Run(ctx, ready) }

// Close closes nothing: Run has stopped everything.
func (s *Service) Close() error { return nil }
