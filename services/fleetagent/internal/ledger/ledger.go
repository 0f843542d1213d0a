// Package ledger decides about overlay networks and blocks of addresses: which networks exist, and
// which host owns which block. Managers use it, so that no host can take what is not its own.
//
// All decisions are transactions of the store, so that two managers never decide differently, and a
// host whose registration has changed meanwhile decides nothing. The package does not know how hosts
// connect. It is used by fleetagent.
package ledger

import (
	"context"
	"net/netip"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
	"github.com/fairlead/fairlead/services/fleetagent/internal/space"
)

// DefaultQuarantine is the time until a released block can be claimed again.
const DefaultQuarantine = 10 * time.Minute

// Limits.
const (
	attempts = 20 // of a transaction that meets other changes
	chunk    = 50 // blocks a transaction
)

// Store is the fleet's store. It is implemented by etcd.Client.
type Store interface {
	Get(ctx context.Context, key string) (etcd.Value, bool, error)
	List(ctx context.Context, prefix string) ([]etcd.Value, error)
	Commit(ctx context.Context, conditions []etcd.Condition, changes ...etcd.Op) (bool, error)
	Grant(ctx context.Context, life time.Duration) (etcd.Lease, error)
}

// Ledger decides for one fleet.
type Ledger struct {
	Keys       record.Keys
	Fleet      string
	Store      Store
	Quarantine time.Duration
	Now        func() time.Time
}

// Caller is the host that asks for a change.
type Caller struct {
	Host  string
	Epoch int64 // of its registration
}

// fence is the condition that the caller is part of the fleet and still registered as it was.
func (l Ledger) fence(c Caller) []etcd.Condition {
	return []etcd.Condition{etcd.Present(l.Keys.Host(c.Host)), etcd.Unchanged(l.Keys.Epoch(c.Host), c.Epoch)}
}

// checkFence returns why the condition of a caller does not hold, or nil.
func (l Ledger) checkFence(ctx context.Context, c Caller) error {
	if _, ok, err := l.Store.Get(ctx, l.Keys.Host(c.Host)); err != nil || !ok {
		if err == nil {
			err = fault.New(fault.Denied, "host "+c.Host, "is not part of the fleet",
				fault.WithHint("it was removed; on that host: fairlead fleet leave, then join again"))
		}
		return err
	}
	v, ok, err := l.Store.Get(ctx, l.Keys.Epoch(c.Host))
	if err == nil && (!ok || v.Revision != c.Epoch) {
		err = fault.New(fault.Denied, "host "+c.Host, "has registered again meanwhile", fault.WithHint("try again"))
	}
	return err
}

// busy is the fault of a transaction that other changes prevented too often.
func busy(subject string) error {
	return fault.New(fault.Busy, subject, "is being changed by many hosts", fault.WithHint("try again"))
}

// network returns a network record with its stored form.
func (l Ledger) network(ctx context.Context, id string) (*fleetv1.OverlayNetwork, etcd.Value, error) {
	v, ok, err := l.Store.Get(ctx, l.Keys.Network(id))
	if err != nil {
		return nil, v, err
	}
	n := &fleetv1.OverlayNetwork{}
	if ok {
		if err := record.Decode(v.Key, v.Data, n); err != nil {
			return nil, v, err
		}
	}
	if !ok || n.GetDeleted() {
		return nil, v, fault.New(fault.NotFound, "network "+id, "not found in the fleet")
	}
	return n, v, nil
}

// all returns the records below a prefix, by their last element. Those that cannot be read are left
// out: package view reports them.
func all[T any, P interface {
	*T
	proto.Message
}](ctx context.Context, l Ledger, prefix string) (map[string]P, map[string]etcd.Value, error) {
	values, err := l.Store.List(ctx, prefix)
	if err != nil {
		return nil, nil, err
	}
	found, stored := map[string]P{}, map[string]etcd.Value{}
	for _, v := range values {
		m := P(new(T))
		stored[record.Last(v.Key)] = v
		if record.Decode(v.Key, v.Data, m) == nil {
			found[record.Last(v.Key)] = m
		}
	}
	return found, stored, nil
}

// AddressSpace returns the address space of the fleet.
func (l Ledger) AddressSpace(ctx context.Context) ([]netip.Prefix, error) {
	v, ok, err := l.Store.Get(ctx, l.Keys.Settings())
	if err != nil || !ok {
		return space.Default(l.Fleet), err
	}
	m := &fleetv1.FleetSettings{}
	if err := record.Decode(v.Key, v.Data, m); err != nil {
		return nil, err
	}
	return space.Parse(m.GetAddressSpace())
}

// put returns the change that stores a record.
func put(key string, m proto.Message) (etcd.Op, error) {
	data, err := record.Encode(m)
	return etcd.Put(key, data), err
}
