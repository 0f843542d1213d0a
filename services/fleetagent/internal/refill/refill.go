// Package refill writes the records of a fleet to a new store, from a backup or a copy. Its other managers become
// members.
//
// It starts no store. It is used by fleetagent.
package refill

import (
	"context"
	"strings"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/admission"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/fence"
	"github.com/fairlead/fairlead/services/fleetagent/internal/membership"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
)

// batch is the number of records of one transaction. The store accepts 128.
const batch = 100

// lasting reports whether a kind of records is backed up. The others are signs of life, tokens, locks and others
// that end with a lease or a connection.
func lasting(kind string) bool {
	switch kind {
	case "live", "ep", "join", "lock", "q", "w", "seen":
		return false
	}
	return true
}

// Lasting returns the records that are backed up, by key below the fleet's prefix.
func Lasting(keys record.Keys, values []etcd.Value) map[string][]byte {
	records := map[string][]byte{}
	for _, v := range values {
		if parts := keys.Split(v.Key); parts != nil && lasting(parts[0]) {
			records[strings.TrimPrefix(v.Key, keys.All())] = v.Data
		}
	}
	return records
}

// Write writes the records to a store that is empty, with this host as the only manager, and returns the record
// of this host.
func Write(ctx context.Context, client *etcd.Client, m *membership.Membership, records map[string][]byte,
	now func() time.Time) (own *fleetv1.Host, err error) {
	keys := m.Keys()
	gate := admission.Admission{Keys: keys, Store: client, Authority: *m.Authority, Now: now}
	var ops []etcd.Op
	for name, data := range records {
		key := keys.All() + name
		switch {
		case strings.HasPrefix(key, keys.Hosts()):
			var host *fleetv1.Host
			if host, data, err = changed(m, key, data); err == nil {
				err = gate.Grant(ctx, host.GetId())
			}
			if host.GetId() == m.Host {
				own = host
			}
		case key == keys.Settings():
			data, err = fence.With(key, data, m.StoreGeneration)
		}
		if err != nil {
			return nil, err
		}
		ops = append(ops, etcd.Put(key, data))
	}
	if own == nil {
		return nil, fault.New(fault.Invalid, "backup", "has no record of its manager")
	}
	for len(ops) > 0 {
		n := min(batch, len(ops))
		if _, err := client.Commit(ctx, nil, ops[:n]...); err != nil {
			return nil, err
		}
		ops = ops[n:]
	}
	return own, client.Authorize(ctx, m.Host)
}

// changed returns the record of a host with its new role.
func changed(m *membership.Membership, key string, data []byte) (*fleetv1.Host, []byte, error) {
	host := &fleetv1.Host{}
	if err := record.Decode(key, data, host); err != nil {
		return nil, nil, err
	}
	host.Role, host.StoreUrl = fleetv1.HostRole_HOST_ROLE_MEMBER, ""
	if host.GetId() == m.Host {
		host.Role, host.StoreUrl, host.Address = fleetv1.HostRole_HOST_ROLE_MANAGER, m.Store[0], m.Address
	}
	data, err := record.Encode(host)
	return host, data, err
}
