package fleet

import (
	"context"
	"crypto/tls"

	"github.com/fairlead/fairlead/proto/fault"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api"
	"github.com/fairlead/fairlead/services/fleetagent/internal/diagnosis"
	"github.com/fairlead/fairlead/services/fleetagent/internal/external"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
)

// maxProbes limits the ports of one request.
const maxProbes = 8

// Diagnose returns findings about the fleet as this host sees it.
func (f *Fleet) Diagnose(ctx context.Context) ([]*hostv1.Finding, error) {
	p, err := f.current()
	if err != nil {
		return nil, err
	}
	h := diagnosis.Host{Self: p.membership(), Ports: diagnosis.Ports(p.cfg.Ports), Now: p.cfg.Now, Store: p.client,
		Firewall: f.cfg.Firewall, TLS: func(host string) *tls.Config { return p.clientTLS(host, "") }}
	if m := p.membership(); m.External != nil {
		h.External = func(ctx context.Context) ([]external.State, error) { return m.External.States(ctx, p.cfg.Now) }
	}
	h.Hosts, _ = p.listProblems()
	p.mirror.Read(h.Take)
	return h.Check(ctx), nil
}

// BlockedPorts returns a warning for the ports of the fleet that the firewall of this host closes.
func (f *Fleet) BlockedPorts(ctx context.Context) []string {
	p, err := f.current()
	if err != nil {
		return nil
	}
	h := diagnosis.Host{Self: p.membership(), Ports: diagnosis.Ports(f.cfg.Ports), Firewall: f.cfg.Firewall}
	return h.BlockedPorts(ctx)
}

// Probe implements api.Gatekeeper: it returns the ports of the calling host that this host cannot connect
// to. Only the address in the host's record is tried.
func (p *part) Probe(ctx context.Context, who pki.Identity, ports []uint16) (api.Probed, error) {
	probed := api.Probed{Now: p.cfg.Now(), Generation: p.fence.Known()}
	if len(ports) == 0 {
		return probed, nil
	}
	host, err := p.find(who.Host)
	if err != nil {
		return probed, err
	}
	if len(ports) > maxProbes {
		return probed, fault.Invalidf("probe", "ports", "has %d ports, more than %d", len(ports), maxProbes)
	}
	probed.Closed = diagnosis.Closed(ctx, agentAddress(host).Addr(), ports)
	return probed, nil
}
