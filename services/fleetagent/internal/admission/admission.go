// Package admission decides who is part of a fleet. A manager uses it to issue join tokens, to admit
// hosts that have one, to renew their certificates and to remove them. All decisions are
// transactions of the store, so that two managers never decide differently.
//
// It does not know how hosts connect. It is used by the API of fleetagent.
package admission

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
	"github.com/fairlead/fairlead/services/fleetagent/internal/token"
)

// Limits of tokens and clocks.
const (
	DefaultValid = time.Hour
	maxValid     = 7 * 24 * time.Hour
	maxUses      = 1000
	// maxSkew is the difference of clocks up to which certificates are valid on both sides.
	maxSkew = 2 * time.Minute
	// attempts limits how often a transaction is repeated that met another change.
	attempts = 20
)

// Store is the fleet's store. It is implemented by etcd.Client.
type Store interface {
	Get(ctx context.Context, key string) (etcd.Value, bool, error)
	Commit(ctx context.Context, conditions []etcd.Condition, changes ...etcd.Op) (bool, error)
	PutFor(ctx context.Context, key string, data []byte, life time.Duration) (bool, error)
	ReplaceOp(old etcd.Value, data []byte) (etcd.Condition, etcd.Op)
	Admit(ctx context.Context, host, read string, write ...string) error
	Expel(ctx context.Context, host string) error
	Empower(ctx context.Context, host string) error
	Disempower(ctx context.Context, host string) error
}

// Admission decides for one fleet.
type Admission struct {
	Keys      record.Keys
	Store     Store
	Authority pki.Authority
	Now       func() time.Time
	// Patiently repeats a call that the store does not answer. Nil: each call is made once.
	Patiently func(ctx context.Context, call func(context.Context) error) error
}

// patiently makes a call that can be repeated.
func (a Admission) patiently(ctx context.Context, call func(context.Context) error) error {
	if a.Patiently == nil {
		return call(ctx)
	}
	return a.Patiently(ctx, call)
}

// IssueToken stores a token and returns its secret.
func (a Admission) IssueToken(ctx context.Context, valid time.Duration, uses uint32, role token.Role) (
	[token.SecretLen]byte, error) {
	secret := token.NewSecret()
	switch {
	case valid < time.Minute || valid > maxValid:
		return secret, fault.Invalidf("join token", "valid", "cannot be valid for %s; use 1m to %s", valid, maxValid)
	case uses == 0 || uses > maxUses:
		return secret, fault.Invalidf("join token", "uses", "cannot be for %d hosts; use 1 to %d", uses, maxUses)
	}

	becomes := fleetv1.HostRole_HOST_ROLE_MEMBER
	if role == token.Manager {
		becomes = fleetv1.HostRole_HOST_ROLE_MANAGER
	}
	data, err := record.Encode(&fleetv1.JoinToken{Role: becomes, Uses: uses})
	if err != nil {
		return secret, err
	}
	ok, err := a.Store.PutFor(ctx, a.Keys.Token(token.Hash(secret)), data, valid)
	if err == nil && !ok {
		err = fault.New(fault.Internal, "join token", "exists already")
	}
	return secret, err
}

// Enroll admits a host that has the secret of a token. The secret is used up in the same
// transaction that stores the host, so a token admits no more hosts than it says. fits refuses a host that cannot
// have the networks of the fleet.
func (a Admission) Enroll(ctx context.Context, secret [token.SecretLen]byte, request []byte, host *fleetv1.Host,
	clock time.Time, fits func(netip.Addr) error) (*fleetv1.Host, *x509.Certificate, error) {
	address, err := a.check(host, clock)
	if err != nil {
		return nil, nil, err
	}
	checked := false
	for range attempts {
		var t *fleetv1.JoinToken
		var stored etcd.Value
		if err := a.patiently(ctx, func(ctx context.Context) (err error) {
			t, stored, err = a.token(ctx, secret)
			return err
		}); err != nil {
			return nil, nil, err
		}
		if !checked { // after the token, so that only its holder learns of the fleet's networks
			if err := fits(address); err != nil {
				return nil, nil, err
			}
			checked = true
		}
		admitted := &fleetv1.Host{Id: host.GetId(), Name: host.GetName(), Address: host.GetAddress(),
			Port:    host.GetPort(),
			Version: host.GetVersion(), Role: t.GetRole(), Joined: timestamppb.New(a.Now())}
		// The certificate comes first: a bad request must not use the token up.
		cert, err := a.certify(request, admitted)
		if err != nil {
			return nil, nil, err
		}

		ok, err := a.admit(ctx, admitted, t, stored)
		if err != nil || ok {
			return admitted, cert, err
		}
		if err := a.refuseTaken(ctx, host); err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, fault.New(fault.Busy, "fleet", "too many hosts are joining now", fault.WithHint("try again"))
}

// check refuses a host whose record could not be used.
func (a Admission) check(host *fleetv1.Host, clock time.Time) (netip.Addr, error) {
	address, err := netip.ParseAddr(host.GetAddress())
	if err := CheckName(host.GetName()); err != nil {
		return address, err
	}
	if err != nil || address.IsUnspecified() || address.IsLoopback() {
		return address, fault.Invalidf("host "+host.GetName(), "address", "address %q cannot be reached by other hosts",
			host.GetAddress())
	}
	if !validID(host.GetId()) {
		return address, fault.Invalidf("host "+host.GetName(), "id", "id %q is not 16 hexadecimal digits", host.GetId())
	}
	if skew := clock.Sub(a.Now()); skew.Abs() > maxSkew {
		return address, fault.New(fault.Invalid, "host "+host.GetName(), fmt.Sprintf("its clock is %s %s",
			skew.Abs().Round(time.Second), direction(skew)), fault.WithHint("set the clock; at most %s are accepted",
			maxSkew))
	}
	return address, nil
}

func direction(skew time.Duration) string {
	if skew > 0 {
		return "ahead"
	}
	return "behind"
}

// token returns the stored token with a secret.
func (a Admission) token(ctx context.Context, secret [token.SecretLen]byte) (*fleetv1.JoinToken, etcd.Value, error) {
	stored, ok, err := a.Store.Get(ctx, a.Keys.Token(token.Hash(secret)))
	if err != nil {
		return nil, stored, err
	}
	t := &fleetv1.JoinToken{}
	if ok {
		err = record.Decode(stored.Key, stored.Data, t)
	}
	if !ok || err == nil && t.GetUses() == 0 {
		err = fault.New(fault.Denied, "join token", "has expired, was used, or is of another fleet",
			fault.WithHint("create a new one on a manager: fairlead fleet token"))
	}
	return t, stored, err
}

// grant lets a host write its own keys.
func (a Admission) grant(ctx context.Context, id string) error {
	return a.Store.Admit(ctx, id, a.Keys.All(), a.Keys.Own(id)...)
}

// admit stores a host and uses the token up. It reports false if the token, the name or the ID was
// taken meanwhile.
func (a Admission) admit(ctx context.Context, host *fleetv1.Host, t *fleetv1.JoinToken, stored etcd.Value) (bool,
	error) {
	if err := a.patiently(ctx, func(ctx context.Context) error { return a.Readmit(ctx, host) }); err != nil {
		return false, err
	}
	data, err := record.Encode(host)
	if err != nil {
		return false, err
	}
	unchanged, use := etcd.Unchanged(stored.Key, stored.Revision), etcd.Delete(stored.Key)
	if t.GetUses() > 1 {
		rest := proto.CloneOf(t)
		rest.Uses--
		left, err := record.Encode(rest)
		if err != nil {
			return false, err
		}
		unchanged, use = a.Store.ReplaceOp(stored, left)
	}

	ok, err := a.Store.Commit(ctx,
		[]etcd.Condition{unchanged, etcd.Absent(a.Keys.Name(host.GetName())), etcd.Absent(a.Keys.Host(host.GetId()))},
		use, etcd.Put(a.Keys.Name(host.GetName()), []byte(host.GetId())), etcd.Put(a.Keys.Host(host.GetId()), data))
	if err == nil && ok {
		return true, nil
	}
	if err != nil {
		// The outcome is unknown: the changes may have been made.
		var present *fleetv1.Host
		lookup := a.patiently(ctx, func(ctx context.Context) (err error) {
			present, err = a.host(ctx, host.GetId())
			return err
		})
		switch {
		case lookup == nil && present.GetName() == host.GetName():
			return true, nil
		case fault.KindOf(lookup) == fault.Denied:
			err = nil // they were not made, and are made again
		}
	}
	if expel := a.Store.Expel(ctx, host.GetId()); err == nil {
		err = expel
	}
	return false, err
}

// refuseTaken returns an error if the name or the ID of a host is in use.
func (a Admission) refuseTaken(ctx context.Context, host *fleetv1.Host) error {
	value, ok, err := a.Store.Get(ctx, a.Keys.Name(host.GetName()))
	if err != nil {
		return err
	}
	if ok {
		other, err := a.host(ctx, string(value.Data))
		if err != nil {
			return err
		}
		return fault.New(fault.Exists, "host "+host.GetName(),
			"the name is in use by the host with address "+other.GetAddress(), fault.WithHint("use --name"))
	}
	if _, ok, err = a.Store.Get(ctx, a.Keys.Host(host.GetId())); err == nil && ok {
		err = fault.New(fault.Exists, "host "+host.GetId(), "exists already")
	}
	return err
}

// Readmit grants a host its rights in the store again, which a restored store can lack.
func (a Admission) Readmit(ctx context.Context, host *fleetv1.Host) error {
	err := a.grant(ctx, host.GetId())
	if err == nil && host.GetRole() == fleetv1.HostRole_HOST_ROLE_MANAGER {
		err = a.Store.Empower(ctx, host.GetId())
	}
	return err
}

// Renew issues a certificate to a host that is still part of the fleet.
func (a Admission) Renew(ctx context.Context, who pki.Identity, request []byte) (*x509.Certificate, error) {
	host, err := a.host(ctx, who.Host)
	if err != nil {
		return nil, err
	}
	return a.certify(request, host)
}

// Remove removes a host and takes its rights away. It does nothing for an unknown one.
func (a Admission) Remove(ctx context.Context, id string) (*fleetv1.Host, error) {
	host, err := a.host(ctx, id)
	if fault.KindOf(err) == fault.Denied {
		return nil, a.Store.Expel(ctx, id)
	}
	if err != nil {
		return nil, err
	}
	if err := a.Store.Expel(ctx, id); err != nil {
		return nil, err
	}
	// Without its epoch, what the host asked for before has no effect any more.
	_, err = a.Store.Commit(ctx, nil, etcd.Delete(a.Keys.Presence(id)), etcd.Delete(a.Keys.Epoch(id)),
		etcd.Delete(a.Keys.Name(host.GetName())),
		etcd.Delete(a.Keys.Host(id)))
	return host, err
}

// host returns the record of a host. A host without one was removed, so it is denied.
func (a Admission) host(ctx context.Context, id string) (*fleetv1.Host, error) {
	_, host, err := a.stored(ctx, id)
	return host, err
}

// certify issues a certificate for a host's record.
func (a Admission) certify(request []byte, host *fleetv1.Host) (*x509.Certificate, error) {
	address, err := netip.ParseAddr(host.GetAddress())
	if err != nil {
		return nil, fault.New(fault.Internal, "host "+host.GetId(), "has no address", fault.WithCause(err))
	}
	role := pki.Member
	if host.GetRole() == fleetv1.HostRole_HOST_ROLE_MANAGER {
		role = pki.Manager
	}
	who := pki.Identity{Fleet: a.Authority.Fleet(), Role: role, Host: host.GetId()}
	return a.Authority.Sign(request, who, []netip.Addr{address}, pki.HostLife, a.Now())
}

// CheckName refuses a name that is not a DNS label, because containers of other hosts resolve it.
func CheckName(name string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyz0123456789-"
	if name == "" || len(name) > 63 || strings.Trim(name, allowed) != "" || name[0] == '-' || name[len(name)-1] == '-' {
		return fault.New(fault.Invalid, fmt.Sprintf("host name %q", name),
			"is not 1 to 63 lower-case letters, digits and hyphens", fault.WithHint("use --name"))
	}
	return nil
}

func validID(id string) bool { return len(id) == 16 && strings.Trim(id, "0123456789abcdef") == "" }
