// Package bringup makes the host as the stored networks say: first the rules of natagent, then the
// bridge or parent interface, then forwarding; in reverse when a network is deleted.
//
// A request and the controller call the same Sync. The controller applies only differences: at start,
// after kernel changes, and on a periodic resync. It changes no endpoint after the start: it compares
// them with the host, and package attach applies those that differ. Packages networks and sandbox
// call it.
package bringup

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/cause"
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

// Endpoints applies endpoints to namespaces and to the host.
type Endpoints interface {
	// Touch requests that the sandboxes of owners are applied soon, because of a program.
	Touch(program string, owners ...string)
	// Apply applies the sandbox of an owner and returns what it changed.
	Apply(owner string) (changes []string, err error)
}

// Config holds the dependencies of a Controller.
type Config struct {
	Store     *store.Store
	Kernel    *kernel.Host
	Drivers   driver.Set
	Endpoints Endpoints
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
	sandboxes Endpoints
	natClient NatClient
	hostnet   *hostnet.Host
	locks     *lock.Set
	log       *slog.Logger

	controllers
	programs cause.Programs[string] // by network
	failures sync.Map               // the last errors of controllers
}

// New returns a controller.
func New(cfg Config) *Controller {
	r := &Controller{store: cfg.Store, host: cfg.Kernel, drivers: cfg.Drivers, sandboxes: cfg.Endpoints,
		natClient: cfg.NatClient, hostnet: cfg.Hostnet, locks: cfg.Locks, log: cfg.Log}
	r.controllers = r.newControllers()
	return r
}

// Start reconciles everything. With sweep it removes stale links, which running containers without a
// record may use. No sandbox may be created concurrently.
func (r *Controller) Start(sweep bool) error {
	var errs []error
	links := sync.OnceValues(r.host.Links)
	for _, networkID := range r.activeIDs() {
		n, _ := r.active(networkID)
		_, err := r.ensure(n, "")
		if sweep {
			changes, serr := r.drivers[n.Driver].Sweep(n.Network, r.store.SandboxesOn(n.ID), links)
			r.logChanges(n.Network, changes, "")
			err = errors.Join(err, serr)
		} else {
			r.touch(n, "")
		}
		errs = append(errs, err)
	}

	return errors.Join(append(errs, r.hostnet.Start(), r.hostnet.EnableForwarding())...)
}

// Reconcile reconciles all networks with their endpoints, and returns after all are applied.
func (r *Controller) Reconcile(ctx context.Context) error {
	var errs []error
	for _, networkID := range r.activeIDs() {
		n, ok := r.active(networkID)
		if ctx.Err() != nil || !ok {
			continue
		}
		errs = append(errs, r.network(n, ""))
		differences, err := r.drivers[n.Driver].Compare(n.Network, r.store.SandboxesOn(n.ID))
		errs = append(errs, err)
		for _, owner := range slices.Sorted(maps.Keys(differences)) {
			changes, err := r.sandboxes.Apply(owner)
			r.logChanges(n.Network, changes, "")
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, r.hostnet.EnableForwarding())...)
}

// network reconciles the bridge or parent interface of one network. The endpoints on a new one are
// applied soon.
func (r *Controller) network(n store.Network, program string) error {
	created, err := r.ensure(n, program)
	if err == nil && created {
		r.touch(n, program)
	}
	return err
}

// touch requests that all endpoints of a network are applied.
func (r *Controller) touch(n store.Network, program string) {
	var owners []string
	for _, sb := range r.store.SandboxesOn(n.ID) {
		owners = append(owners, sb.Owner)
	}
	r.sandboxes.Touch(program, owners...)
}

// ensure reconciles the bridge or parent interface of one network. created reports that the endpoints
// must be applied.
func (r *Controller) ensure(n store.Network, program string) (created bool, err error) {
	defer r.locks.Device()()

	n, ok := r.store.Network(n.ID) // may have changed
	if !ok || n.Status.Deleting {
		return false, nil // deletion takes the same lock
	}

	changes, created, err := r.drivers[n.Driver].EnsureNetwork(n.Network, natclient.IsApplied(n))
	r.logChanges(n.Network, changes, program)
	if err == nil && created && n.Bridge().Device != "" {
		err = r.hostnet.DisableBridgeNetfilter(n.Network)
	}
	return created, err
}

// deleteFromHost removes a network in deletion from the host.
func (r *Controller) deleteFromHost(n network.Network) error {
	d, ok := r.drivers[n.Driver]
	if !ok {
		return nil
	}
	defer r.locks.Device()()
	return d.DeleteNetwork(n)
}

// RemoveAddresses removes former addresses of a network from its bridge.
func (r *Controller) RemoveAddresses(n network.Network, addresses []netip.Prefix) error {
	if n.Bridge().Device == "" {
		return nil
	}
	return fault.Wrap(r.host.RemoveAddresses(n.Bridge().Device, addresses), fault.Internal, n.Subject(),
		"cannot remove former addresses from its bridge")
}

func (r *Controller) logChanges(n network.Network, changes []string, program string) {
	if len(changes) > 0 {
		attrs := []any{"network", n.Name, "bridge", n.Bridge().Device, "changes", changes}
		if program != "" {
			attrs = append(attrs, "program", program)
		}
		r.log.Info("network reconciled", attrs...)
	}
}
