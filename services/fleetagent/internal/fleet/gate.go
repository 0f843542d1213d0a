package fleet

import (
	"context"
	"crypto/x509"
	"net/netip"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/preflight"
	"github.com/fairlead/fairlead/services/fleetagent/internal/token"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
)

// Enroll admits a host that has a token.
func (p *part) Enroll(ctx context.Context, secret [token.SecretLen]byte, joining api.Joining) (*fleetv1.Host,
	*x509.Certificate, api.Access, error) {
	a, err := p.admission()
	if err != nil {
		return nil, nil, api.Access{}, err
	}
	var networks []preflight.Network
	p.mirror.Read(func(v *view.View) { networks = preflight.Networks(v.Networks()) })
	admitted, cert, err := a.Enroll(ctx, secret, joining.Request, joining.Host, joining.Now,
		func(address netip.Addr) error {
			return joining.Underlay.Check(joining.Host.GetName(), address, networks)
		})
	if err != nil {
		return nil, nil, api.Access{}, err
	}
	p.cfg.Log.Info("host joined the fleet", "host", admitted.GetName(), "address", admitted.GetAddress())
	return admitted, cert, p.access(), nil
}

// Renew issues a new certificate to a host.
func (p *part) Renew(ctx context.Context, who pki.Identity, request []byte) (*x509.Certificate, api.Access,
	error) {
	a, err := p.admission()
	if err != nil {
		return nil, api.Access{}, err
	}
	cert, err := a.Renew(ctx, who, request)
	return cert, p.access(), err
}

// Dismiss removes a host at its own request.
func (p *part) Dismiss(ctx context.Context, who pki.Identity) error {
	a, err := p.admission()
	if err != nil {
		return err
	}
	if err := p.remove(ctx, a, who.Host); err != nil {
		return err
	}
	p.cfg.Log.Info("host left the fleet", "host", who.Host)
	return nil
}

// access returns how other hosts reach the store.
func (p *part) access() api.Access {
	return api.Access{URLs: p.storeURLs(), External: p.membership().External.Public()}
}

// storeURLs returns the client URLs of the store, from the managers' records.
func (p *part) storeURLs() []string {
	hosts, _ := p.list()
	var all []string
	for _, h := range hosts {
		if h.GetStoreUrl() != "" {
			all = append(all, h.GetStoreUrl())
		}
	}
	if all == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		all = p.m.Store
	}
	return all
}
