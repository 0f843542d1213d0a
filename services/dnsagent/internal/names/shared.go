package names

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
	"github.com/fairlead/fairlead/services/dnsagent/internal/store"
)

// lockBoth locks an owner and the one whose network it shares, in a fixed order.
func (n *Names) lockBoth(ctx context.Context, owner, with string) (unlock func(), err error) {
	first, second := owner, with
	if with != "" && with < owner {
		first, second = with, owner
	}

	unlockFirst, err := n.owners.LockContext(ctx, first)
	if err != nil || second == "" {
		return unlockFirst, err
	}

	unlockSecond, err := n.owners.LockContext(ctx, second)
	if err != nil {
		unlockFirst()
		return nil, err
	}

	return func() { unlockSecond(); unlockFirst() }, nil
}

// with returns the registration of the container whose network is shared, with its hostname at
// start. It is nil if there is none.
func (n *Names) with(r *registration.Registration) *registration.Registration {
	known, ok := n.store.Registration(r.SharesWith)
	if !ok {
		return nil
	}
	with := known.Registration
	with.Hostname = known.StartName
	return &with
}

// sourceOf returns the effective source of the files of a registration.
func (n *Names) sourceOf(r *registration.Registration) registration.FileSource {
	if with := n.with(r); with != nil {
		return with.Source
	}
	return r.Source
}

func (n *Names) contents(r *registration.Registration, host registration.HostFiles) registration.Contents {
	if r.Source == registration.Shared {
		return r.SharedContents(n.with(r), host, n.settings())
	}
	return r.Contents(host, n.settings())
}

// shares records whose network a container shares. mu must be held.
func (n *Names) shares(r *store.Registration) {
	if r.SharesWith == "" {
		return
	}
	if n.sharers[r.SharesWith] == nil {
		n.sharers[r.SharesWith] = map[string]bool{}
	}
	n.sharers[r.SharesWith][r.Owner] = true
}

// sharing returns the registrations of containers that share an owner's network.
func (n *Names) sharing(owner string) []*store.Registration {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []*store.Registration
	for sharer := range n.sharers[owner] {
		if r, ok := n.store.Registration(sharer); ok {
			all = append(all, r)
		}
	}
	return all
}

// unshareAll stops the sharing with a released owner. The sharing containers lose their addresses,
// and do not follow a later registration.
func (n *Names) unshareAll(owner string) {
	known, ok := n.store.Registration(owner)
	sharing := n.sharing(owner)
	if !ok || len(sharing) == 0 {
		return
	}

	host, err := n.host(known.Source)
	if err != nil {
		n.log.Warn("cannot update name files of containers without a network", "owner", owner, "error", err)
		return
	}

	changes := map[string]registration.Contents{}
	for _, r := range sharing {
		n.publisher.intend(r.Owner)
		changes[r.Owner] = registration.Contents{Hosts: r.SharedContents(nil, host, n.settings()).Hosts}
	}
	if err := n.unshare(owner, sharing); err != nil {
		n.log.Warn("cannot store the loss of a shared network", "owner", owner, "error", err)
	}

	n.publisher.publish(changes)
}

// unshare stores that containers no longer share an owner's network.
func (n *Names) unshare(owner string, sharing []*store.Registration) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.sharers, owner)
	var errs []error
	for _, r := range sharing {
		if _, ok := n.store.Registration(r.Owner); ok {
			alone := *r
			alone.SharesWith = ""
			errs = append(errs, n.store.Put(&alone))
		}
	}
	return errors.Join(errs...)
}
