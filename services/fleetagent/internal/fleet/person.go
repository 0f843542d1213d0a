package fleet

import (
	"context"
	"crypto/x509"
	"time"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/persons"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
)

// registry returns the certificates of persons. Managers only.
func (f *Fleet) registry() (*part, persons.Registry, error) {
	p, err := f.manager()
	if err != nil {
		return nil, persons.Registry{}, err
	}
	return p, persons.Registry{Keys: p.keys, Store: p.client, Self: p.membership(), Now: f.cfg.Now,
		Retry: p.outage.Retry}, nil
}

// CreateCertificate issues a certificate to a person.
func (f *Fleet) CreateCertificate(ctx context.Context, name string, valid time.Duration) (
	*fleetv1.CreateCertificateResponse, error) {
	p, all, err := f.registry()
	if err != nil {
		return nil, err
	}
	r, err := all.Create(ctx, name, valid)
	if err != nil {
		return nil, err
	}
	for _, address := range p.managers() {
		r.Managers = append(r.Managers, "tcp://"+address.String())
	}
	return r, nil
}

// RevokeCertificate ends the rights of a person.
func (f *Fleet) RevokeCertificate(ctx context.Context, name string) error {
	_, all, err := f.registry()
	if err != nil {
		return err
	}
	return all.Revoke(ctx, name)
}

// checkPerson returns an error if the certificate of a person was revoked or replaced.
func (p *part) checkPerson(cert *x509.Certificate, who pki.Identity) error {
	value, ok := p.mirror.Value(p.keys.Person(who.Host))
	return persons.Check(cert, who, value, ok)
}
