package bringup

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/control"
	"github.com/fairlead/fairlead/services/netagent/internal/natclient"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

const (
	resyncInterval = 30 * time.Second
	// debounce joins bursts of link events.
	debounce = 50 * time.Millisecond
)

// controllers holds the controllers of the host. Each has one worker.
//
//	controller  key         woken by                        does
//	links       network     its link; all links if it has   reconciles the bridge or parent interface, and
//	                        a parent; 30 s                  forwarding; touches the endpoints on a new one
//	endpoints   network     30 s                            compares the endpoints, touches those that differ
//	rules       network     30 s                            sends the network to natagent again
//	addresses   link index  addresses of the host's links   wakes links and forwarding
//	forwarding  true        addresses of other links; 30 s  enables forwarding of the host
//
// A host may have thousands of networks, so an event wakes only those that it can concern.
type controllers struct {
	links, endpoints, rules *control.Controller[string]
	addresses               *control.Controller[int]
	forwarding              *control.Controller[bool]
}

// newControllers returns the controllers. A failed call is repeated by the next resync.
func (r *Controller) newControllers() controllers {
	config := func(name string) control.Config[string] {
		return control.Config[string]{Delay: debounce, MinBackoff: resyncInterval,
			OnError: func(key string, err error, _ time.Duration) { r.logOnce(name+key, err) }}
	}
	return controllers{
		links:     control.New(r.syncLink, config("links")),
		endpoints: control.New(r.syncEndpoints, config("endpoints")),
		rules:     control.New(r.syncRules, config("rules")),
		addresses: control.New(r.syncAddresses, control.Config[int]{Delay: debounce}),
		forwarding: control.New(r.syncForwarding, control.Config[bool]{Delay: debounce, MinBackoff: resyncInterval,
			OnError: func(_ bool, err error, _ time.Duration) { r.logOnce("forwarding", err) }}),
	}
}

// Run reconciles external changes until ctx ends.
func (r *Controller) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for _, d := range r.drivers {
		all.Go(func() { d.RunLinkGC(ctx, func(err error) { r.log.Error("cannot delete link", "error", err) }) })
	}

	c := r.controllers
	for _, run := range []func(context.Context){r.watchLinks, c.links.Run, c.endpoints.Run, c.rules.Run,
		c.addresses.Run, c.forwarding.Run, r.resync} {
		all.Go(func() { run(ctx) })
	}
}

// resync wakes the controllers for all networks at each interval. Start has reconciled them already.
func (r *Controller) resync(ctx context.Context) {
	tick := time.NewTicker(resyncInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.rules.AddAfter(0, r.activeIDs()...)
			r.wakeAll()
		}
	}
}

// wakeAll wakes the controllers of the host for all networks.
func (r *Controller) wakeAll() {
	ids := r.activeIDs()
	r.links.AddAfter(0, ids...)
	r.endpoints.Add(ids...) // after links
	r.forwarding.AddAfter(0, true)
}

// activeIDs returns the networks that belong on the host.
func (r *Controller) activeIDs() (ids []string) {
	for _, n := range r.store.Networks() {
		if _, ok := r.drivers[n.Driver]; ok && natclient.IsActive(n) {
			ids = append(ids, n.ID)
		}
	}
	return ids
}

// wake wakes the controllers of networks whose link a program has changed. A change of one parent
// interface may concern all networks that have one.
func (r *Controller) wake(program string, networks ...store.Network) {
	hasParent := false
	for _, n := range networks {
		r.programs.Note(program, n.ID)
		r.links.Add(n.ID)
		hasParent = hasParent || n.HasParent()
	}
	if hasParent {
		r.wakeParented()
	}
}

// wakeParented wakes the controllers of all networks with a parent interface, and forwarding.
func (r *Controller) wakeParented() {
	for _, n := range r.store.Networks() {
		if n.HasParent() {
			r.links.Add(n.ID)
		}
	}
	r.forwarding.Add(true)
}

// active returns a network that belongs on the host.
func (r *Controller) active(networkID string) (n store.Network, ok bool) {
	n, ok = r.store.Network(networkID)
	_, known := r.drivers[n.Driver]
	return n, ok && known && natclient.IsActive(n)
}

// syncLink reconciles the bridge or parent interface of a network.
func (r *Controller) syncLink(_ context.Context, networkID string) (again time.Duration, err error) {
	program := r.programs.Take(networkID)
	n, ok := r.active(networkID)
	if !ok {
		return 0, nil
	}
	if err = r.network(n, program); err == nil {
		err = r.hostnet.EnableForwardingOf(n)
	}
	return 0, r.cleared("links"+networkID, err)
}

// syncEndpoints touches the owners of the endpoints of a network that differ on the host.
func (r *Controller) syncEndpoints(_ context.Context, networkID string) (again time.Duration, err error) {
	n, ok := r.active(networkID)
	if !ok {
		return 0, nil
	}
	differences, err := r.drivers[n.Driver].Compare(n.Network, r.store.SandboxesOn(n.ID))
	r.sandboxes.Touch("", slices.Sorted(maps.Keys(differences))...)
	return 0, r.cleared("endpoints"+networkID, err)
}

// syncRules sends a network to natagent again, in case natagent has lost it.
func (r *Controller) syncRules(ctx context.Context, networkID string) (again time.Duration, err error) {
	n, ok := r.active(networkID)
	if !ok || !natclient.NeedsFirewall(n.Network) {
		return 0, nil
	}
	if err := r.sendIfStored(ctx, networkID, r.resend); err != nil {
		r.log.Debug("natagent does not respond", "network", n.Name, "error", err)
	}
	return 0, nil
}

// syncAddresses wakes the controllers that a change of the addresses of a link concerns.
func (r *Controller) syncAddresses(_ context.Context, index int) (again time.Duration, err error) {
	link, ok, err := r.host.LinkAt(index)
	if err != nil || !ok {
		return 0, err
	}
	if on := r.store.NetworksAt(link.Name); len(on) > 0 {
		r.wake("", on...)
	} else {
		r.wakeParented()
	}
	return 0, nil
}

// syncForwarding enables forwarding of the host.
func (r *Controller) syncForwarding(context.Context, bool) (again time.Duration, err error) {
	return 0, r.cleared("forwarding", r.hostnet.EnableForwarding())
}

// logOnce logs the error of a call unless it equals the last one.
func (r *Controller) logOnce(call string, err error) {
	if last, _ := r.failures.Swap(call, err.Error()); last != err.Error() {
		r.log.Error("network reconcile failed", "error", err)
	}
}

// cleared returns err. Without one it forgets the last error of the call.
func (r *Controller) cleared(call string, err error) error {
	if err == nil {
		r.failures.Delete(call)
	}
	return err
}
