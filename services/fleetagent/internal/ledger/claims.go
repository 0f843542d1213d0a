package ledger

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/blocks"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
)

// owned is the state of the blocks of one network.
type owned struct {
	blocks     map[netip.Prefix]*fleetv1.OverlayBlock
	stored     map[netip.Prefix]etcd.Value
	quarantine blocks.Claims
}

// claims returns all prefixes that cannot be claimed.
func (o owned) claims() blocks.Claims {
	return append(slices.Collect(maps.Keys(o.stored)), o.quarantine...)
}

func (l Ledger) owned(ctx context.Context, network string) (owned, error) {
	o := owned{blocks: map[netip.Prefix]*fleetv1.OverlayBlock{}, stored: map[netip.Prefix]etcd.Value{}}
	found, stored, err := all[fleetv1.OverlayBlock](ctx, l, l.Keys.Blocks(network))
	if err != nil {
		return o, err
	}
	for name, v := range stored { // also those that cannot be read: their owner may use them
		if p, ok := record.ParsePrefixName(name); ok {
			o.stored[p] = v
			if b := found[name]; b != nil {
				o.blocks[p] = b
			}
		}
	}
	released, err := l.Store.List(ctx, l.Keys.Quarantines(network))
	for _, v := range released {
		if p, ok := record.ParsePrefixName(record.Last(v.Key)); ok {
			o.quarantine = append(o.quarantine, p)
		}
	}
	return o, err
}

// Claim makes a block of a subnet the caller's: any of the usual size, or an exact prefix if it is
// valid. The exact prefix can be part of a block of the caller, which is then returned.
func (l Ledger) Claim(ctx context.Context, c Caller, network string, subnet, exact netip.Prefix) (
	*fleetv1.OverlayBlock, error) {
	for range attempts {
		n, v, err := l.network(ctx, network)
		if err != nil {
			return nil, err
		}
		pool, err := poolOf(n, subnet)
		if err != nil {
			return nil, err
		}
		o, err := l.owned(ctx, network)
		if err != nil {
			return nil, err
		}
		p, mine, err := l.pick(ctx, c, pool, subnet, exact, o)
		if err != nil || mine != nil {
			return mine, err
		}

		block := &fleetv1.OverlayBlock{Prefix: p.String(), NetworkId: network, HostId: c.Host}
		store, err := put(l.Keys.Block(network, p), block)
		if err != nil {
			return nil, err
		}
		conditions := append(l.fence(c), etcd.Unchanged(v.Key, v.Revision))
		conditions = append(conditions, l.unclaimed(network, subnet, p)...)
		ok, err := l.Store.Commit(ctx, conditions, store)
		if err != nil || ok {
			return block, err
		}
		if err := l.checkFence(ctx, c); err != nil {
			return nil, err
		}
	}
	return nil, busy("subnet " + subnet.String())
}

// poolOf returns the pool of a network with a subnet.
func poolOf(n *fleetv1.OverlayNetwork, subnet netip.Prefix) (*fleetv1.OverlayPool, error) {
	for _, p := range n.GetPools() {
		if p.GetSubnet() == subnet.String() {
			return p, nil
		}
	}
	return nil, invalid(n, "subnet", "%s is not a subnet of the network", subnet)
}

// unclaimed is the condition that no block or quarantine overlaps a prefix: none that contains it,
// and none within it.
func (l Ledger) unclaimed(network string, subnet, p netip.Prefix) []etcd.Condition {
	var conditions []etcd.Condition
	for _, prefix := range []string{l.Keys.Blocks(network), l.Keys.Quarantines(network)} {
		for _, outer := range blocks.Enclosing(subnet, p) {
			conditions = append(conditions, etcd.Absent(prefix+record.PrefixName(outer)))
		}
		first, end := record.PrefixRange(p)
		conditions = append(conditions, etcd.NoneBetween(prefix+first, prefix+end))
	}
	return conditions
}

// pick chooses the prefix to claim, or returns a block that the caller has already.
func (l Ledger) pick(ctx context.Context, c Caller, pool *fleetv1.OverlayPool, subnet, exact netip.Prefix,
	o owned) (netip.Prefix, *fleetv1.OverlayBlock, error) {
	if exact.IsValid() {
		return l.pickExact(ctx, c, subnet, exact, o)
	}
	within := subnet
	if pool.GetIpRange() != "" {
		r, err := netip.ParsePrefix(pool.GetIpRange())
		if err != nil {
			return netip.Prefix{}, nil, err
		}
		within = r
	}
	count := uint64(0)
	for p, b := range o.blocks {
		if b.GetHostId() == c.Host && p.Bits() <= blocks.Len(within) && within.Overlaps(p) {
			count++
		}
	}
	if most := blocks.Cap(within); count >= most {
		return netip.Prefix{}, nil, fault.New(fault.Exhausted, "subnet "+subnet.String(),
			fmt.Sprintf("this host has %d blocks of it, and may have %d", count, most),
			fault.WithHint("create the network with a larger --subnet"))
	}
	p, ok := o.claims().Free(within, c.Host, reserved(pool, subnet))
	if !ok {
		return p, nil, l.exhausted(ctx, within, o)
	}
	return p, nil, nil
}

func (l Ledger) pickExact(ctx context.Context, c Caller, subnet, exact netip.Prefix, o owned) (netip.Prefix,
	*fleetv1.OverlayBlock, error) {
	if exact != exact.Masked() || !subnet.Contains(exact.Addr()) || exact.Bits() < blocks.Len(subnet) {
		return exact, nil, fault.Invalidf("block "+exact.String(), "prefix",
			"is not a part of %s with at least %d bits", subnet, blocks.Len(subnet))
	}
	for p, v := range o.stored {
		if !p.Overlaps(exact) {
			continue
		}
		b := o.blocks[p]
		if b.GetHostId() == c.Host && p.Bits() <= exact.Bits() {
			return p, b, nil
		}
		who := "a host that cannot be read from record " + v.Key
		if b != nil {
			who = "host " + l.name(ctx, b.GetHostId())
		}
		return exact, nil, fault.New(fault.Exists, "address "+text(exact),
			fmt.Sprintf("belongs to block %s of %s", p, who))
	}
	if p, ok := o.quarantine.Conflict(exact); ok {
		return exact, nil, fault.New(fault.Busy, "address "+text(exact),
			fmt.Sprintf("was released with block %s less than %s ago", p, l.Quarantine),
			fault.WithHint("try again later"))
	}
	return exact, nil, nil
}

// text returns a prefix as the user wrote it: a single address without its length.
func text(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// name returns the name of a host, or its ID if it is not known.
func (l Ledger) name(ctx context.Context, id string) string {
	h := &fleetv1.Host{}
	v, ok, err := l.Store.Get(ctx, l.Keys.Host(id))
	if err != nil || !ok || record.Decode(v.Key, v.Data, h) != nil {
		return id
	}
	return h.GetName()
}

// exhausted returns the fault of a subnet without a free block, with the owners.
func (l Ledger) exhausted(ctx context.Context, within netip.Prefix, o owned) error {
	alive, err := l.Store.List(ctx, l.Keys.Presences())
	if err != nil {
		return err
	}
	live := map[string]bool{}
	for _, v := range alive {
		live[record.Last(v.Key)] = true
	}
	owners, claimed := map[string]int{}, 0
	for p, b := range o.blocks {
		if within.Overlaps(p) {
			owners[b.GetHostId()]++
			claimed++
		}
	}
	released := 0
	for _, p := range o.quarantine {
		if within.Overlaps(p) {
			released++
		}
	}

	var list []string
	for id, n := range owners {
		lost := ""
		if !live[id] {
			lost = ", lost"
		}
		list = append(list, fmt.Sprintf("%s (%d%s)", l.name(ctx, id), n, lost))
	}
	slices.Sort(list)
	return fault.New(fault.Exhausted, "subnet "+within.String(),
		fmt.Sprintf("has no free block: %d belong to %s, and %d were released less than %s ago", claimed,
			strings.Join(list, ", "), released, l.Quarantine),
		fault.WithHint("remove lost hosts with fairlead fleet rm, or create the network with a larger --subnet"))
}
