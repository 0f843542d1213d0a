package fleet

import (
	"context"
	"crypto/x509"
	"net/netip"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/admission"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
)

// Limits of the certificates of persons.
const (
	defaultPersonLife = 30 * 24 * time.Hour
	maxPersonLife     = 366 * 24 * time.Hour
)

// CreateCertificate issues a certificate to a person. Hosts accept the latest one of a name only.
func (f *Fleet) CreateCertificate(ctx context.Context, name string, valid time.Duration) (
	*fleetv1.CreateCertificateResponse, error) {
	p, err := f.current()
	if err != nil {
		return nil, err
	}
	if _, err := p.admission(); err != nil {
		return nil, err
	}
	if err := admission.CheckName(name); err != nil {
		return nil, fault.Invalidf("certificate "+name, "name", "is not 1 to 63 lower-case letters, digits and hyphens")
	}
	if valid == 0 {
		valid = defaultPersonLife
	}
	if valid < time.Minute || valid > maxPersonLife {
		return nil, fault.Invalidf("certificate "+name, "valid", "cannot be valid for %s; use 1m to %s", valid,
			maxPersonLife)
	}

	m := p.membership()
	key, cert, err := m.Authority.Issue(pki.Identity{Fleet: m.Fleet, Role: pki.Operator, Host: name}, netip.Addr{},
		valid, f.cfg.Now())
	if err != nil {
		return nil, err
	}
	data, err := record.Encode(&fleetv1.Person{Name: name, Serial: cert.SerialNumber.Bytes(),
		Expires: timestamppb.New(cert.NotAfter)})
	if err != nil {
		return nil, err
	}
	if err := p.outage.Retry(ctx, func(ctx context.Context) error {
		_, err := p.client.Commit(ctx, nil, etcd.Put(p.keys.Person(name), data))
		return err
	}); err != nil {
		return nil, err
	}
	text, err := pki.EncodeKey(key)
	r := &fleetv1.CreateCertificateResponse{Ca: pki.EncodeCert(m.CA), Certificate: pki.EncodeCert(cert), Key: text,
		Expires: timestamppb.New(cert.NotAfter)}
	for _, address := range p.managers() {
		r.Managers = append(r.Managers, "tcp://"+address.String())
	}
	return r, err
}

// RevokeCertificate ends the rights of a person.
func (f *Fleet) RevokeCertificate(ctx context.Context, name string) error {
	p, err := f.current()
	if err != nil {
		return err
	}
	if _, err := p.admission(); err != nil {
		return err
	}
	key := p.keys.Person(name)
	var ok bool
	if err := p.outage.Retry(ctx, func(ctx context.Context) error {
		_, ok, err = p.client.Get(ctx, key)
		return err
	}); err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.NotFound, "certificate "+name, "does not exist")
	}
	return p.outage.Retry(ctx, func(ctx context.Context) error {
		_, err := p.client.Commit(ctx, nil, etcd.Delete(key))
		return err
	})
}

// checkPerson returns an error if the certificate of a person was revoked or replaced.
func (p *part) checkPerson(cert *x509.Certificate, who pki.Identity) error {
	person := &fleetv1.Person{}
	value, ok := p.mirror.Value(p.keys.Person(who.Host))
	if ok {
		if err := record.Decode(value.Key, value.Data, person); err != nil {
			return err
		}
	}
	if !slices.Equal(person.GetSerial(), cert.SerialNumber.Bytes()) {
		return fault.New(fault.Denied, "certificate of "+who.Host, "was revoked or replaced",
			fault.WithHint("create a new one on a manager: fairlead fleet certificate %s", who.Host))
	}
	return nil
}
