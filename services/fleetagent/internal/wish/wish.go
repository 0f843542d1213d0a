// Package wish asks other hosts for a part of their blocks, when a network has no free block.
//
// A wish is a record of the store that expires; the asked host gives the part through a manager. It is used by
// fleetagent.
package wish

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/ledger"
	"github.com/fairlead/fairlead/services/fleetagent/internal/mirror"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
	"github.com/fairlead/fairlead/services/fleetagent/internal/usage"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
)

// Limits of requests to other hosts for addresses: an exhausted network is reported within a second.
const (
	wishLife   = 3 * time.Second
	wishTime   = 400 * time.Millisecond
	wishDonors = 2
)

// Asking has what is needed to ask.
type Asking struct {
	Mirror *mirror.Mirror
	Store  *etcd.Client
	Keys   record.Keys
	Log    *slog.Logger
}

// Ask asks other hosts for addresses. It returns nil if none gave any in time.
func (p Asking) Ask(ctx context.Context, c ledger.Caller, network string, subnet, exact netip.Prefix,
) *fleetv1.OverlayBlock {
	var donors []usage.Donor
	before := map[netip.Prefix]bool{}
	p.Mirror.Read(func(v *view.View) {
		donors = usage.Donors(v.Blocks(network), c.Host, subnet, address(exact), v.Alive,
			func(host string, block netip.Prefix) uint64 { return freeIn(v, host, block) })
		for prefix, b := range v.Blocks(network) {
			before[prefix] = b.GetHostId() == c.Host
		}
	})
	for _, d := range donors[:min(len(donors), wishDonors)] {
		if given := p.ask(ctx, c, network, exact, d, before); given != nil {
			return given
		}
	}
	return nil
}

func address(exact netip.Prefix) netip.Addr {
	if exact.IsValid() {
		return exact.Addr()
	}
	return netip.Addr{}
}

func freeIn(v *view.View, host string, block netip.Prefix) uint64 {
	for _, u := range v.Usage(host) {
		if u.GetPrefix() == block.String() {
			return u.GetFree()
		}
	}
	return 0
}

// ask asks one host for a part of a block and waits for it.
func (p Asking) ask(ctx context.Context, c ledger.Caller, network string, exact netip.Prefix, d usage.Donor,
	before map[netip.Prefix]bool) *fleetv1.OverlayBlock {
	wish := &fleetv1.BlockWish{FromHostId: d.Host, Prefix: d.Prefix.String()}
	if exact.IsValid() {
		wish.Address = exact.Addr().String()
	}
	data, err := record.Encode(wish)
	if err != nil {
		return nil
	}
	lease, err := p.Store.Grant(ctx, wishLife)
	if err != nil {
		return nil
	}
	key := p.Keys.Wish(c.Host, network)
	fence := etcd.Unchanged(p.Keys.Epoch(c.Host), c.Epoch)
	if ok, err := p.Store.Commit(ctx, []etcd.Condition{fence}, etcd.PutLeased(key, data, lease)); err != nil || !ok {
		return nil
	}

	waiting, cancel := context.WithTimeout(ctx, wishTime)
	defer cancel()
	var given *fleetv1.OverlayBlock
	got := func(v *view.View) bool {
		for prefix, b := range v.Blocks(network) {
			if b.GetHostId() == c.Host && !before[prefix] && (!exact.IsValid() || prefix.Contains(exact.Addr())) {
				given = b
			}
		}
		return given != nil
	}
	if p.Mirror.Await(waiting, got) {
		return given
	}
	// Take the wish back, and look again: it may have been fulfilled at the last moment.
	if _, err := p.Store.Commit(ctx, []etcd.Condition{fence}, etcd.Delete(key)); err != nil {
		p.Log.Warn("wish for addresses not removed, it expires", "error", err)
	}
	p.Mirror.Read(func(v *view.View) { got(v) })
	return given
}
