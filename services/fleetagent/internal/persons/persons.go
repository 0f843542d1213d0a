// Package persons issues and revokes the certificates of persons, who command hosts through managers. It is used by
// fleetagent.
package persons

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
	"github.com/fairlead/fairlead/services/fleetagent/internal/membership"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
)

// Limits of the certificates of persons.
const (
	defaultLife = 30 * 24 * time.Hour
	maxLife     = 366 * 24 * time.Hour
)

// Store is the fleet's store. It is implemented by etcd.Client.
type Store interface {
	Get(ctx context.Context, key string) (etcd.Value, bool, error)
	Commit(ctx context.Context, conditions []etcd.Condition, changes ...etcd.Op) (bool, error)
}

// Registry has the certificates of one fleet.
type Registry struct {
	Keys  record.Keys
	Store Store
	Self  *membership.Membership // of a manager
	Now   func() time.Time
	// Retry repeats a call that the store does not answer.
	Retry func(ctx context.Context, call func(context.Context) error) error
}

// Create issues a certificate to a person. Hosts accept the latest one of a name only.
func (r Registry) Create(ctx context.Context, name string, valid time.Duration) (*fleetv1.CreateCertificateResponse,
	error) {
	if err := admission.CheckName(name); err != nil {
		return nil, fault.Invalidf("certificate "+name, "name", "is not 1 to 63 lower-case letters, digits and hyphens")
	}
	if valid == 0 {
		valid = defaultLife
	}
	if valid < time.Minute || valid > maxLife {
		return nil, fault.Invalidf("certificate "+name, "valid", "cannot be valid for %s; use 1m to %s", valid, maxLife)
	}

	key, cert, err := r.Self.Authority.Issue(pki.Identity{Fleet: r.Self.Fleet, Role: pki.Operator, Host: name},
		netip.Addr{}, valid, r.Now())
	if err != nil {
		return nil, err
	}
	data, err := record.Encode(&fleetv1.Person{Name: name, Serial: cert.SerialNumber.Bytes(),
		Expires: timestamppb.New(cert.NotAfter)})
	if err != nil {
		return nil, err
	}
	if err := r.Retry(ctx, func(ctx context.Context) error {
		_, err := r.Store.Commit(ctx, nil, etcd.Put(r.Keys.Person(name), data))
		return err
	}); err != nil {
		return nil, err
	}
	text, err := pki.EncodeKey(key)
	return &fleetv1.CreateCertificateResponse{Ca: pki.EncodeCert(r.Self.CA), Certificate: pki.EncodeCert(cert),
		Key: text, Expires: timestamppb.New(cert.NotAfter)}, err
}

// Revoke ends the rights of a person.
func (r Registry) Revoke(ctx context.Context, name string) error {
	key := r.Keys.Person(name)
	var ok bool
	if err := r.Retry(ctx, func(ctx context.Context) (err error) {
		_, ok, err = r.Store.Get(ctx, key)
		return err
	}); err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.NotFound, "certificate "+name, "does not exist")
	}
	return r.Retry(ctx, func(ctx context.Context) error {
		_, err := r.Store.Commit(ctx, nil, etcd.Delete(key))
		return err
	})
}

// Check returns an error if the certificate of a person was revoked or replaced. value is the person's record.
func Check(cert *x509.Certificate, who pki.Identity, value etcd.Value, found bool) error {
	person := &fleetv1.Person{}
	if found {
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
