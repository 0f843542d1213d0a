package sandbox

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

const (
	// tenancyTick is how exactly the times of leases are kept.
	tenancyTick = time.Second
	// tenancyWhile bounds how long it is listened for an answer at a time.
	tenancyWhile = 4 * time.Second
	// tenancyAgain is how long to wait before trying again what could not even be asked.
	tenancyAgain = 5 * time.Second
	// tenancyAtOnce bounds how many leases are talked about at the same time. Each has a thread in its namespace.
	tenancyAtOnce = 16
)

// leaseKey is one address that the LANDriver gives for a time: of one family, of one endpoint.
type leaseKey struct {
	endpoint string
	ipv6     bool
}

// leaseState is where it stands.
type leaseState struct {
	*lease.Client
	owner string
	due   time.Time // zero: never
	busy  bool
}

// leaseRenewer keeps the addresses that LANs give for a time: asks for more time when it is due, gives up what has ended, and asks for
// another one then. What was granted is in the store, so a process that comes after goes on where this one has ended.
type leaseRenewer struct {
	m   *Manager
	log *slog.Logger

	mu  sync.Mutex
	all map[leaseKey]*leaseState
	run sync.WaitGroup
}

// RunLeaseRenewal keeps what LANs grant for a time until ctx ends.
func (m *Manager) RunLeaseRenewal(ctx context.Context, log *slog.Logger) {
	m.reapplyLeases(log)
	t := &leaseRenewer{m: m, log: log, all: map[leaseKey]*leaseState{}}
	defer t.run.Wait()
	tick := time.NewTicker(tenancyTick)
	defer tick.Stop()
	for {
		t.poll(ctx, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// poll begins what is due, takes on who is new and forgets who is gone.
func (t *leaseRenewer) poll(ctx context.Context, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	there, busy := map[leaseKey]bool{}, 0
	for _, n := range t.m.store.Networks() {
		if !n.UsesDHCP() || n.Deleting {
			continue
		}
		for _, sb := range t.m.store.SandboxesOn(n.ID) {
			if e, ok := on(sb, n.Network); ok && !sb.NetnsOnly && kernel.Pinned(sb.NetnsPath) {
				t.track(n.Network, sb.Owner, e, there, now)
			}
		}
	}
	for who, is := range t.all {
		if is.busy {
			busy++
		} else if !there[who] {
			delete(t.all, who)
		}
	}
	for who, is := range t.all {
		if !is.busy && !is.due.IsZero() && !now.Before(is.due) && busy < tenancyAtOnce {
			is.busy = true
			busy++
			t.run.Go(func() { t.renew(ctx, who, is) })
		}
	}
}

// track notes an endpoint's tenancies.
func (t *leaseRenewer) track(n network.Network, owner string, e network.Endpoint, there map[leaseKey]bool, now time.Time) {
	for _, f := range []struct {
		wanted, ipv6 bool
		has          *lease.Terms
		must         netip.Addr
	}{{n.DHCP4, false, e.Lease4, e.Spec.IPv4}, {n.DHCP6, true, e.Lease6, e.Spec.IPv6}} {
		if !f.wanted {
			continue
		}
		who := leaseKey{e.ID, f.ipv6}
		there[who] = true
		if t.all[who] != nil {
			continue
		}
		if f.has == nil { // it may be granted at this very moment
			var settled bool
			if f.has, settled = t.m.grantedTo(owner, who); !settled {
				continue
			}
		}
		is := &leaseState{Client: lease.NewInit(now, f.must, netip.Addr{}), owner: owner}
		if f.has != nil {
			is.Client = lease.NewBound(*f.has, f.must)
		}
		is.due = is.Wake()
		t.all[who] = is
	}
}

// grantedTo answers what is granted to a tenant, nil if it has nothing; false while somebody works on its owner, who may just be asking for
// it: two who ask for one endpoint would each find the address taken, by the other.
func (m *Manager) grantedTo(owner string, who leaseKey) (has *lease.Terms, settled bool) {
	unlock, free := m.owners.tryLock(m.pinOf(owner))
	if !free {
		return nil, false
	}
	defer unlock()
	_, _, e, ok := m.find(owner, who.endpoint)
	if who.ipv6 {
		return e.Lease6, ok
	}
	return e.Lease4, ok
}

// renew goes on with one tenancy for a while.
func (t *leaseRenewer) renew(ctx context.Context, who leaseKey, is *leaseState) {
	had := is.HasAddress()
	event, err := t.m.runDHCP(ctx, is.owner, who, is.Client)
	again := is.Wake()
	if err != nil {
		if event, _, _ = is.Tick(time.Now()); event == lease.NoEvent { // time goes on although nobody could be asked
			again = time.Now().Add(tenancyAgain)
		}
		t.log.Debug("lease cannot be talked about", "endpoint", who.endpoint, "error", err)
	}
	switch {
	case event == lease.Granted:
		err = t.m.storeAndApplyLease(is.owner, who, &is.Terms, t.log)
	case event == lease.Lost, event == lease.Refused && had:
		err = t.m.storeAndApplyLease(is.owner, who, nil, t.log)
	}
	if event == lease.Refused {
		again = time.Now().Add(tenancyAgain)
	}
	if err != nil && ctx.Err() == nil && event != lease.NoEvent {
		t.log.Error("lease cannot be applied", "endpoint", who.endpoint, "error", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	is.due, is.busy = again, false
}

// runDHCP goes on with a lease for a while.
func (m *Manager) runDHCP(ctx context.Context, owner string, who leaseKey, machine *lease.Client) (event lease.Event, err error) {
	sb, n, e, ok := m.find(owner, who.endpoint)
	if !ok {
		return lease.NoEvent, nil
	}
	err = kernel.WithPinned(sb.NetnsPath, func(ns *kernel.Namespace) (err error) {
		event, err = m.LAN.RunDHCP(ctx, ns, n, sb, e, who.ipv6, machine, tenancyWhile)
		return err
	})
	return event, err
}
