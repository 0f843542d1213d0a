package admission

import (
	"context"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
)

// Promote stores that a host is a manager, and grants it the rights of one. It is idempotent.
func (a Admission) Promote(ctx context.Context, id string) (*fleetv1.Host, error) {
	if _, err := a.host(ctx, id); err != nil {
		return nil, err
	}
	if err := a.Store.Empower(ctx, id); err != nil {
		return nil, err
	}
	return a.change(ctx, id, nil, func(h *fleetv1.Host) bool {
		changed := h.GetRole() != fleetv1.HostRole_HOST_ROLE_MANAGER
		h.Role = fleetv1.HostRole_HOST_ROLE_MANAGER
		return changed
	})
}

// Demote makes a manager a member and takes its rights away. other is the manager that does it, which must
// still be one in the same transaction: so two managers cannot demote each other. It is idempotent.
func (a Admission) Demote(ctx context.Context, id, other string) (*fleetv1.Host, error) {
	stays := func(ctx context.Context) (etcd.Condition, error) {
		value, h, err := a.stored(ctx, other)
		if err == nil && h.GetRole() != fleetv1.HostRole_HOST_ROLE_MANAGER {
			err = fault.New(fault.Conflict, "host "+h.GetName(), "is not a manager any more",
				fault.WithHint("try again"))
		}
		return etcd.Unchanged(value.Key, value.Revision), err
	}
	if err := a.grant(ctx, id); err != nil {
		return nil, err
	}
	host, err := a.change(ctx, id, stays, func(h *fleetv1.Host) bool {
		changed := h.GetRole() != fleetv1.HostRole_HOST_ROLE_MEMBER || h.GetStoreUrl() != ""
		h.Role, h.StoreUrl, h.StoreSerial = fleetv1.HostRole_HOST_ROLE_MEMBER, "", 0
		return changed
	})
	if err != nil {
		return nil, err
	}
	return host, a.Store.Disempower(ctx, id)
}

// Grant lets a host write its own keys. It is idempotent.
func (a Admission) Grant(ctx context.Context, id string) error { return a.grant(ctx, id) }

// SetStoreURL stores under which URL clients reach the store of a manager. Empty: they do not.
func (a Admission) SetStoreURL(ctx context.Context, id, url string) error {
	return a.SetStore(ctx, id, url, 0)
}

// SetStore stores under which URL clients reach the store through a manager, and which credentials of an external
// store it has. Those of a lower serial number are not stored.
func (a Admission) SetStore(ctx context.Context, id, url string, serial uint64) error {
	_, err := a.change(ctx, id, nil, func(h *fleetv1.Host) bool {
		if h.GetRole() != fleetv1.HostRole_HOST_ROLE_MANAGER ||
			h.GetStoreUrl() == url && h.GetStoreSerial() >= serial {
			return false
		}
		h.StoreUrl, h.StoreSerial = url, max(serial, h.GetStoreSerial())
		return true
	})
	return err
}

// change changes the record of a host: edit modifies it and reports whether it did. If another manager
// changes the record meanwhile, edit is called again with the new one. Fields that this version does not
// know are kept. condition, which can be nil, must hold in the same transaction.
func (a Admission) change(ctx context.Context, id string, condition func(context.Context) (etcd.Condition, error),
	edit func(*fleetv1.Host) bool) (*fleetv1.Host, error) {
	for range attempts {
		value, host, err := a.stored(ctx, id)
		if err != nil || !edit(host) {
			return host, err
		}
		conditions := []etcd.Condition{etcd.Unchanged(value.Key, value.Revision)}
		if condition != nil {
			c, err := condition(ctx)
			if err != nil {
				return nil, err
			}
			conditions = append(conditions, c)
		}
		data, err := record.Encode(host)
		if err != nil {
			return nil, err
		}
		if ok, err := a.Store.Commit(ctx, conditions, etcd.Put(value.Key, data)); err != nil || ok {
			return host, err
		}
	}
	return nil, fault.New(fault.Busy, "host "+id, "is being changed", fault.WithHint("try again"))
}

// stored returns the record of a host with its revision.
func (a Admission) stored(ctx context.Context, id string) (etcd.Value, *fleetv1.Host, error) {
	value, ok, err := a.Store.Get(ctx, a.Keys.Host(id))
	if err == nil && !ok {
		err = fault.New(fault.Denied, "host "+id, "is not part of the fleet",
			fault.WithHint("it was removed; on that host: fairlead fleet leave, then join again"))
	}
	if err != nil {
		return value, nil, err
	}
	host := &fleetv1.Host{}
	return value, host, record.Decode(value.Key, value.Data, host)
}
