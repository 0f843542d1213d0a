package dnsagent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/services/dnsagent/api"
	"github.com/fairlead/fairlead/services/dnsagent/hostsfile"
	"github.com/fairlead/fairlead/services/dnsagent/registration"
	"github.com/fairlead/fairlead/services/dnsagent/store"
)

// Update changes the networks that a container is on. What the container has written into its files itself stays.
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

func (n *names) update(ctx context.Context, owner string, u api.Update) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err // the caller has gone while others were served
	}
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
	if err := n.exchange(known, next, host); err != nil {
		return err
	}
	if err := n.store.Put(next); err != nil {
		before := *known
		return errors.Join(err, n.exchange(next, &before, host))
	}
	n.know(next)
	return nil
}

// exchange changes the files from what they are for one registration to what they are for another.
func (n *names) exchange(from, to *store.Registration, host registration.HostFiles) error {
	paths := n.files.Paths(to.Owner)
	err := n.files.Edit(to.Owner, paths.Hosts, func(data []byte) []byte {
		return hostsfile.Edit(data, from.Records(from.StartName), to.Records(to.StartName))
	})
	if err != nil || from.Source == to.Source && slices.Equal(from.NetworkSearch(), to.NetworkSearch()) {
		return err
	}
	after := to.Contents(host, n.configured).ResolvConf
	return n.files.Edit(to.Owner, paths.ResolvConf, func(data []byte) []byte {
		if digest(data) != from.ResolvConf {
			return data // the container has its own mind
		}
		to.ResolvConf = digest(after)
		return after
	})
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
