package ledger

import (
	"context"
	"errors"
	"net/netip"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
)

// Restore adds records to a store that was restored from an older backup and lacks them. What the
// store has is not changed. admit gives a host its rights again. It returns an error for each record
// that does not fit any more, and adds the others.
func (l Ledger) Restore(ctx context.Context, missing []etcd.Value,
	admit func(ctx context.Context, host *fleetv1.Host) error) error {
	var errs []error
	for _, step := range []struct {
		kind string
		add  func(context.Context, etcd.Value, []string) error
	}{
		{"h", func(ctx context.Context, v etcd.Value, _ []string) error { return l.restoreHost(ctx, v, admit) }},
		{"n", l.restoreNetwork},
		{"b", l.restoreBlock},
	} {
		for _, v := range missing {
			if parts := l.Keys.Split(v.Key); len(parts) > 1 && parts[0] == step.kind {
				errs = append(errs, step.add(ctx, v, parts))
			}
		}
	}
	return errors.Join(errs...)
}

func (l Ledger) restoreHost(ctx context.Context, v etcd.Value,
	admit func(context.Context, *fleetv1.Host) error) error {
	h := &fleetv1.Host{}
	if err := record.Decode(v.Key, v.Data, h); err != nil {
		return err
	}
	ok, err := l.Store.Commit(ctx, []etcd.Condition{etcd.Absent(v.Key), etcd.Absent(l.Keys.Name(h.GetName()))},
		etcd.Put(v.Key, v.Data), etcd.Put(l.Keys.Name(h.GetName()), []byte(h.GetId())))
	if err != nil || !ok { // another manager was faster, or the name is in use
		return err
	}
	return admit(ctx, h)
}

func (l Ledger) restoreNetwork(ctx context.Context, v etcd.Value, _ []string) error {
	n := &fleetv1.OverlayNetwork{}
	if err := record.Decode(v.Key, v.Data, n); err != nil || n.GetDeleted() {
		return err
	}
	for range attempts {
		if _, known, err := l.Store.Get(ctx, v.Key); err != nil || known {
			return err
		}
		o, err := l.occupied(ctx)
		if err != nil {
			return err
		}
		o.infos = nil // its hosts route it
		if err := o.refuseOverlap(n); err != nil {
			return err
		}
		ok, err := l.commitNetwork(ctx, n, o)
		if err != nil || ok {
			return err
		}
		if name, taken, err := l.Store.Get(ctx, l.Keys.NetworkName(n.GetName())); err != nil ||
			taken && string(name.Data) != n.GetId() {
			return errors.Join(err, nameTaken(n))
		}
	}
	return busy(subject(n))
}

func (l Ledger) restoreBlock(ctx context.Context, v etcd.Value, parts []string) error {
	b := &fleetv1.OverlayBlock{}
	if err := record.Decode(v.Key, v.Data, b); err != nil {
		return err
	}
	p, err := netip.ParsePrefix(b.GetPrefix())
	if err != nil {
		return err
	}
	n, _, err := l.network(ctx, parts[1])
	if err != nil {
		return err
	}
	for _, pool := range n.GetPools() {
		subnet, err := netip.ParsePrefix(pool.GetSubnet())
		if err != nil || !subnet.Contains(p.Addr()) {
			continue
		}
		conditions := append(l.unclaimed(parts[1], subnet, p), etcd.Present(l.Keys.Host(b.GetHostId())))
		if ok, err := l.Store.Commit(ctx, conditions, etcd.Put(v.Key, v.Data)); err != nil || ok {
			return err
		}
	}
	if stored, ok, err := l.Store.Get(ctx, v.Key); err != nil || ok && string(stored.Data) == string(v.Data) {
		return err // another manager was faster
	}
	return fault.New(fault.Conflict, "block "+b.GetPrefix(), "of host "+b.GetHostId()+" is not in the restored store, "+
		"and its addresses belong to another host meanwhile")
}
