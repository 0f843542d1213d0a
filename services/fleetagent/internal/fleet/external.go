package fleet

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api/gateway"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/external"
	"github.com/fairlead/fairlead/services/fleetagent/internal/membership"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
)

// outside is the part of a host whose fleet has an external store.
type outside struct{ *part }

// end removes the records of the fleet from the store: its last host leaves. That it is the last one is a
// condition, as the records that this host knows can be outdated.
func (p outside) end(ctx context.Context) error {
	alone := etcd.OnlyBelow(p.keys.Hosts(), p.keys.Host(p.membership().Host))
	return p.outage.Retry(ctx, func(ctx context.Context) error {
		done, err := p.client.Commit(ctx, alone, etcd.DeleteBelow(p.keys.All()))
		if err == nil && !done {
			return fault.New(fault.Conflict, "fleet", "has more hosts, but no other manager")
		} else if fault.KindOf(err) == fault.Denied { // an unanswered call has removed this host
			return nil
		}
		return err
	})
}

// ensureGateway starts or stops the gateway to the external store, or replaces its credentials. The lock of the
// store must be held.
func (r roles) ensureGateway(m *membership.Membership) error {
	runs := r.gateway.Runs()
	if !m.IsManager() || r.ctx.Err() != nil || !runs {
		if err := r.gateway.Stop(); err != nil || !m.IsManager() || r.ctx.Err() != nil {
			return err
		}
	}
	if runs && r.gateway.Serial() == m.External.Serial {
		return nil
	}
	address := agentAddress(&fleetv1.Host{Address: m.Address}).Addr()
	client, err := m.External.Dial(r.cfg.Now)
	if err != nil {
		return err
	}
	store := gateway.Store{Client: client, Endpoints: m.External.Endpoints, Serial: m.External.Serial}
	if runs {
		return r.gateway.Use(store)
	}
	running, err := gateway.Start(joinPort(address, r.cfg.Ports.StoreClient), gateway.Config{Fleet: m.Fleet,
		Keys: r.keys, Mirror: r.mirror, Log: r.cfg.Log,
		TLS: pki.ServerConfig(m.CA, r.certificate, true, r.cfg.Now)}, store)
	if err != nil {
		return errors.Join(err, client.Close())
	}
	r.gateway = running
	return nil
}

// equip sends all managers the keys of managers and the credentials of the external store, and stores that
// hosts reach the store through them.
func (r roles) equip(ctx context.Context) (all error) {
	m := r.membership()
	a, err := r.admission()
	if err != nil {
		return err
	}
	hosts, _ := r.list()
	for _, h := range hosts {
		url := r.clientURL(h)
		if h.GetRole() != fleetv1.HostRole_HOST_ROLE_MANAGER || h.GetState() != fleetv1.HostState_HOST_STATE_ALIVE ||
			h.GetStoreUrl() == url && h.GetStoreSerial() >= m.External.Serial {
			continue
		}
		var err error
		if h.GetId() != m.Host {
			err = r.sendKeys(ctx, h, api.Keys{Authority: *m.Authority, URLs: r.storeURLs(), External: m.External})
		}
		if err == nil {
			err = a.SetStore(ctx, h.GetId(), url, m.External.Serial)
		}
		all = errors.Join(all, err)
	}
	return all
}

// appoint makes this host a manager of a fleet with an external store, or takes newer credentials over.
func (p outside) appoint(ctx context.Context, keys api.Keys) error {
	p.store.Lock()
	err := p.takeOver(keys)
	p.store.Unlock()
	if err != nil {
		return err
	}
	return roles(p).ensureStore(ctx)
}

// takeOver stores the keys of a manager, or newer credentials. Other changes of the membership are kept.
func (p outside) takeOver(keys api.Keys) error {
	return p.editIf(func(m *membership.Membership) error {
		switch {
		case m.External == nil || keys.External == nil || keys.External.Prefix != m.External.Prefix:
			return fault.New(fault.Invalid, "keys of the fleet", "are those of another store")
		case !keys.Authority.Key.PublicKey.Equal(m.CA.PublicKey):
			return fault.New(fault.Invalid, "keys of the fleet", "do not match its certificates")
		case m.IsManager() && !keys.External.Replaces(m.External):
			return errUnchanged
		}
		p.cfg.Log.Info("this host gets the keys of a manager", "serial", keys.External.Serial)
		if m.IsManager() {
			m.External = keys.External
			return nil
		}
		return appoint(m, keys, p.cfg.Now())
	})
}

// demoted reports whether a host is a member by its record in the store. The copy of a host that was promoted a
// moment ago can be older.
func (r roles) demoted(ctx context.Context, id string) (bool, error) {
	value, ok, err := r.client.Get(ctx, r.keys.Host(id))
	if err != nil || !ok {
		return false, err
	}
	host := &fleetv1.Host{}
	err = record.Decode(value.Key, value.Data, host)
	return err == nil && host.GetRole() == fleetv1.HostRole_HOST_ROLE_MEMBER, err
}

// await waits until the store is reached through a host.
func (p outside) await(ctx context.Context, host *fleetv1.Host) error {
	ctx, cancel := context.WithTimeout(ctx, memberChange)
	defer cancel()
	url := storeURL(host, p.cfg.Ports.StoreClient)
	for {
		p.noteChange()
		var err error
		if slices.Contains(p.storeURLs(), url) {
			if _, err = p.client.Status(ctx, url); err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			p.mu.Lock()
			defer p.mu.Unlock()
			return fault.New(fault.Unavailable, "host "+host.GetName(),
				"does not pass calls on to the store yet; see the log of its agent",
				fault.WithCause(errors.Join(err, p.memberErr)))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// adopt stores in a membership how the host reaches the store. A manager has the external store itself.
func adopt(m *membership.Membership, access api.Access) {
	m.Store = access.URLs
	if m.External != nil && access.External != nil && !m.IsManager() {
		m.External = access.External.Public()
	}
}

// UpdateStore replaces the endpoints and the credentials of the external store. The other managers get them
// from this one.
func (f *Fleet) UpdateStore(ctx context.Context, changed *external.Store) error {
	f.change.Lock()
	defer f.change.Unlock()
	p, err := f.manager()
	if err != nil {
		return err
	}
	m := p.membership()
	if m.External == nil {
		return fault.New(fault.Conflict, "fleet "+short(m.Fleet), "has no external store: its managers run the store")
	}
	next, err := m.External.Replace(ctx, changed, p.keys, f.cfg.Now)
	if err != nil {
		return err
	}
	if err := p.editIf(func(m *membership.Membership) error {
		if !next.Replaces(m.External) { // another manager was faster
			return errUnchanged
		}
		m.External = next
		return nil
	}); err != nil {
		return err
	}
	p.noteChange()
	return roles{p}.ensureStore(ctx)
}

// refuseExternal returns an error if the fleet has an external store.
func refuseExternal(m *membership.Membership) error {
	if m.External == nil {
		return nil
	}
	return fault.New(fault.Conflict, "store at "+strings.Join(m.External.Endpoints, ", "),
		"is an etcd cluster of its own, which is backed up and restored with its own tools",
		fault.WithHint("etcdctl snapshot save FILE; etcdutl snapshot restore FILE"))
}
