package fleet

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/fleetagent/internal/membership"
	"github.com/fairlead/fairlead/services/fleetagent/internal/storeproc"
)

// keepStore keeps the store's process running on a manager, also after it has exited, and removes the
// database on a host that is not a manager any more, until ctx ends.
func (r roles) keepStore(ctx context.Context) {
	last := ""
	for {
		text := ""
		if m := r.membership(); m.IsManager() && m.External == nil && r.fence.Due(time.Now(), askEvery) {
			r.askGenerations(ctx) // a store that was replaced must not be started
		}
		if err := r.ensureStore(ctx); err != nil {
			text = err.Error()
		}
		if text != "" && text != last && ctx.Err() == nil {
			r.cfg.Log.Error("store is not as wanted", "error", text)
		}
		last = text
		select {
		case <-ctx.Done():
			return
		case <-time.After(watchStore):
		}
	}
}

// ensureStore starts or removes the store.
func (r roles) ensureStore(ctx context.Context) error {
	r.store.Lock()
	defer r.store.Unlock()
	m, process := r.membership(), r.process()
	if m.External != nil {
		return r.ensureGateway(m)
	}
	switch {
	case !m.IsManager() && process.Exists():
		return process.Remove(ctx)
	case !m.IsManager():
		return nil
	case (m.Member == nil || !m.Member.Fresh) && !process.Exists():
		return fault.New(fault.Internal, "store in "+r.cfg.StoreDir, "is missing",
			fault.WithHint("restore it: fairlead fleet restore; or, if there are other managers, remove this host"))
	}
	if err := r.fence.Check(m.StoreGeneration); err != nil {
		return errors.Join(err, process.Stop(ctx))
	}

	if err := startStore(r.cfg, m); err != nil {
		return err
	}
	if m.Member != nil && m.Member.Fresh && process.Exists() {
		member := *m.Member
		member.Fresh = false
		return r.edit(func(m *membership.Membership) { m.Member = &member })
	}
	return nil
}

func (r roles) process() storeproc.Process {
	return storeproc.Process{Program: r.cfg.StoreProgram, Dir: r.cfg.StoreDir, Certs: r.cfg.Dir}
}

// startStore starts the store's process, if it is not running.
func startStore(cfg Config, m *membership.Membership) error { return runStore(cfg, m, false) }

// runStore starts the store, which continues without its other members if alone is set.
func runStore(cfg Config, m *membership.Membership, alone bool) error {
	address, err := netip.ParseAddr(m.Address)
	if err != nil {
		return err
	}
	process := storeproc.Process{Program: cfg.StoreProgram, Dir: cfg.StoreDir, Certs: cfg.Dir}
	peerURL := "https://" + joinPort(address, cfg.Ports.StorePeer)
	member := storeproc.Member{Name: m.Host, PeerURL: peerURL, Cluster: m.Host + "=" + peerURL,
		ClientURL: "https://" + joinPort(address, cfg.Ports.StoreClient)}
	if m.Member != nil {
		member.Cluster, member.Existing = m.Member.Cluster, true
	}
	member.Recover = alone
	return process.Start(member)
}
