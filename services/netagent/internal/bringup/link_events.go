package bringup

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// watchRetry is the delay before a failed netlink watch is restarted.
const watchRetry = time.Second

// watchLinks wakes the controllers after changes of links that networks use, and of addresses, until
// ctx ends.
func (r *Controller) watchLinks(ctx context.Context) {
	for ctx.Err() == nil {
		err := r.host.Watch(ctx, func(c kernel.Change) {
			switch {
			case c.Overflow:
				r.wakeAll()
			case c.Index != 0:
				r.addresses.Add(c.Index)
			default:
				r.wake("", r.store.NetworksAt(c.Link)...)
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
	on := r.store.NetworksAt(name)
	if len(on) == 0 && !endpoint.IsHostInterface(name) {
		on = r.renamed(name)
	}
	r.wake(program, on...)
}

// IndexTouched reports that a host link has lost an address or a route.
func (r *Controller) IndexTouched(index int, program string) {
	link, ok, err := r.host.LinkAt(index)
	if err != nil || !ok {
		return // a rename is reported separately
	}
	r.wake(program, r.store.NetworksAt(link.Name)...)
}

// renamed returns the network of a bridge that has another name than the network's.
func (r *Controller) renamed(name string) (out []store.Network) {
	link, ok, err := r.host.Link(name)
	if err != nil || !ok || link.Kind != "bridge" {
		return nil
	}
	r.store.AnyNetwork(func(n *store.Network) bool {
		if n.Bridge().Device != "" && n.BridgeAlias() == link.Alias {
			out = append(out, *n)
		}
		return false
	})
	return out
}
