package bringup

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/notify"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/natclient"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// changeBuffer collects kernel changes until they are reconciled.
type changeBuffer struct {
	mu      sync.Mutex
	pending pendingChanges
	wake    notify.Signal // notified after each change
}

// pendingChanges holds what may have changed.
type pendingChanges struct {
	links   map[string]bool // links that networks use
	indexes map[int]bool    // links with changed addresses
	unknown bool            // any link may have changed
	program string          // cause of the changes; empty if unknown
}

func (h *changeBuffer) add(add func(*pendingChanges)) {
	h.mu.Lock()
	if h.pending.links == nil {
		h.pending = pendingChanges{links: map[string]bool{}, indexes: map[int]bool{}}
	}
	add(&h.pending)
	h.mu.Unlock()
	h.wake.Notify()
}

func (h *changeBuffer) drain() pendingChanges {
	h.mu.Lock()
	defer h.mu.Unlock()
	pending := h.pending
	h.pending = pendingChanges{}
	return pending
}

// watchLinks adds the relevant kernel changes to a buffer: of links that networks use, and of
// addresses.
func (r *Controller) watchLinks(ctx context.Context, to *changeBuffer) {
	for ctx.Err() == nil {
		err := r.host.Watch(ctx, func(c kernel.Change) {
			switch {
			case c.Overflow:
				to.add(func(h *pendingChanges) { h.unknown = true })
			case c.Index != 0:
				to.add(func(h *pendingChanges) { h.indexes[c.Index] = true })
			case len(r.store.NetworksAt(c.Link)) > 0:
				to.add(func(h *pendingChanges) { h.links[c.Link] = true })
			}
		})
		if err != nil {
			r.log.Warn("netlink watch failed, polling", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(watchRetry):
			}
		}
	}
}

// LinkTouched reports a possible change of a host link: one of a network, or a renamed one.
func (r *Controller) LinkTouched(name, program string) {
	names := []string{name}
	if len(r.store.NetworksAt(name)) == 0 {
		if network.IsHostInterface(name) {
			return
		}
		names = r.renamed(name)
	}
	for _, name := range names {
		r.changes.add(func(h *pendingChanges) { h.links[name], h.program = true, program })
	}
}

// IndexTouched reports that a host link has lost an address or a route.
func (r *Controller) IndexTouched(index int, program string) {
	link, ok, err := r.host.LinkAt(index)
	if err != nil || !ok || len(r.store.NetworksAt(link.Name)) == 0 {
		return // not used by a network; a rename is reported separately
	}
	r.changes.add(func(h *pendingChanges) { h.links[link.Name], h.program = true, program })
}

// renamed returns the expected names of a bridge if it belongs to a network.
func (r *Controller) renamed(name string) (out []string) {
	link, ok, err := r.host.Link(name)
	if err != nil || !ok || link.Kind != "bridge" {
		return nil
	}
	r.store.AnyNetwork(func(n *store.Network) bool {
		if n.Bridge().Device != "" && n.BridgeAlias() == link.Alias {
			out = append(out, n.Bridge().Device)
		}
		return false
	})
	return out
}

// reconcileChanges reconciles only what may have changed, since a host may have thousands of
// networks. Endpoints are applied only on a new bridge or parent interface.
func (r *Controller) reconcileChanges(ctx context.Context, h pendingChanges) error {
	r.program.Store(h.program)
	defer r.program.Store("")

	if h.unknown {
		return r.resync(ctx)
	}

	links := maps.Clone(h.links)
	others := false // addresses of links without a network have changed
	for index := range h.indexes {
		link, ok, err := r.host.LinkAt(index)
		if err != nil {
			return err
		}
		if ok && len(r.store.NetworksAt(link.Name)) > 0 {
			links[link.Name] = true
		} else if ok {
			others = true
		}
	}

	var errs []error
	parents := others
	for name := range links {
		for _, n := range r.store.NetworksAt(name) {
			if n.HasParent() {
				parents = true
				continue
			}
			if d, ok := r.drivers[n.Driver]; ok && natclient.IsActive(n) {
				errs = append(errs, r.network(d, n), r.hostnet.EnableForwardingOf(n))
			}
		}
	}

	if parents {
		errs = append(errs, r.reconcileParented())
	}

	if others || parents {
		errs = append(errs, r.hostnet.EnableForwarding())
	}

	return errors.Join(errs...)
}

// reconcileParented reconciles all networks with a parent interface. A change of any host link may
// concern them.
func (r *Controller) reconcileParented() error {
	var errs []error
	for _, n := range r.store.Networks() {
		if d, ok := r.drivers[n.Driver]; ok && n.HasParent() && natclient.IsActive(n) {
			errs = append(errs, r.network(d, n))
		}
	}
	return errors.Join(errs...)
}
