package reconcile

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// changeBuffer is what the kernel has told since it was last looked at.
type changeBuffer struct {
	mu   sync.Mutex
	said pendingChanges
	wake chan struct{} // has something when there is anything
}

// pendingChanges is what may have changed.
type pendingChanges struct {
	links   map[string]bool // those that networks are on
	indexes map[int]bool    // links whose addresses have changed
	unknown bool            // anything
	program string          // that caused it; empty if it is not known
}

func (h *changeBuffer) add(add func(*pendingChanges)) {
	h.mu.Lock()
	if h.said.links == nil {
		h.said = pendingChanges{links: map[string]bool{}, indexes: map[int]bool{}}
	}
	add(&h.said)
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *changeBuffer) drain() pendingChanges {
	h.mu.Lock()
	defer h.mu.Unlock()
	said := h.said
	h.said = pendingChanges{}
	return said
}

// watchLinks notes the kernel's changes that may concern us: of links that networks are on, and of addresses.
func (r *Reconciler) watchLinks(ctx context.Context, to *changeBuffer) {
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
			r.log.Warn("cannot hear the kernel; looking on a slow tick only", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(listenAgain):
			}
		}
	}
}

// LinkTouched notes that a link of the host may have changed: a network's own, or one that was renamed.
func (r *Reconciler) LinkTouched(name, program string) {
	names := []string{name}
	if len(r.store.NetworksAt(name)) == 0 {
		if network.IsHostInterface(name) {
			return
		}
		names = r.renamed(name)
	}
	for _, name := range names {
		r.heard.add(func(h *pendingChanges) { h.links[name], h.program = true, program })
	}
}

// IndexTouched notes that a link of the host has lost an address or a route.
func (r *Reconciler) IndexTouched(index int, program string) {
	link, ok, err := r.host.LinkAt(index)
	if err != nil || !ok || len(r.store.NetworksAt(link.Name)) == 0 {
		return // no network's; if it is renamed, that is reported too
	}
	r.heard.add(func(h *pendingChanges) { h.links[link.Name], h.program = true, program })
}

// renamed returns the names that a bridge should have, if it is a network's.
func (r *Reconciler) renamed(name string) (out []string) {
	link, ok, err := r.host.Link(name)
	if err != nil || !ok || link.Kind != "bridge" {
		return nil
	}
	r.store.AnyNetwork(func(n *store.Network) bool {
		if n.Bridge != "" && n.BridgeMAC().String() == link.MAC.String() {
			out = append(out, n.Bridge)
		}
		return false
	})
	return out
}

// reconcileChanges puts right what may have changed, and nothing else: a host may have thousands of networks. Ports and neighbours are looked at
// when their bridge is new.
func (r *Reconciler) reconcileChanges(ctx context.Context, h pendingChanges) error {
	r.program.Store(h.program)
	defer r.program.Store("")
	if h.unknown {
		return r.again(ctx)
	}
	links := maps.Clone(h.links)
	others := false // addresses of links that are no network's
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
			if driver, ok := r.drivers[n.Driver]; ok && isActive(n) {
				errs = append(errs, r.network(driver, n, false), r.forwardNew(n))
			}
		}
	}
	if parents {
		errs = append(errs, r.reconcileParented())
	}
	if others || parents {
		errs = append(errs, r.enableForwarding())
	}
	return errors.Join(errs...)
}

// reconcileParented makes all networks right that are on links of others: what happens to those can mean any of them.
func (r *Reconciler) reconcileParented() error {
	var errs []error
	for _, n := range r.store.Networks() {
		if driver, ok := r.drivers[n.Driver]; ok && n.HasParent() && isActive(n) {
			errs = append(errs, r.network(driver, n, false))
		}
	}
	return errors.Join(errs...)
}
