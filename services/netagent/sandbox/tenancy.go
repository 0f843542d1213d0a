package sandbox

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/netagent/kernel"
	"github.com/fairlead/fairlead/services/netagent/lease"
	"github.com/fairlead/fairlead/services/netagent/network"
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

// tenant is one address that the LAN gives for a time: of one family, of one endpoint.
type tenant struct {
	endpoint string
	ipv6     bool
}

// tenancy is where it stands.
type tenancy struct {
	*lease.Machine
	owner string
	due   time.Time // zero: never
	busy  bool
}

// tenancies keeps the addresses that LANs give for a time: asks for more time when it is due, gives up what has ended, and asks for
// another one then. What was granted is in the store, so a process that comes after goes on where this one has ended.
type tenancies struct {
	m   *Manager
	log *slog.Logger

	mu  sync.Mutex
	all map[tenant]*tenancy
	run sync.WaitGroup
}

// KeepLeases keeps what LANs grant for a time until ctx ends.
func (m *Manager) KeepLeases(ctx context.Context, log *slog.Logger) {
	m.refollow(log)
	t := &tenancies{m: m, log: log, all: map[tenant]*tenancy{}}
	defer t.run.Wait()
	tick := time.NewTicker(tenancyTick)
	defer tick.Stop()
	for {
		t.look(ctx, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look begins what is due, takes on who is new and forgets who is gone.
func (t *tenancies) look(ctx context.Context, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	there, busy := map[tenant]bool{}, 0
	for _, n := range t.m.store.Networks() {
		if !n.Leased() || n.Deleting {
			continue
		}
		for _, sb := range t.m.store.SandboxesOn(n.ID) {
			if e, ok := on(sb, n.Network); ok && !sb.Kept && kernel.Pinned(sb.NetnsPath) {
				t.takeOn(n.Network, sb.Owner, e, there, now)
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
			t.run.Go(func() { t.serve(ctx, who, is) })
		}
	}
}

// takeOn notes an endpoint's tenancies.
func (t *tenancies) takeOn(n network.Network, owner string, e network.Endpoint, there map[tenant]bool, now time.Time) {
	for _, f := range []struct {
		wanted, ipv6 bool
		has          *lease.Terms
		must         netip.Addr
	}{{n.DHCP4, false, e.Lease4, e.Spec.IPv4}, {n.DHCP6, true, e.Lease6, e.Spec.IPv6}} {
		if !f.wanted {
			continue
		}
		who := tenant{e.ID, f.ipv6}
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
		is := &tenancy{Machine: lease.Seek(now, f.must, netip.Addr{}), owner: owner}
		if f.has != nil {
			is.Machine = lease.Resume(*f.has, f.must)
		}
		is.due = is.Wake()
		t.all[who] = is
	}
}

// grantedTo answers what is granted to a tenant, nil if it has nothing; false while somebody works on its owner, who may just be asking for
// it: two who ask for one endpoint would each find the address taken, by the other.
func (m *Manager) grantedTo(owner string, who tenant) (has *lease.Terms, settled bool) {
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

// serve goes on with one tenancy for a while.
func (t *tenancies) serve(ctx context.Context, who tenant, is *tenancy) {
	had := is.Has()
	event, err := t.m.converse(ctx, is.owner, who, is.Machine)
	again := is.Wake()
	if err != nil {
		if event, _, _ = is.At(time.Now()); event == lease.Nothing { // time goes on although nobody could be asked
			again = time.Now().Add(tenancyAgain)
		}
		t.log.Debug("lease cannot be talked about", "endpoint", who.endpoint, "error", err)
	}
	switch {
	case event == lease.Granted:
		err = t.m.relet(is.owner, who, &is.Terms, t.log)
	case event == lease.Lost, event == lease.Refused && had:
		err = t.m.relet(is.owner, who, nil, t.log)
	}
	if event == lease.Refused {
		again = time.Now().Add(tenancyAgain)
	}
	if err != nil && ctx.Err() == nil && event != lease.Nothing {
		t.log.Error("lease cannot be applied", "endpoint", who.endpoint, "error", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	is.due, is.busy = again, false
}

// converse goes on with a lease for a while.
func (m *Manager) converse(ctx context.Context, owner string, who tenant, machine *lease.Machine) (event lease.Event, err error) {
	sb, n, e, ok := m.find(owner, who.endpoint)
	if !ok {
		return lease.Nothing, nil
	}
	err = kernel.InPinned(sb.NetnsPath, func(ns *kernel.Namespace) (err error) {
		event, err = m.LAN.Converse(ctx, ns, n, sb, e, who.ipv6, machine, tenancyWhile)
		return err
	})
	return event, err
}
