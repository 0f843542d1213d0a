package dnsagent

import (
	"bytes"
	"context"
	"slices"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/services/dnsagent/api"
	"github.com/fairlead/fairlead/services/dnsagent/registration"
	"github.com/fairlead/fairlead/services/dnsagent/resolvconf"
	"github.com/fairlead/fairlead/services/dnsagent/store"
)

// Update changes the networks that a container is on. What the container wrote into a file stays until that file changes.
func (n *names) Update(ctx context.Context, owner string, u api.Update) error {
	known, ok := n.store.Registration(owner)
	if !ok {
		return unknown(owner)
	}
	next, err := updated(known, u)
	if err != nil {
		return err
	}
	var on *sockets
	if next.Source == registration.Resolver && !n.resolvers.serves(owner) {
		if on, err = n.resolvers.open(ctx, owner); err != nil {
			return err
		}
	}
	if err := n.update(ctx, owner, u); err != nil {
		on.close()
		return err
	}
	n.resolvers.serve(owner, on)
	return nil
}

func unknown(owner string) error {
	return fault.NotFoundf(registration.Subject(owner), "its names are not registered")
}

// updated is a registration as it is to be. With its first user network a container gets the resolver, which it keeps.
func updated(known *store.Registration, u api.Update) (*store.Registration, error) {
	next := *known
	next.Addresses, next.Networks, next.Aliases = u.Addresses, u.Networks, u.Aliases
	if len(u.HostGateways) > 0 {
		next.HostGateways = u.HostGateways
	}
	if next.Source == registration.Generated && len(u.Networks) > 0 {
		next.Source = registration.Resolver
	}
	return &next, next.Validate()
}

// update stores the change, and then has the files follow: they can neither fail nor delay it.
func (n *names) update(ctx context.Context, owner string, u api.Update) error {
	unlock, err := n.owners.lock(ctx, owner)
	if err != nil {
		return err // the caller has gone while others were served
	}
	defer unlock()
	known, ok := n.store.Registration(owner)
	if !ok {
		return unknown(owner) // released in the meantime
	}
	next, err := updated(known, u)
	if err != nil {
		return err
	}
	host, err := n.host(next.Source)
	if err != nil {
		return err
	}
	changed := changes(known, next, host, n.settings())
	intent := n.publisher.intend(owner)
	if err := n.commit(next); err != nil {
		n.publisher.withdraw(owner, intent)
		return err
	}
	n.publisher.publish(owner, intent, changed)
	return nil
}

// changes are the contents of the files that differ for two registrations of a container. What the container wrote into others
// stays.
func changes(from, to *store.Registration, host registration.HostFiles, configured resolvconf.Conf) (c registration.Contents) {
	before, after := from.Registration, to.Registration
	before.Hostname, after.Hostname = from.StartName, to.StartName // which a change of the host's name does not change
	was, is := before.Contents(host, configured), after.Contents(host, configured)
	if !bytes.Equal(was.Hosts, is.Hosts) {
		c.Hosts = is.Hosts
	}
	if from.Source != to.Source || !slices.Equal(from.NetworkSearch(), to.NetworkSearch()) {
		c.ResolvConf = is.ResolvConf
	}
	return c
}
