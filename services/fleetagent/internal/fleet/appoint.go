package fleet

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api"
	"github.com/fairlead/fairlead/services/fleetagent/internal/membership"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/quorum"
)

// Appoint implements api.Gatekeeper: it makes this host a manager and starts its member of the store. A
// database of an earlier member is removed.
func (p *part) Appoint(ctx context.Context, who pki.Identity, keys api.Keys) error {
	if err := p.checkManager(who); err != nil {
		return err
	}
	if keys.External != nil || p.membership().External != nil {
		return outside{p}.appoint(ctx, keys)
	}
	if err := p.fence.Check(keys.Generation); err != nil {
		return err
	}
	p.store.Lock()
	defer p.store.Unlock()
	m := p.membership()
	if m.IsManager() && m.Member != nil && m.Member.ID == keys.Member {
		return roles{p}.updateCluster(keys.Cluster) // keepStore starts it
	}
	if !keys.Authority.Key.PublicKey.Equal(m.CA.PublicKey) ||
		!keys.Store.Key.PublicKey.Equal(keys.Store.Cert.PublicKey) {
		return fault.New(fault.Invalid, "keys of the fleet", "do not match its certificates")
	}
	if err := (roles{p}).process().Remove(ctx); err != nil {
		return err
	}

	if err := p.editIf(func(m *membership.Membership) error { return appoint(m, keys, p.cfg.Now()) }); err != nil {
		return err
	}
	p.cfg.Log.Info("this host is a manager now")
	return startStore(p.cfg, p.membership())
}

// updateCluster stores the members that the store is started with. Before its first start, the member must know
// those that were added meanwhile.
func (r roles) updateCluster(cluster string) error {
	return r.editIf(func(m *membership.Membership) error {
		if m.Member == nil || m.Member.Cluster == cluster {
			return errUnchanged
		}
		member := *m.Member
		m.Member, member.Cluster = &member, cluster
		return nil
	})
}

// appoint makes a membership that of a manager.
func appoint(m *membership.Membership, keys api.Keys, now time.Time) error {
	address, err := netip.ParseAddr(m.Address)
	if err != nil {
		return fault.New(fault.Internal, "fleet membership", "has no address", fault.WithCause(err))
	}
	who := pki.Identity{Fleet: m.Fleet, Role: pki.Manager, Host: m.Host}
	m.Authority = &pki.Authority{Cert: m.CA, Key: keys.Authority.Key}
	var first, second error
	m.Key, m.Cert, first = m.Authority.Issue(who, address, pki.HostLife, now)
	if m.Store = keys.URLs; keys.External != nil {
		m.External = keys.External
		return first
	}
	m.Peers = &membership.PeerKeys{Authority: keys.Store}
	m.Peers.Key, m.Peers.Cert, second = keys.Store.Issue(who, address, pki.PeerLife, now)
	m.Member = &membership.StoreMember{ID: keys.Member, Cluster: keys.Cluster, Fresh: true}
	m.StoreGeneration = keys.Generation
	return errors.Join(first, second)
}

// drop removes the keys of a manager after its record says that it is a member and its store has
// left. The database is removed by keepStore.
func (r roles) drop(ctx context.Context) error {
	m := r.membership()
	if !m.IsManager() || r.role() != fleetv1.HostRole_HOST_ROLE_MEMBER {
		return nil
	}
	if m.External != nil {
		if demoted, err := r.demoted(ctx, m.Host); err != nil || !demoted {
			return err
		}
	} else {
		members, err := r.client.Members(ctx)
		if err != nil {
			return err
		}
		own := storeURL(&fleetv1.Host{Address: m.Address}, r.cfg.Ports.StorePeer)
		if slices.ContainsFunc(members, func(x quorum.Member) bool { return x.PeerURL == own }) {
			return nil // the other managers remove it
		}
	}

	key, request, err := pki.NewKeyAndRequest()
	if err != nil {
		return err
	}
	cert, access, err := r.askCertificate(ctx, request)
	if err != nil {
		return err
	}
	r.store.Lock()
	defer r.store.Unlock()
	if r.membership().Authority != m.Authority {
		return nil // it was appointed again meanwhile
	}
	if err := r.edit(func(m *membership.Membership) {
		m.Authority, m.Peers, m.Member = nil, nil, nil
		m.Cert, m.Key, m.External = cert, key, m.External.Public()
		adopt(m, access)
	}); err != nil {
		return err
	}
	r.cfg.Log.Info("this host is a member now")
	return nil
}
