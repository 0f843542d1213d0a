package fleet

import (
	"context"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api"
	"github.com/fairlead/fairlead/services/fleetagent/internal/ledger"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
	"github.com/fairlead/fairlead/services/fleetagent/internal/wish"
)

// claims changes who owns blocks: a manager's ledger, or a connection to a manager.
type claims = api.Claims

// caller returns this host with its registration. It waits for the registration after a start.
func (p *part) caller(ctx context.Context) (ledger.Caller, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	for {
		if epoch := p.publisher.Epoch(); epoch > 0 {
			return ledger.Caller{Host: p.membership().Host, Epoch: epoch}, nil
		}
		select {
		case <-ctx.Done():
			_, err := p.list()
			return ledger.Caller{}, fault.New(fault.Unavailable, "host "+p.membership().Name,
				"is not registered in its fleet", fault.WithCause(err))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// asManager calls the ledger: on a manager directly, on a member that of a manager. A manager that
// cannot be reached is followed by the next.
func (p *part) asManager(ctx context.Context, call func(context.Context, claims) error) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	if p.membership().IsManager() {
		return call(ctx, p.ledger())
	}
	managers := p.managers()
	for i, address := range managers {
		m, err := p.dial(address)
		if err == nil {
			part, done := context.WithTimeout(ctx, storeTime/time.Duration(len(managers)))
			err = call(part, m)
			done()
		}
		if fault.KindOf(err) != fault.Unavailable || i == len(managers)-1 {
			return err
		}
	}
	return fault.New(fault.Unavailable, "managers", "are not known yet")
}

// dial returns a connection to a manager, which is kept.
func (p *part) dial(address netip.AddrPort) (*api.Manager, error) {
	config := p.clientTLS("", pki.Manager)
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := p.calls[address]; m != nil {
		return m, nil
	}
	m, err := api.DialManager(address, config)
	if err == nil {
		p.calls[address] = m
	}
	return m, err
}

// Claim makes a block a host's. Managers only.
func (p *part) Claim(ctx context.Context, c ledger.Caller, network string, subnet, exact netip.Prefix) (
	*fleetv1.OverlayBlock, error) {
	if err := p.refuseMember(); err != nil {
		return nil, err
	}
	return p.ledger().Claim(ctx, c, network, subnet, exact)
}

// Give returns a block of a host, or gives a part of it to another one. Managers only.
func (p *part) Give(ctx context.Context, c ledger.Caller, network string, block netip.Prefix, to string) error {
	if err := p.refuseMember(); err != nil {
		return err
	}
	return p.ledger().Give(ctx, c, network, block, to)
}

// Confirm releases the blocks of a network that a host does not have any more. Managers only.
func (p *part) Confirm(ctx context.Context, c ledger.Caller, network string) error {
	if err := p.refuseMember(); err != nil {
		return err
	}
	return p.ledger().Confirm(ctx, c, network)
}

func (p *part) refuseMember() error {
	_, err := p.admission()
	return err
}

// ClaimBlock makes a block this host's. If there is no free one, other hosts are asked for a part of
// theirs.
func (f *Fleet) ClaimBlock(ctx context.Context, network string, subnet, exact netip.Prefix) (*fleetv1.OverlayBlock,
	error) {
	p, err := f.current()
	if err != nil {
		return nil, err
	}
	unlock, err := p.claiming.LockContext(ctx, network)
	if err != nil {
		return nil, err
	}
	defer unlock()
	c, err := p.caller(ctx)
	if err != nil {
		return nil, err
	}

	var block *fleetv1.OverlayBlock
	err = p.asManager(ctx, func(ctx context.Context, m claims) error {
		block, err = m.Claim(ctx, c, network, subnet, exact)
		return err
	})
	kind := fault.KindOf(err)
	if err != nil && (kind == fault.Exhausted || kind == fault.Exists && exact.IsSingleIP()) {
		asking := wish.Asking{Mirror: p.mirror, Store: p.client, Keys: p.keys, Log: p.cfg.Log}
		if given := asking.Ask(ctx, c, network, subnet, exact); given != nil {
			return given, nil
		}
	}
	if err != nil {
		return nil, err
	}

	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	prefix, err := netip.ParsePrefix(block.GetPrefix())
	if err != nil {
		return nil, err
	}
	p.mirror.Await(ctx, func(v *view.View) bool { // netagent routes from the view
		b, ok := v.Block(prefix)
		return ok && b.GetHostId() == p.membership().Host
	})
	return block, nil
}

// ReleaseBlock returns a block of this host, or gives a part of one to another host.
func (f *Fleet) ReleaseBlock(ctx context.Context, network string, block netip.Prefix, to string) error {
	p, err := f.current()
	if err != nil {
		return err
	}
	c, err := p.caller(ctx)
	if err != nil {
		return err
	}
	return p.asManager(ctx, func(ctx context.Context, m claims) error { return m.Give(ctx, c, network, block, to) })
}
