package fleet

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/admission"
	"github.com/fairlead/fairlead/services/fleetagent/internal/archive"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/fence"
	"github.com/fairlead/fairlead/services/fleetagent/internal/membership"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/preflight"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
	"github.com/fairlead/fairlead/services/fleetagent/internal/refill"
)

// Backup returns a backup of the fleet, with its keys.
func (f *Fleet) Backup(ctx context.Context) ([]byte, error) {
	p, err := f.current()
	if err != nil {
		return nil, err
	}
	if _, err := p.admission(); err != nil {
		return nil, err
	}
	m := p.membership()
	if err := refuseExternal(m); err != nil {
		return nil, err
	}
	a := archive.Archive{Fleet: m.Fleet, Host: m.Host, Created: f.cfg.Now().UTC()}
	if a.Files, err = membership.Export(m); err != nil {
		return nil, err
	}
	values, err := p.client.List(ctx, p.keys.All())
	if err != nil {
		return nil, err
	}
	a.Records = refill.Lasting(p.keys, values)
	return archive.Encode(a)
}

// Restore makes this host the only manager of a fleet that was backed up. Its other managers are members
// from then on. If it fails, the host is left without a fleet.
func (f *Fleet) Restore(ctx context.Context, data []byte, given string) (string, *fleetv1.Host, error) {
	f.change.Lock()
	defer f.change.Unlock()
	a, err := archive.Decode(data)
	if err != nil {
		return "", nil, err
	}
	if p, err := f.current(); err == nil {
		return "", nil, errors.Join(refuseExternal(p.membership()), f.refuseSecond())
	}
	if err := f.storeLeft(); err != nil {
		return "", nil, err
	}
	m, err := f.restored(a, given)
	if err != nil {
		return "", nil, err
	}

	var own *fleetv1.Host
	if err = membership.Save(f.cfg.Dir, m); err == nil {
		own, err = refillStore(ctx, f, m, a)
	}
	if err == nil {
		err = f.begin(m, true)
	}
	if err == nil {
		err = f.awaitPresence(ctx)
	}
	if err != nil {
		f.undo(context.WithoutCancel(ctx), m)
		return "", nil, err
	}
	return m.Fleet, own, nil
}

// restored returns the membership of a backup with a new certificate.
func (f *Fleet) restored(a archive.Archive, given string) (*membership.Membership, error) {
	m, err := membership.Import(f.cfg.Dir, a.Files)
	if err != nil {
		return nil, err
	}
	if !m.IsManager() || m.Fleet != a.Fleet || m.Host != a.Host || m.Authority.Fleet() != a.Fleet {
		return nil, fault.New(fault.Invalid, "backup", "has files of another fleet or host")
	}
	if given == "" {
		given = m.Address
	}
	address, err := preflight.Address(given)
	if err == nil {
		err = preflight.Ports(address, f.cfg.Ports.Agent, f.cfg.Ports.StoreClient, f.cfg.Ports.StorePeer)
	}
	if err != nil {
		return nil, err
	}

	now := f.cfg.Now()
	who := pki.Identity{Fleet: m.Fleet, Role: pki.Manager, Host: m.Host}
	generation, _ := fence.In("settings", a.Records["settings"])
	m.StoreGeneration = fence.Next(max(m.Generation, m.StoreGeneration, generation), now)
	m.Generation = m.StoreGeneration
	m.Address, m.Port, m.Member = address.String(), f.cfg.Ports.Agent, nil
	m.Store = []string{"https://" + joinPort(address, f.cfg.Ports.StoreClient)}
	if m.Key, m.Cert, err = m.Authority.Issue(who, address, pki.HostLife, now); err != nil {
		return nil, err
	}
	m.Peers.Key, m.Peers.Cert, err = m.Peers.Authority.Issue(who, address, pki.PeerLife, now)
	return m, err
}

// refillStore starts a new store and writes the records of a backup to it.
func refillStore(ctx context.Context, f *Fleet, m *membership.Membership, a archive.Archive) (*fleetv1.Host, error) {
	client, err := firstClient(ctx, f, m)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return refill.Write(ctx, client, m, a.Records, f.cfg.Now)
}

// Recover continues the store with the copy of this manager, after the other managers were lost.
func (f *Fleet) Recover(ctx context.Context) error {
	f.change.Lock()
	defer f.change.Unlock()
	p, err := f.current()
	if err != nil {
		return err
	}
	if _, err := p.admission(); err != nil {
		return err
	}
	if err := refuseExternal(p.membership()); err != nil {
		return err
	}
	if _, _, err := p.client.Get(ctx, p.keys.Settings()); err == nil {
		return fault.New(fault.Busy, "store", "answers, and need not be recovered",
			fault.WithHint("remove lost managers: fairlead fleet rm HOST"))
	}

	m := p.membership()
	address, err := netip.ParseAddr(m.Address)
	if err != nil {
		return fault.New(fault.Internal, "fleet membership", "has no address", fault.WithCause(err))
	}
	own := []string{"https://" + joinPort(address, f.cfg.Ports.StoreClient)}
	if value, ok := p.mirror.Value(p.keys.Host(m.Host)); ok {
		host := &fleetv1.Host{}
		if err := record.Decode(value.Key, value.Data, host); err == nil && host.GetStoreUrl() == "" {
			return f.recoverCopy(ctx, p, own)
		}
	}
	if err := p.restartAlone(ctx, m); err != nil {
		return err
	}
	client, err := etcd.Dial(own, p.clientTLS(m.Host, ""))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := f.awaitStore(ctx, client, p.keys); err != nil {
		return err
	}

	if err := (roles{p}).raise(ctx, client); err != nil {
		return err
	}

	a := admission.Admission{Keys: p.keys, Store: client, Authority: *m.Authority, Now: f.cfg.Now}
	hosts, _ := p.list()
	for _, h := range hosts { // the others join the store again if they return
		if h.GetRole() == fleetv1.HostRole_HOST_ROLE_MANAGER {
			url := ""
			if h.GetId() == m.Host {
				url = own[0]
			}
			if err := a.SetStoreURL(ctx, h.GetId(), url); err != nil {
				return err
			}
		}
	}
	p.client.SetURLs(own)
	p.noteChange()
	return f.awaitStoreOf(ctx, p)
}

// recoverCopy makes a new store of the records in this host's member, which has no vote and so cannot
// continue. The other managers are members from then on.
func (f *Fleet) recoverCopy(ctx context.Context, p *part, own []string) error {
	m := p.membership()
	client, err := etcd.Dial(own, p.clientTLS(m.Host, ""))
	if err != nil {
		return err
	}
	defer client.Close()
	values, err := client.ListCopy(ctx, p.keys.All())
	if err != nil {
		return err
	}
	a := archive.Archive{Records: refill.Lasting(p.keys, values)}
	if a.Records["h/"+m.Host] == nil {
		return fault.New(fault.Unavailable, "store", "has no complete copy on this host",
			fault.WithHint("restore a backup: fairlead fleet restore FILE"))
	}

	p.store.Lock()
	defer p.store.Unlock()
	if err := (roles{p}).process().Remove(ctx); err != nil {
		return err
	}
	if err := p.edit(func(m *membership.Membership) { m.Member, m.Store = nil, own }); err != nil {
		return err
	}
	if _, err := (roles{p}).startGeneration(); err != nil {
		return err
	}
	if _, err := refillStore(ctx, f, p.membership(), a); err != nil {
		return err
	}
	p.client.SetURLs(own)
	return f.awaitStoreOf(ctx, p)
}

// restartAlone restarts the store's process without its other members.
func (p *part) restartAlone(ctx context.Context, m *membership.Membership) error {
	p.store.Lock()
	defer p.store.Unlock()
	if err := (roles{p}).process().Stop(ctx); err != nil {
		return err
	}
	return runStore(p.cfg, m, true)
}

// awaitStoreOf waits until the clients of a part reach the store.
func (f *Fleet) awaitStoreOf(ctx context.Context, p *part) error {
	ctx, cancel := context.WithTimeout(ctx, storeStart)
	defer cancel()
	for {
		_, _, err := p.client.Get(ctx, p.keys.Settings())
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}
