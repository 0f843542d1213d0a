// Package reconcile makes the host be as the store says: the predefined networks, their bridges with ports and neighbours, and
// the forwarding that containers need. It applies differences only, at start, when the kernel tells of a change, and on a slow
// tick. What is right is left alone.
package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/natclient"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Driver makes the networks of one kind be as told. Each method tells what it changed.
type Driver interface {
	// Ensure makes what the network needs on the host, and tells whether it is new. Before it is guarded, the host's loopback
	// stays closed to it.
	Ensure(n network.Network, guarded bool) (changes []string, created bool, err error)
	// Restore plugs the sandboxes in again that have come off. Unless sweep is nil it removes what no sandbox has; sweep answers the
	// links that the host has, as they were before anything was removed.
	Restore(n network.Network, sandboxes []network.Sandbox, sweep func() ([]kernel.Link, error)) (changes []string, err error)
	// Delete takes the network off the host. It may be there in part or not at all.
	Delete(n network.Network) error
	// Bury deletes, until ctx ends, what detached endpoints left.
	Bury(ctx context.Context, failed func(error))
}

// NatClient asks natagent.
type NatClient interface {
	Apply(context.Context, network.Network) error
	Reapply(context.Context, store.Network) error
	ApplyWithRetry(context.Context, network.Network) error
}

// Reconciler compares and puts right.
type Reconciler struct {
	store   *store.Store
	host    *kernel.Host
	drivers map[string]Driver // by a network's driver; what is not in it has nothing on the host
	guard   NatClient
	log     *slog.Logger

	// Leaving tells whether an owner's sandbox is about to be gone.
	Leaving func(owner string) bool

	NoSweep      bool   // links without a record stay, as some of them are those of running containers
	Root         string // where the host's /etc is; empty: /
	NoForwarding bool   // forwarding is somebody else's to switch on

	heard   *changeBuffer
	program atomic.Value // the program whose changes are being repaired, a string

	bridges sync.Mutex // one at a time looks at bridges, so that two do not make the same
}

// New makes a reconciler.
func New(s *store.Store, host *kernel.Host, drivers map[string]Driver, g NatClient, log *slog.Logger) *Reconciler {
	return &Reconciler{store: s, host: host, drivers: drivers, guard: g, log: log, heard: &changeBuffer{wake: make(chan struct{}, 1)}}
}

// Start makes everything right and removes leftovers. No sandbox may be made meanwhile.
func (r *Reconciler) Start() error {
	var errs []error
	links := sync.OnceValues(r.host.Links)
	if r.NoSweep {
		links = nil
	}
	for _, n := range r.store.Networks() {
		if driver, ok := r.drivers[n.Driver]; ok && isActive(n) {
			errs = append(errs, r.network(driver, n, true), r.restore(driver, n, links))
		}
	}
	if r.NoForwarding {
		errs = append(errs, r.restoreSysctls(ofForwarding))
	}
	return errors.Join(append(errs, r.enableForwarding())...)
}

// again makes right what is wrong, with all ports and neighbours, until ctx ends.
func (r *Reconciler) again(ctx context.Context) error {
	var errs []error
	for _, n := range r.store.Networks() {
		if ctx.Err() != nil {
			return nil
		}
		if driver, ok := r.drivers[n.Driver]; ok && isActive(n) {
			errs = append(errs, r.network(driver, n, false), r.restore(driver, n, nil))
		}
	}
	return errors.Join(append(errs, r.enableForwarding())...)
}

// isActive tells whether a network is to be on the host: not while it is being deleted, and if it is not predefined not before
// natagent guards it.
func isActive(n store.Network) bool { return !n.Deleting && (n.Predefined || natclient.IsApplied(n)) }

// network makes one network's bridge right; a bridge that is new is no port's master yet.
func (r *Reconciler) network(driver Driver, n store.Network, first bool) error {
	r.bridges.Lock()
	defer r.bridges.Unlock()
	n, ok := r.store.Network(n.ID) // as it is by now
	if !ok || n.Deleting {
		return nil // it is being deleted; the lock is held for that too
	}
	changes, created, err := driver.Ensure(n.Network, natclient.IsApplied(n))
	r.tell(n.Network, changes)
	if err != nil || !created {
		return err
	}
	if n.Bridge != "" {
		err = r.disableBridgeNetfilter(n.Network)
	}
	if err != nil || first {
		return err
	}
	return r.restore(driver, n, nil)
}

// Delete takes a network that is being deleted off the host.
func (r *Reconciler) Delete(n network.Network) error {
	driver, ok := r.drivers[n.Driver]
	if !ok {
		return nil
	}
	r.bridges.Lock()
	defer r.bridges.Unlock()
	return driver.Delete(n)
}

// RemoveAddresses takes addresses off a network's bridge that the network no longer has.
func (r *Reconciler) RemoveAddresses(n network.Network, addresses []netip.Prefix) error {
	if n.Bridge == "" {
		return nil
	}
	return fault.Wrap(r.host.RemoveAddresses(n.Bridge, addresses), fault.Internal, n.Subject(), "cannot take former addresses off its bridge")
}

func (r *Reconciler) restore(driver Driver, n store.Network, sweep func() ([]kernel.Link, error)) error {
	for {
		then := r.store.SandboxesOn(n.ID)
		changes, err := driver.Restore(n.Network, then, sweep)
		r.tell(n.Network, changes)
		if err == nil {
			err = r.revertRestore(n.Network, then)
		}
		if err != nil || !r.readdressed(n.ID, then) {
			return err
		}
	}
}

// What is restored is that of sandboxes that may have gone on meanwhile, to other addresses or to their end. They store that, or say that
// they leave, before they touch the host: so who looks again afterwards sees it, or comes before them.

// readdressed tells whether one of some sandboxes has other addresses on a network by now: then what was restored may have been written
// over what was right.
func (r *Reconciler) readdressed(networkID string, then []network.Sandbox) bool {
	return slices.ContainsFunc(then, func(sb network.Sandbox) bool {
		now, _ := r.store.Sandbox(sb.Owner)
		before, after := on(networkID, sb), on(networkID, now)
		return len(after.AllAddresses()) > 0 && (before.MAC.String() != after.MAC.String() || !slices.Equal(before.AllAddresses(), after.AllAddresses()))
	})
}

// revertRestore takes what was restored for sandboxes off a bridge again that are gone by now, or about to be.
func (r *Reconciler) revertRestore(n network.Network, then []network.Sandbox) error {
	if n.Bridge == "" {
		return nil
	}
	stay := map[netip.Addr]bool{}
	for _, sb := range r.store.SandboxesOn(n.ID) {
		for _, p := range on(n.ID, sb).AllAddresses() {
			stay[p.Addr()] = !r.Leaving(sb.Owner)
		}
	}
	var gone []netip.Addr
	for _, sb := range then {
		for _, p := range on(n.ID, sb).AllAddresses() {
			if !stay[p.Addr()] {
				gone = append(gone, p.Addr())
			}
		}
	}
	if len(gone) == 0 {
		return nil
	}
	bridge, ok, err := r.host.Link(n.Bridge)
	errs := []error{err}
	for _, a := range gone {
		if ok {
			errs = append(errs, r.host.DeleteNeighbour(bridge.Index, a))
		}
	}
	return fault.Wrap(errors.Join(errs...), fault.Internal, n.Subject(), "cannot restore its bridge")
}

// on is a sandbox's endpoint on a network; an empty one if it is not there.
func on(networkID string, sb network.Sandbox) network.Endpoint {
	i := slices.IndexFunc(sb.Endpoints, func(e network.Endpoint) bool { return e.NetworkID == networkID })
	if i < 0 {
		return network.Endpoint{}
	}
	return sb.Endpoints[i]
}

func (r *Reconciler) tell(n network.Network, changes []string) {
	if len(changes) > 0 {
		attrs := []any{"network", n.Name, "bridge", n.Bridge, "changes", changes}
		if program, _ := r.program.Load().(string); program != "" {
			attrs = append(attrs, "program", program)
		}
		r.log.Info("network put right", attrs...)
	}
}
