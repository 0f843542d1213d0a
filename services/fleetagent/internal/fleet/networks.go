package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/ledger"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
)

// ledger returns the decisions of a manager about networks and blocks.
func (p *part) ledger() ledger.Ledger {
	return ledger.Ledger{Keys: p.keys, Fleet: p.membership().Fleet, Store: p.client, Quarantine: p.cfg.Quarantine,
		Now: p.cfg.Now}
}

// manager returns the part of this host if it is a manager.
func (f *Fleet) manager() (*part, error) {
	p, err := f.current()
	if err != nil {
		return nil, err
	}
	return p, p.refuseMember()
}

// CreateNetwork creates a network and waits until the hosts that can be reached know it. It returns
// a warning for those that do not.
func (f *Fleet) CreateNetwork(ctx context.Context, wanted *fleetv1.OverlayNetwork, ipv6 bool) (
	*fleetv1.OverlayNetwork, []string, error) {
	p, err := f.manager()
	if err != nil {
		return nil, nil, err
	}
	var n *fleetv1.OverlayNetwork
	if err := p.outage.Retry(ctx, func(ctx context.Context) error {
		n, err = p.ledger().CreateNetwork(ctx, wanted, ipv6)
		return err
	}); err != nil {
		return nil, nil, err
	}
	return n, p.awaitSeen(ctx, func(v *view.View) bool {
		_, ok := v.Network(n.GetId())
		return ok
	}), nil
}

// awaitSeen waits until this host sees a change of the networks, and then until all hosts that are
// alive do. It returns a warning if some do not in time.
func (p *part) awaitSeen(ctx context.Context, here func(*view.View) bool) []string {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	var revision int64
	p.mirror.Await(ctx, func(v *view.View) bool {
		revision = v.Pool()
		return here(v)
	})
	var late []string
	p.mirror.Await(ctx, func(v *view.View) bool {
		late = nil
		for id, h := range v.Hosts() {
			if v.Alive(id) && v.Seen(id) < revision {
				late = append(late, h.GetName())
			}
		}
		return len(late) == 0
	})
	if len(late) == 0 {
		return nil
	}
	slices.Sort(late)
	return []string{fmt.Sprintf("not confirmed by these hosts yet, they apply it when they can: %s",
		strings.Join(late, ", "))}
}

// UpdateNetwork changes a network.
func (f *Fleet) UpdateNetwork(ctx context.Context, r *fleetv1.UpdateNetworkRequest) (*fleetv1.OverlayNetwork, error) {
	p, err := f.manager()
	if err != nil {
		return nil, err
	}
	var n *fleetv1.OverlayNetwork
	err = p.outage.Retry(ctx, func(ctx context.Context) (err error) {
		n, err = p.ledger().UpdateNetwork(ctx, r)
		return err
	})
	return n, err
}

// RemoveNetwork deletes a network without containers.
func (f *Fleet) RemoveNetwork(ctx context.Context, network string) error {
	p, err := f.manager()
	if err != nil {
		return err
	}
	var users []string
	name := network
	p.mirror.Read(func(v *view.View) {
		if n, ok := v.Network(network); ok {
			name = n.GetName()
		}
		for _, e := range v.OnNetwork(network) {
			user := e.GetOwner()[:min(12, len(e.GetOwner()))]
			if len(e.GetNames()) > 0 {
				user = e.GetNames()[0]
			}
			users = append(users, user+" on host "+v.Hosts()[e.GetHostId()].GetName())
		}
	})
	if len(users) > 0 {
		slices.Sort(users)
		return fault.New(fault.Conflict, "network "+name, "has active endpoints: "+strings.Join(users, ", "),
			fault.WithHint("disconnect the containers first"))
	}
	if err := p.outage.Retry(ctx, func(ctx context.Context) error {
		return p.ledger().RemoveNetwork(ctx, network)
	}); err != nil {
		return err
	}
	p.awaitSeen(ctx, func(v *view.View) bool {
		n, ok := v.Network(network)
		return !ok || n.GetDeleted()
	})
	return nil
}

// MarkNetworkUp records that this host has a network. It asks the store only the first time.
func (f *Fleet) MarkNetworkUp(ctx context.Context, network string) error {
	p, err := f.current()
	if err != nil {
		return err
	}
	marked, usable := false, false
	p.mirror.Read(func(v *view.View) {
		n, ok := v.Network(network)
		marked, usable = v.Marked(network), ok && !n.GetDeleted()
	})
	stored, ok := p.mirror.Value(p.keys.Network(network))
	switch {
	case !usable || !ok:
		return fault.New(fault.NotFound, "network "+network, "not found in the fleet")
	case marked:
		return nil
	}
	c, err := p.caller(ctx)
	if err != nil {
		return err
	}
	done, err := p.client.Commit(ctx, []etcd.Condition{etcd.Unchanged(p.keys.Epoch(c.Host), c.Epoch),
		etcd.Unchanged(stored.Key, stored.Revision)}, etcd.Put(p.keys.Mark(c.Host, network), []byte("1")))
	if err == nil && !done {
		err = fault.New(fault.Busy, "network "+network, "was changed meanwhile", fault.WithHint("try again"))
	}
	if err == nil {
		p.mirror.SetMark(network, true)
	}
	return err
}

// ConfirmNetworkRemoved releases this host's blocks of a network, and records that it does not have
// the network any more.
func (f *Fleet) ConfirmNetworkRemoved(ctx context.Context, network string) error {
	p, err := f.current()
	if err != nil {
		return err
	}
	needed := false
	p.mirror.Read(func(v *view.View) {
		needed = v.Marked(network)
		for _, b := range v.Blocks(network) {
			needed = needed || b.GetHostId() == p.membership().Host
		}
	})
	if !needed {
		return nil
	}
	c, err := p.caller(ctx)
	if err != nil {
		return err
	}
	err = p.asManager(ctx, func(ctx context.Context, m claims) error { return m.Confirm(ctx, c, network) })
	if err != nil {
		return err
	}
	if _, err := p.client.Commit(ctx, []etcd.Condition{etcd.Unchanged(p.keys.Epoch(c.Host), c.Epoch)},
		etcd.Delete(p.keys.Mark(c.Host, network))); err != nil {
		return err
	}
	p.mirror.SetMark(network, false)
	return nil
}
