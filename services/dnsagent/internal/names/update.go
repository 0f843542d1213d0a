package names

import (
	"bytes"
	"context"
	"maps"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvers"
	"github.com/fairlead/fairlead/services/dnsagent/internal/store"
)

// Update holds the changeable fields of a registration.
type Update struct {
	Addresses []netip.Addr
	Networks  []registration.Network
	Aliases   []registration.Alias

	HostGateways []netip.Addr // empty means unchanged
	Egress       []string     // empty means unchanged
}

// Update changes the networks of a container. Edits by the container stay until the file changes.
func (n *Names) Update(ctx context.Context, owner string, u Update) error {
	known, ok := n.store.Registration(owner)
	if !ok {
		return unknown(owner)
	}

	next, err := updated(known, u)
	if err != nil {
		return err
	}

	var on *resolvers.Sockets
	if next.Source == registration.Resolver && !n.resolvers.Serves(owner) {
		if on, err = n.resolvers.Open(ctx, owner); err != nil {
			return err
		}
	}
	if err := n.update(ctx, owner, u); err != nil {
		on.Close()
		return err
	}

	n.resolvers.Serve(owner, on)
	return nil
}

func unknown(owner string) error {
	return fault.NotFoundf(registration.Subject(owner), "names are not registered")
}

// updated returns the changed registration. With its first user network a container gets a
// resolver, which it keeps.
func updated(known *store.Registration, u Update) (*store.Registration, error) {
	next := *known
	next.Addresses, next.Networks, next.Aliases = u.Addresses, u.Networks, u.Aliases
	if len(u.HostGateways) > 0 {
		next.HostGateways = u.HostGateways
	}
	if len(u.Egress) > 0 {
		next.Egress = u.Egress
	}
	if next.Source == registration.Generated && len(u.Networks)+len(next.Egress) > 0 {
		next.Source = registration.Resolver
	}
	return &next, next.Validate()
}

// update stores the change and then publishes the files, which can neither delay nor fail it.
func (n *Names) update(ctx context.Context, owner string, u Update) error {
	unlock, err := n.owners.LockContext(ctx, owner)
	if err != nil {
		return err // the caller is gone
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

	changed := n.changes(known, next, host)
	for owner := range changed {
		n.publisher.intend(owner)
	}
	if err := n.commit(next); err != nil {
		for owner := range changed {
			n.publisher.withdraw(owner)
		}
		return err
	}

	n.publisher.publish(changed)
	return nil
}

// changes returns the contents of changed files by owner: those of the container and of containers
// that share its network. Unchanged files keep edits by the container.
func (n *Names) changes(from, to *store.Registration, host registration.HostFiles) map[string]registration.Contents {
	before, after := from.Registration, to.Registration
	before.Hostname, after.Hostname = from.StartName, to.StartName // independent of the host name
	configured := n.settings()
	resolv := from.Source != to.Source || !slices.Equal(from.NetworkSearch(), to.NetworkSearch())
	all := map[string]registration.Contents{to.Owner: changed(before.Contents(host, configured),
		after.Contents(host, configured), resolv)}
	for _, r := range n.sharing(to.Owner) {
		all[r.Owner] = changed(r.SharedContents(&before, host, configured), r.SharedContents(&after, host,
			configured), resolv)
	}
	maps.DeleteFunc(all, func(_ string, c registration.Contents) bool { return empty(c) })
	return all
}

func changed(before, after registration.Contents, resolv bool) (c registration.Contents) {
	if !bytes.Equal(before.Hosts, after.Hosts) {
		c.Hosts = after.Hosts
	}
	if resolv {
		c.ResolvConf = after.ResolvConf
	}
	return c
}
