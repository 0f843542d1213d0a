package fleet

import (
	"context"
	"crypto/x509"
	"errors"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api"
	"github.com/fairlead/fairlead/services/fleetagent/internal/membership"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
)

// How often a failed renewal is repeated. Half a day is left when the first one is due.
const renewRetry = time.Minute

// renewCertificates renews the host's certificate at half of its life, until ctx ends.
func (p *part) renewCertificates(ctx context.Context) {
	for {
		p.mu.Lock()
		due := pki.RenewAt(p.m.Cert).Sub(p.cfg.Now())
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(0, due)):
		}

		if err := p.renewCertificate(ctx); err != nil && ctx.Err() == nil {
			p.cfg.Log.Warn("certificate not renewed", "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(renewRetry):
			}
		}
	}
}

// renewCertificate gets a certificate for a new key: a manager signs its own, a member asks one.
func (p *part) renewCertificate(ctx context.Context) error {
	key, request, err := pki.NewKeyAndRequest()
	if err != nil {
		return err
	}
	cert, store, err := p.requestCertificate(ctx, request)
	if err != nil {
		return err
	}

	if err := p.edit(func(m *membership.Membership) {
		m.Cert, m.Key = cert, key
		adopt(m, store)
	}); err != nil {
		return err
	}
	p.client.SetURLs(store.URLs)
	p.cfg.Log.Info("certificate renewed", "expires", cert.NotAfter)
	return nil
}

func (p *part) requestCertificate(ctx context.Context, request []byte) (*x509.Certificate, api.Access,
	error) {
	if m := p.membership(); m.IsManager() {
		who, err := m.Identity()
		if err != nil {
			return nil, api.Access{}, err
		}
		return p.Renew(ctx, who, request)
	}
	return p.askCertificate(ctx, request)
}

// askCertificate asks the managers for a certificate.
func (p *part) askCertificate(ctx context.Context, request []byte) (*x509.Certificate, api.Access, error) {
	var all error
	for _, address := range p.managers() {
		manager, err := api.DialManager(address, p.clientTLS("", pki.Manager))
		if err != nil {
			return nil, api.Access{}, err
		}
		cert, store, err := manager.Renew(ctx, request)
		all = errors.Join(all, err, manager.Close())
		if err == nil {
			return cert, store, nil
		}
	}
	if all == nil {
		all = fault.New(fault.Unavailable, "managers", "are not known yet")
	}
	return nil, api.Access{}, all
}
