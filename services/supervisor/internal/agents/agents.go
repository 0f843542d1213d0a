// Package agents calls the other services for containers: netagent, natagent and dnsagent. It
// converts between package container and their messages, and contains no policy. Packages launch,
// follow, notices and run use it and import no messages.
package agents

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/agent/crashpoint"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// Config holds the clients of the other services.
type Config struct {
	Networks     networkv1.NetworkServiceClient
	Sandboxes    networkv1.SandboxServiceClient
	Publications natv1.PublicationServiceClient
	Policies     natv1.PolicyServiceClient
	Names        dnsv1.NameServiceClient
	Overlay      fleetv1.OverlayServiceClient // nil without fleetagent

	HostGateways []string // addresses of host-gateway; empty means the gateways of the default bridge
}

// Agents are the other services.
type Agents struct{ cfg Config }

// New returns Agents.
func New(cfg Config) *Agents { return &Agents{cfg: cfg} }

// callTimeout bounds each call to another service.
const callTimeout = 20 * time.Second

// WithTimeout returns a context with the timeout of a call to another service.
func WithTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, crashpoint.Shorten(callTimeout))
}
