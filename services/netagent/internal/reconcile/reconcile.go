// Package reconcile reconciles the host with the store: bridges of networks with their ports and
// neighbour entries, and forwarding.
//
// It applies only differences: at start, after kernel changes, and on a periodic resync. It does
// not configure the inside of sandboxes. The root package of netagent calls it.
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

// Driver configures the networks of one type on the host. Methods return the changes they made.
type Driver interface {
	// Ensure creates or reconciles the network on the host. created is true if it is new. With
	// guarded false, its loopback access stays disabled.
	Ensure(n network.Network, guarded bool) (changes []string, created bool, err error)
	// Restore attaches the endpoints that were detached. Unless sweep is nil, it removes links
	// without a sandbox. sweep returns the host links before any removal.
	Restore(
		n network.Network, sandboxes []network.Sandbox, sweep func() ([]kernel.Link, error),
	) (changes []string, err error)
	// Delete removes the network from the host. It may be missing or incomplete.
	Delete(n network.Network) error
	// RunLinkGC deletes detached endpoints in the background until ctx ends.
	RunLinkGC(ctx context.Context, failed func(error))
}

// NatClient requests firewall rules from natagent.
type NatClient interface {
	Apply(context.Context, network.Network) error
	Reapply(context.Context, store.Network) error
	ApplyWithRetry(context.Context, network.Network) error
}

// Reconciler compares the host with the store and applies the differences.
type Reconciler struct {
	store   *store.Store
	host    *kernel.Host
	drivers map[string]Driver // by driver name; other drivers have no host side
	guard   NatClient
	log     *slog.Logger

	// Leaving reports whether the sandbox of an owner is being removed.
	Leaving func(owner string) bool

	NoSweep      bool   // keep links without a record, since running containers may use them
	Root         string // root of the host's /etc; empty means /
	NoForwarding bool   // do not enable forwarding

	changes *changeBuffer
	program atomic.Value // the program whose changes are being repaired, a string

	bridges sync.Mutex // serializes bridge changes
}

// New returns a reconciler.
func New(s *store.Store, host *kernel.Host, drivers map[string]Driver, g NatClient, log *slog.Logger) *Reconciler {
	return &Reconciler{store: s, host: host, drivers: drivers, guard: g, log: log,
		changes: &changeBuffer{wake: make(chan struct{}, 1)}}
}

// Start reconciles everything and removes stale links. No sandbox may be created concurrently.
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

// reconcileAll reconciles all networks, with ports and neighbour entries, until ctx ends.
func (r *Reconciler) reconcileAll(ctx context.Context) error {
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

// isActive reports whether a network belongs on the host. It does not while it is being deleted or,
// unless predefined, before natagent has acknowledged it.
func isActive(n store.Network) bool {
	return !n.Status.Deleting && (n.IsPredefined() || natclient.IsApplied(n))
}

// network reconciles the bridge of one network. It restores the ports of a new bridge, unless first
// is true.
func (r *Reconciler) network(driver Driver, n store.Network, first bool) error {
	r.bridges.Lock()
	defer r.bridges.Unlock()

	n, ok := r.store.Network(n.ID) // may have changed
	if !ok || n.Status.Deleting {
		return nil // deletion takes the same lock
	}

	changes, created, err := driver.Ensure(n.Network, natclient.IsApplied(n))
	r.logChanges(n.Network, changes)
	if err != nil || !created {
		return err
	}

	if n.Bridge().Device != "" {
		err = r.disableBridgeNetfilter(n.Network)
	}
	if err != nil || first {
		return err
	}

	return r.restore(driver, n, nil)
}

// Delete removes a network in deletion from the host.
func (r *Reconciler) Delete(n network.Network) error {
	driver, ok := r.drivers[n.Driver]
	if !ok {
		return nil
	}
	r.bridges.Lock()
	defer r.bridges.Unlock()
	return driver.Delete(n)
}

// RemoveAddresses removes former addresses of a network from its bridge.
func (r *Reconciler) RemoveAddresses(n network.Network, addresses []netip.Prefix) error {
	if n.Bridge().Device == "" {
		return nil
	}
	return fault.Wrap(r.host.RemoveAddresses(n.Bridge().Device, addresses), fault.Internal, n.Subject(),
		"cannot remove former addresses from its bridge")
}

// restore attaches the endpoints of a network, and repeats this if their addresses changed
// meanwhile.
func (r *Reconciler) restore(driver Driver, n store.Network, sweep func() ([]kernel.Link, error)) error {
	for {
		then := r.store.SandboxesOn(n.ID)
		changes, err := driver.Restore(n.Network, then, sweep)
		r.logChanges(n.Network, changes)
		if err == nil {
			err = r.revertRestore(n.Network, then)
		}
		if err != nil || !r.readdressed(n.ID, then) {
			return err
		}
	}
}

// A sandbox may be renumbered or removed during a restore. It stores that, or is marked as leaving,
// before it changes the host. A check after the restore therefore either sees the change or precedes it.

// readdressed reports whether a sandbox has other addresses on a network by now. The restore may
// have overwritten them.
func (r *Reconciler) readdressed(networkID string, then []network.Sandbox) bool {
	return slices.ContainsFunc(then, func(sb network.Sandbox) bool {
		now, _ := r.store.Sandbox(sb.Owner)
		before, after := on(networkID, sb), on(networkID, now)
		return len(after.AllAddresses()) > 0 && (before.MAC.String() != after.MAC.String() ||
			!slices.Equal(before.AllAddresses(), after.AllAddresses()))
	})
}

// revertRestore deletes the neighbour entries that were restored for sandboxes removed meanwhile.
func (r *Reconciler) revertRestore(n network.Network, then []network.Sandbox) error {
	if n.Bridge().Device == "" {
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

	bridge, ok, err := r.host.Link(n.Bridge().Device)
	errs := []error{err}
	for _, a := range gone {
		if ok {
			errs = append(errs, r.host.DeleteNeighbour(bridge.Index, a))
		}
	}

	return fault.Wrap(errors.Join(errs...), fault.Internal, n.Subject(), "cannot restore its bridge")
}

// on returns the endpoint of a sandbox on a network. It is empty if there is none.
func on(networkID string, sb network.Sandbox) network.Endpoint {
	i := slices.IndexFunc(sb.Endpoints, func(e network.Endpoint) bool { return e.NetworkID == networkID })
	if i < 0 {
		return network.Endpoint{}
	}
	return sb.Endpoints[i]
}

func (r *Reconciler) logChanges(n network.Network, changes []string) {
	if len(changes) > 0 {
		attrs := []any{"network", n.Name, "bridge", n.Bridge().Device, "changes", changes}
		if program, _ := r.program.Load().(string); program != "" {
			attrs = append(attrs, "program", program)
		}
		r.log.Info("network reconciled", attrs...)
	}
}
