package fleet

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/admission"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/external"
	"github.com/fairlead/fairlead/services/fleetagent/internal/membership"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/preflight"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
	"github.com/fairlead/fairlead/services/fleetagent/internal/space"
	"github.com/fairlead/fairlead/services/fleetagent/internal/token"
)

// How long a new store may take until it answers.
const storeStart = 30 * time.Second

// Init creates a fleet with this host as its first manager, and a token for a second host. If it
// fails, the host is left without a fleet. store, which can be nil, keeps the records instead of one on managers.
func (f *Fleet) Init(ctx context.Context, given, name string, addressSpace []string, store *external.Store) (
	fleet string, host *fleetv1.Host, text string, err error) {
	f.change.Lock()
	defer f.change.Unlock()
	address, name, underlay, err := f.checkInit(given, name, store)
	if err != nil {
		return "", nil, "", err
	}

	ranges, err := space.Parse(addressSpace)
	if err != nil {
		return "", nil, "", err
	}

	if store != nil {
		store = store.Normal()
		if err := store.Check(f.cfg.Now()); err != nil {
			return "", nil, "", err
		}
	}
	m, err := f.found(address, name, store)
	if err != nil {
		return "", nil, "", err
	}
	complete := space.Complete(ranges, m.Fleet)
	if err := checkSpace(underlay, complete); err != nil {
		return "", nil, "", err
	}
	if m.External != nil {
		if err := m.External.Prepare(ctx, f.cfg.Now); err != nil {
			return "", nil, "", err
		}
	}
	host = f.cfg.ownRecord(m.Host, name, address)
	host.Role, host.Joined = fleetv1.HostRole_HOST_ROLE_MANAGER, timestamppb.New(m.Joined)
	host.StoreUrl = m.Store[0]
	if m.External != nil {
		host.StoreSerial = m.External.Serial
	}

	if err = membership.Save(f.cfg.Dir, m); err == nil {
		err = f.bootstrap(ctx, m, host, complete)
	}
	if err == nil {
		err = f.begin(m, true)
	}
	if err == nil {
		err = f.awaitPresence(ctx)
	}
	if err == nil {
		text, _, err = f.IssueToken(ctx, admission.DefaultValid, 1, token.Member)
	}
	if err != nil {
		f.undo(context.WithoutCancel(ctx), m)
		return "", nil, "", err
	}
	return m.Fleet, host, text, nil
}

// checkInit finds every reason to refuse before anything is made.
func (f *Fleet) checkInit(given, name string, store *external.Store) (address netip.Addr, host string,
	underlay preflight.Underlay, err error) {
	if err := f.refuseSecond(); err != nil {
		return address, "", underlay, err
	}
	if host, err = preflight.Name(name); err != nil {
		return address, "", underlay, err
	}
	if given == "" {
		address, err = preflight.DefaultAddress()
	} else {
		address, err = preflight.Address(given)
	}
	if err == nil {
		err = f.storeLeft()
	}
	if err == nil {
		ports := []uint16{f.cfg.Ports.StoreClient}
		if store == nil {
			ports = append(ports, f.cfg.Ports.StorePeer)
		}
		underlay, err = f.checkHost(address, ports...)
	}
	return address, host, underlay, err
}

// checkSpace refuses an address space that the host's routes cover.
func checkSpace(underlay preflight.Underlay, addressSpace []string) error {
	ranges, err := space.Parse(addressSpace)
	if err != nil {
		return err
	}
	return underlay.CheckSpace(ranges)
}

// found returns the membership of the first manager of a new fleet.
func (f *Fleet) found(address netip.Addr, name string, store *external.Store) (*membership.Membership, error) {
	now := f.cfg.Now()
	m := &membership.Membership{Record: membership.Record{Fleet: newID() + newID(), Host: newID(), Name: name,
		Address: address.String(), Port: f.cfg.Ports.Agent, Joined: now.UTC(),
		Store: []string{"https://" + joinPort(address, f.cfg.Ports.StoreClient)}}}
	if store != nil {
		m.External, store.Serial = store, external.FirstSerial(now)
	}
	authority, err := pki.NewAuthority(m.Fleet, now)
	if err != nil {
		return nil, err
	}
	m.CA, m.Authority = authority.Cert, &authority
	who := pki.Identity{Fleet: m.Fleet, Role: pki.Manager, Host: m.Host}
	if m.Key, m.Cert, err = authority.Issue(who, address, pki.HostLife, now); err != nil {
		return nil, err
	}
	if m.External != nil {
		return m, nil
	}

	peers, err := pki.NewAuthority(m.Fleet, now)
	if err != nil {
		return nil, err
	}
	m.Peers = &membership.PeerKeys{Authority: peers}
	m.Peers.Key, m.Peers.Cert, err = peers.Issue(who, address, pki.PeerLife, now)
	return m, err
}

// bootstrap starts the store, stores the first host and switches authorization on.
func (f *Fleet) bootstrap(ctx context.Context, m *membership.Membership, host *fleetv1.Host,
	addressSpace []string) error {
	client, err := firstClient(ctx, f, m)
	if err != nil {
		return err
	}
	defer client.Close()
	keys := m.Keys()
	data, err := record.Encode(host)
	if err != nil {
		return err
	}
	settings, err := record.Encode(&fleetv1.FleetSettings{AddressSpace: addressSpace})
	if err != nil {
		return err
	}
	unused := keys.All()
	if m.External != nil {
		unused = record.Root(m.External.Prefix)
	}
	ok, err := client.Commit(ctx, []etcd.Condition{etcd.NoneBelow(unused)}, etcd.Put(keys.Settings(), settings),
		etcd.Put(keys.Name(host.GetName()), []byte(host.GetId())), etcd.Put(keys.Host(host.GetId()), data))
	switch {
	case m.External != nil && err != nil:
		return m.External.Explain(err)
	case m.External != nil && !ok: // another host was faster
		return m.External.CheckUnused(ctx, client)
	case m.External != nil || err != nil:
		return err
	}
	return client.Authorize(ctx, m.Host)
}

// firstClient returns a client of the store of a new fleet, which answers.
func firstClient(ctx context.Context, f *Fleet, m *membership.Membership) (*etcd.Client, error) {
	if m.External != nil {
		return m.External.Dial(f.cfg.Now)
	}
	if err := startStore(f.cfg, m); err != nil {
		return nil, err
	}
	client, err := etcd.Dial(m.Store, pki.ClientConfig(m.CA, m.TLS, pki.Expected{Host: m.Host}, f.cfg.Now))
	if err != nil {
		return nil, err
	}
	if err := f.awaitStore(ctx, client, m.Keys()); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return client, nil
}

// awaitStore waits until the store answers.
func (f *Fleet) awaitStore(ctx context.Context, client *etcd.Client, keys record.Keys) error {
	ctx, cancel := context.WithTimeout(ctx, storeStart)
	defer cancel()
	for {
		_, _, err := client.Get(ctx, keys.All())
		if err == nil {
			return nil
		}
		if !f.store().Running() || ctx.Err() != nil {
			return fault.New(fault.Unavailable, "store", "does not start: "+f.store().Log(), fault.WithCause(err))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// undo leaves this host without a fleet.
func (f *Fleet) undo(ctx context.Context, m *membership.Membership) {
	f.end()
	if m.External != nil {
		if err := m.External.Empty(ctx, m.Keys(), f.cfg.Now); err != nil {
			f.cfg.Log.Error("records not removed from the store", "keys", m.Keys().All(), "error", err)
		}
	}
	if err := f.store().Remove(ctx); err != nil {
		f.cfg.Log.Error("store not removed", "error", err)
	}
	removeReplica(f.cfg)
	if err := membership.Remove(f.cfg.Dir); err != nil {
		f.cfg.Log.Error("membership not removed", "error", err)
	}
}
