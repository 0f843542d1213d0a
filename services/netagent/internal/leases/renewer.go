package leases

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/bootclock"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

const (
	// leaseTick is the interval at which lease deadlines are checked.
	leaseTick = time.Second
	// exchangeTimeout bounds the time to wait for a DHCP response.
	exchangeTimeout = 4 * time.Second
	// exchangeRetry is the delay before a failed exchange is retried.
	exchangeRetry = 5 * time.Second
	// maxExchanges bounds the concurrent DHCP exchanges. Each uses a thread in its namespace.
	maxExchanges = 16
)

// leaseKey identifies the lease of one family of one endpoint.
type leaseKey struct {
	endpoint string
	ipv6     bool
}

// leaseState is the state machine of one lease and its next deadline.
type leaseState struct {
	*lease.Client
	owner string
	due   time.Time // zero: never
	busy  bool
}

// leaseRenewer renews the DHCP leases of all endpoints and requests a new one when a lease expires.
// All granted leases are stored, so a new process continues from there.
type leaseRenewer struct {
	m   *Leases
	log *slog.Logger

	mu  sync.Mutex
	all map[leaseKey]*leaseState
	run sync.WaitGroup
}

// Run renews DHCP leases until ctx ends.
func (m *Leases) Run(ctx context.Context) {
	m.reapplyLeases(m.log)
	t := &leaseRenewer{m: m, log: m.log, all: map[leaseKey]*leaseState{}}
	defer t.run.Wait()

	tick := time.NewTicker(leaseTick)
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

// poll adds new leases, drops those without an endpoint, and starts the exchanges that are due.
func (t *leaseRenewer) poll(ctx context.Context, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()

	existing, busy := map[leaseKey]bool{}, 0
	for _, n := range t.m.store.Networks() {
		if !n.UsesDHCP() || n.Status.Deleting {
			continue
		}
		for _, sb := range t.m.store.SandboxesOn(n.ID) {
			if e, ok := sb.EndpointOn(n.ID); ok && !sb.NetnsOnly && t.m.namespaces.Exists(sb.NetnsPath) {
				t.track(n.Network, sb.Owner, e, existing, now)
			}
		}
	}

	for key, is := range t.all {
		if is.busy {
			busy++
		} else if !existing[key] {
			delete(t.all, key)
		}
	}

	for key, is := range t.all {
		if !is.busy && !is.due.IsZero() && !now.Before(is.due) && busy < maxExchanges {
			is.busy = true
			busy++
			t.run.Go(func() { t.renew(ctx, key, is) })
		}
	}
}

// track adds the leases of an endpoint and marks them in existing.
func (t *leaseRenewer) track(
	n network.Network, owner string, e endpoint.Endpoint, existing map[leaseKey]bool, now time.Time,
) {
	for _, f := range []struct {
		wanted, ipv6 bool
		has          *lease.Terms
		must         netip.Addr
	}{{n.Spec.DHCP4, false, e.Lease4, e.Spec.IPv4}, {n.Spec.DHCP6, true, e.Lease6, e.Spec.IPv6}} {
		if !f.wanted {
			continue
		}
		key := leaseKey{e.ID, f.ipv6}
		existing[key] = true
		if t.all[key] != nil {
			continue
		}
		if f.has == nil { // it may be granted concurrently
			var idle bool
			if f.has, idle = t.m.grantedTo(owner, key); !idle {
				continue
			}
		}
		is := &leaseState{Client: lease.NewInit(now, f.must, netip.Addr{}), owner: owner}
		if f.has != nil {
			is.Client = lease.NewBound(f.has.Adjusted(now, bootclock.Now()), f.must)
		}
		is.due = is.Wake()
		t.all[key] = is
	}
}

// grantedTo returns the stored lease of an endpoint, nil without one. ok is false while the owner
// is locked, as a lease may be pending: two concurrent requests for one endpoint would conflict
// with each other.
func (m *Leases) grantedTo(owner string, key leaseKey) (has *lease.Terms, ok bool) {
	unlock, free := m.locks.TryOwner(owner)
	if !free {
		return nil, false
	}
	defer unlock()
	_, _, e, ok := m.find(owner, key.endpoint)
	if key.ipv6 {
		return e.Lease6, ok
	}
	return e.Lease4, ok
}

// renew runs one exchange for a lease and applies the result.
func (t *leaseRenewer) renew(ctx context.Context, key leaseKey, is *leaseState) {
	had := is.HasAddress()
	event, err := t.m.runDHCP(ctx, is.owner, key, is.Client)
	again := is.Wake()
	if err != nil {
		if event, _, _ = is.Tick(time.Now()); event == lease.NoEvent { // deadlines pass even if no server is reachable
			again = time.Now().Add(exchangeRetry)
		}
		t.log.Debug("DHCP exchange failed", "endpoint", key.endpoint, "error", err)
	}

	switch {
	case event == lease.Granted:
		err = t.m.storeAndApplyLease(is.owner, key, &is.Terms, t.log)
	case event == lease.Lost, event == lease.Refused && had:
		err = t.m.storeAndApplyLease(is.owner, key, nil, t.log)
	}

	if event == lease.Refused {
		again = time.Now().Add(exchangeRetry)
	}
	if err != nil && ctx.Err() == nil && event != lease.NoEvent {
		t.log.Error("lease not applied", "endpoint", key.endpoint, "error", err)
	}

	t.mu.Lock()
	defer t.mu.Unlock()

	is.due, is.busy = again, false
}

// runDHCP runs the state machine of a lease for one exchange.
func (m *Leases) runDHCP(
	ctx context.Context, owner string, key leaseKey, machine *lease.Client,
) (event lease.Event, err error) {
	sb, n, e, ok := m.find(owner, key.endpoint)
	if !ok {
		return lease.NoEvent, nil
	}
	err = m.namespaces.Within(sb.NetnsPath, func(ns namespace.Namespace) (err error) {
		event, err = m.lan.RunDHCP(ctx, ns.Kernel(), n, sb, e, key.ipv6, machine, exchangeTimeout)
		return err
	})
	return event, err
}
