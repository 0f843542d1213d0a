package ledger

import (
	"context"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/blocks"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
)

// Give returns a block of the caller, or gives a part of one to a host that wants it. A block that
// the caller does not have is nothing to return.
func (l Ledger) Give(ctx context.Context, c Caller, network string, part netip.Prefix, to string) error {
	for range attempts {
		o, err := l.owned(ctx, network)
		if err != nil {
			return err
		}
		block, ok := o.block(c.Host, part)
		switch {
		case !ok && to == "":
			return nil
		case !ok:
			return fault.New(fault.Conflict, "block "+part.String(), "is not of this host")
		case to == "" && block != part:
			return fault.Invalidf("block "+part.String(), "prefix", "is only a part of block %s", block)
		}

		conditions := append(l.fence(c), etcd.Unchanged(o.stored[block].Key, o.stored[block].Revision))
		var changes []etcd.Op
		if to == "" {
			changes, err = l.quarantine(ctx, network, block)
		} else {
			conditions = append(conditions, etcd.Present(l.Keys.Wish(to, network)), etcd.Present(l.Keys.Host(to)))
			changes, err = l.divide(network, block, part, c.Host, to)
		}
		if err != nil {
			return err
		}
		ok, err = l.Store.Commit(ctx, conditions, changes...)
		if err != nil || ok {
			return err
		}
		if err := l.checkGive(ctx, c, network, to); err != nil {
			return err
		}
	}
	return busy("block " + part.String())
}

// checkGive returns why a block cannot be given, or nil if only the block has changed.
func (l Ledger) checkGive(ctx context.Context, c Caller, network, to string) error {
	if err := l.checkFence(ctx, c); err != nil || to == "" {
		return err
	}
	_, wanted, err := l.Store.Get(ctx, l.Keys.Wish(to, network))
	if err == nil && !wanted {
		err = fault.New(fault.Conflict, "host "+l.name(ctx, to), "does not want addresses any more")
	}
	return err
}

// block returns the block of a host that contains a prefix.
func (o owned) block(host string, part netip.Prefix) (netip.Prefix, bool) {
	for p, b := range o.blocks {
		if b.GetHostId() == host && p.Contains(part.Addr()) && p.Bits() <= part.Bits() {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// divide returns the changes that give a part of a block to another host.
func (l Ledger) divide(network string, block, part netip.Prefix, from, to string) ([]etcd.Op, error) {
	rest, ok := blocks.Without(block, part)
	if !ok {
		return nil, fault.Invalidf("block "+part.String(), "prefix", "is not a part of block %s", block)
	}
	changes := []etcd.Op{etcd.Delete(l.Keys.Wish(to, network))}
	if len(rest) > 0 { // otherwise the record is replaced below
		changes = append(changes, etcd.Delete(l.Keys.Block(network, block)))
	}
	owner := map[netip.Prefix]string{part: to}
	for _, r := range rest {
		owner[r] = from
	}
	for p, host := range owner {
		store, err := put(l.Keys.Block(network, p), &fleetv1.OverlayBlock{Prefix: p.String(), NetworkId: network,
			HostId: host})
		if err != nil {
			return nil, err
		}
		changes = append(changes, store)
	}
	return changes, nil
}

// quarantine returns the changes that release blocks, which can be claimed again some time later.
func (l Ledger) quarantine(ctx context.Context, network string, all ...netip.Prefix) ([]etcd.Op, error) {
	lease, err := l.Store.Grant(ctx, l.Quarantine)
	if err != nil {
		return nil, err
	}
	var changes []etcd.Op
	for _, p := range all {
		changes = append(changes, etcd.Delete(l.Keys.Block(network, p)),
			etcd.PutLeased(l.Keys.Quarantine(network, p), nil, lease))
	}
	return changes, nil
}

// Confirm releases all blocks of a network that the caller does not have any more. Those of a
// deleted network need no quarantine: its subnets are free when the last host has confirmed.
func (l Ledger) Confirm(ctx context.Context, c Caller, network string) error {
	if err := l.checkFence(ctx, c); err != nil {
		return err
	}
	if _, _, err := l.network(ctx, network); err == nil {
		return l.releaseAll(ctx, c.Host, network, l.fence(c))
	} else if fault.KindOf(err) != fault.NotFound {
		return err
	}

	o, err := l.owned(ctx, network)
	if err != nil {
		return err
	}
	var changes []etcd.Op
	for p, b := range o.blocks {
		if b.GetHostId() == c.Host {
			changes = append(changes, etcd.Delete(l.Keys.Block(network, p)))
		}
	}
	for part := range slices.Chunk(changes, chunk) {
		if ok, err := l.Store.Commit(ctx, l.fence(c), part...); err != nil || !ok {
			if err == nil {
				err = busy("network " + network)
			}
			return err
		}
	}
	return nil
}

// releaseAll puts all blocks of a host on a network in quarantine.
func (l Ledger) releaseAll(ctx context.Context, host, network string, conditions []etcd.Condition) error {
	o, err := l.owned(ctx, network)
	if err != nil {
		return err
	}
	var mine []netip.Prefix
	for p, b := range o.blocks {
		if b.GetHostId() == host {
			mine = append(mine, p)
		}
	}
	for part := range slices.Chunk(mine, chunk) {
		changes, err := l.quarantine(ctx, network, part...)
		if err != nil {
			return err
		}
		unchanged := slices.Clone(conditions)
		for _, p := range part {
			unchanged = append(unchanged, etcd.Unchanged(o.stored[p].Key, o.stored[p].Revision))
		}
		ok, err := l.Store.Commit(ctx, unchanged, changes...)
		if err != nil || !ok {
			if err == nil {
				err = busy("network " + network)
			}
			return err
		}
	}
	return nil
}

// Forget removes what a host had that is not part of the fleet any more. Its blocks go through
// quarantine. It can be repeated.
func (l Ledger) Forget(ctx context.Context, host string) error {
	networks, err := l.Store.List(ctx, l.Keys.Networks())
	if err != nil {
		return err
	}
	gone := []etcd.Condition{etcd.Absent(l.Keys.Host(host))}
	for _, v := range networks {
		if err := l.releaseAll(ctx, host, record.Last(v.Key), gone); err != nil {
			return err
		}
	}
	var changes []etcd.Op
	for _, key := range l.Keys.Own(host) {
		if key[len(key)-1] == '/' {
			changes = append(changes, etcd.DeleteBelow(key))
			continue
		}
		changes = append(changes, etcd.Delete(key))
	}
	_, err = l.Store.Commit(ctx, gone, changes...)
	return err
}

// Sweep removes deleted networks that no host has any more, and what hosts left that are not part of
// the fleet. Every manager calls it from time to time; it can be repeated.
func (l Ledger) Sweep(ctx context.Context) error {
	hosts, err := l.Store.List(ctx, l.Keys.Hosts())
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, v := range hosts {
		known[record.Last(v.Key)] = true
	}
	values, err := l.Store.List(ctx, l.Keys.All())
	if err != nil {
		return err
	}

	gone := map[string]bool{}
	deleted := map[string]etcd.Value{}
	for _, v := range values {
		l.sort(v, known, gone, deleted)
	}
	for host := range gone {
		if err := l.Forget(ctx, host); err != nil {
			return err
		}
	}
	for id, v := range deleted {
		if err := l.purge(ctx, id, v); err != nil {
			return err
		}
	}
	return nil
}

// sort finds hosts that left something, and deleted networks that no known host has.
func (l Ledger) sort(v etcd.Value, known, gone map[string]bool, deleted map[string]etcd.Value) {
	parts := l.Keys.Split(v.Key)
	host := ""
	switch {
	case len(parts) == 2 && parts[0] == "n":
		n := &fleetv1.OverlayNetwork{}
		if record.Decode(v.Key, v.Data, n) == nil && n.GetDeleted() {
			deleted[parts[1]] = v
		}
	case len(parts) == 3 && parts[0] == "b":
		b := &fleetv1.OverlayBlock{}
		if record.Decode(v.Key, v.Data, b) == nil {
			host = b.GetHostId()
		}
	case len(parts) == 3 && parts[0] == "up":
		host = parts[1]
		if known[host] {
			delete(deleted, parts[2]) // keys are sorted: networks come before marks
		}
	case len(parts) >= 2 && (parts[0] == "e" || parts[0] == "i" || parts[0] == "ep" || parts[0] == "w"):
		host = parts[1]
	}
	if host != "" && !known[host] {
		gone[host] = true
	}
}

// purge removes a deleted network that has no blocks and no quarantine.
func (l Ledger) purge(ctx context.Context, id string, v etcd.Value) error {
	_, err := l.Store.Commit(ctx, []etcd.Condition{etcd.Unchanged(v.Key, v.Revision),
		etcd.NoneBelow(l.Keys.Blocks(id)), etcd.NoneBelow(l.Keys.Quarantines(id))},
		etcd.Delete(v.Key), etcd.Put(l.Keys.Pool(), []byte(id)))
	return err
}
