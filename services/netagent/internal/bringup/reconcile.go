// Package bringup makes the host as the stored networks say: first the rules of natagent, then the
// bridge or parent interface with the endpoints on it, then forwarding; in reverse when a network is
// deleted.
//
// A request and the controller call the same Sync. The controller applies only differences: at start,
// after kernel changes, and on a periodic resync. It does not configure the inside of sandboxes.
// Packages networks and sandbox call it.
package bringup

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/fairlead/fairlead/agent/notify"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/driver"
	"github.com/fairlead/fairlead/services/netagent/internal/hostnet"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/lock"
	"github.com/fairlead/fairlead/services/netagent/internal/natclient"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// NatClient requests firewall rules from natagent.
type NatClient interface {
	Apply(context.Context, network.Network) error
	Reapply(context.Context, network.Network) error
	Delete(context.Context, network.Network) error
	// Retry calls apply until it succeeds or ctx is canceled.
	Retry(ctx context.Context, n network.Network, apply func() error) error
}

// Config holds the dependencies of a Controller.
type Config struct {
	Store     *store.Store
	Kernel    *kernel.Host
	Drivers   driver.Set
	NatClient NatClient
	Hostnet   *hostnet.Host
	Locks     *lock.Set
	Log       *slog.Logger
}

// Controller compares the host with the store and applies the differences.
type Controller struct {
	store     *store.Store
	host      *kernel.Host
	drivers   driver.Set
	natClient NatClient
	hostnet   *hostnet.Host
	locks     *lock.Set
	log       *slog.Logger

	changes *changeBuffer
	program atomic.Value // the program whose changes are being repaired, a string
}

// New returns a controller.
func New(cfg Config) *Controller {
	return &Controller{store: cfg.Store, host: cfg.Kernel, drivers: cfg.Drivers, natClient: cfg.NatClient,
		hostnet: cfg.Hostnet, locks: cfg.Locks, log: cfg.Log, changes: &changeBuffer{wake: notify.NewSignal()}}
}

// Start reconciles everything. With sweep it removes stale links, which running containers without a
// record may use. No sandbox may be created concurrently.
func (r *Controller) Start(sweep bool) error {
	var errs []error
	links := sync.OnceValues(r.host.Links)
	if !sweep {
		links = nil
	}

	for _, n := range r.store.Networks() {
		if d, ok := r.drivers[n.Driver]; ok && natclient.IsActive(n) {
			errs = append(errs, r.network(d, n, true), r.restore(d, n, links))
		}
	}

	return errors.Join(append(errs, r.hostnet.Start(), r.hostnet.EnableForwarding())...)
}

// reconcileAll reconciles all networks, with ports and neighbour entries, until ctx ends.
func (r *Controller) reconcileAll(ctx context.Context) error {
	var errs []error
	for _, n := range r.store.Networks() {
		if ctx.Err() != nil {
			return nil
		}
		if d, ok := r.drivers[n.Driver]; ok && natclient.IsActive(n) {
			errs = append(errs, r.network(d, n, false), r.restore(d, n, nil))
		}
	}
	return errors.Join(append(errs, r.hostnet.EnableForwarding())...)
}

// network reconciles the bridge of one network. It restores the ports of a new bridge, unless first
// is true.
func (r *Controller) network(d driver.Driver, n store.Network, first bool) error {
	defer r.locks.Device()()

	n, ok := r.store.Network(n.ID) // may have changed
	if !ok || n.Status.Deleting {
		return nil // deletion takes the same lock
	}

	changes, created, err := d.Ensure(n.Network, natclient.IsApplied(n))
	r.logChanges(n.Network, changes)
	if err != nil || !created {
		return err
	}

	if n.Bridge().Device != "" {
		err = r.hostnet.DisableBridgeNetfilter(n.Network)
	}
	if err != nil || first {
		return err
	}

	return r.restore(d, n, nil)
}

// deleteFromHost removes a network in deletion from the host.
func (r *Controller) deleteFromHost(n network.Network) error {
	d, ok := r.drivers[n.Driver]
	if !ok {
		return nil
	}
	defer r.locks.Device()()
	return d.Delete(n)
}

// RemoveAddresses removes former addresses of a network from its bridge.
func (r *Controller) RemoveAddresses(n network.Network, addresses []netip.Prefix) error {
	if n.Bridge().Device == "" {
		return nil
	}
	return fault.Wrap(r.host.RemoveAddresses(n.Bridge().Device, addresses), fault.Internal, n.Subject(),
		"cannot remove former addresses from its bridge")
}

// restore attaches the endpoints of a network, and repeats this if their addresses changed
// meanwhile.
func (r *Controller) restore(d driver.Driver, n store.Network, sweep func() ([]kernel.Link, error)) error {
	for {
		then := r.store.SandboxesOn(n.ID)
		changes, err := d.Restore(n.Network, then, sweep)
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
func (r *Controller) readdressed(networkID string, then []network.Sandbox) bool {
	return slices.ContainsFunc(then, func(sb network.Sandbox) bool {
		now, _ := r.store.Sandbox(sb.Owner)
		before, after := on(sb, networkID), on(now, networkID)
		return len(after.AllAddresses()) > 0 && (before.MAC.String() != after.MAC.String() ||
			!slices.Equal(before.AllAddresses(), after.AllAddresses()))
	})
}

// revertRestore deletes the neighbour entries that were restored for sandboxes removed meanwhile.
func (r *Controller) revertRestore(n network.Network, then []network.Sandbox) error {
	if n.Bridge().Device == "" {
		return nil
	}

	stay := map[netip.Addr]bool{}
	for _, sb := range r.store.SandboxesOn(n.ID) {
		for _, p := range on(sb, n.ID).AllAddresses() {
			stay[p.Addr()] = !r.locks.IsRemoving(sb.Owner)
		}
	}

	var gone []netip.Addr
	for _, sb := range then {
		for _, p := range on(sb, n.ID).AllAddresses() {
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
func on(sb network.Sandbox, networkID string) network.Endpoint {
	e, _ := sb.EndpointOn(networkID)
	return e
}

func (r *Controller) logChanges(n network.Network, changes []string) {
	if len(changes) > 0 {
		attrs := []any{"network", n.Name, "bridge", n.Bridge().Device, "changes", changes}
		if program, _ := r.program.Load().(string); program != "" {
			attrs = append(attrs, "program", program)
		}
		r.log.Info("network reconciled", attrs...)
	}
}
