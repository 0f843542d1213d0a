package fleet

import (
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api"
	"github.com/fairlead/fairlead/services/fleetagent/internal/diagnosis"
	"github.com/fairlead/fairlead/services/fleetagent/internal/membership"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/preflight"
	"github.com/fairlead/fairlead/services/fleetagent/internal/token"
)

// pathTime limits the wait for probes of the data path.
const pathTime = 10 * time.Second

// How long a host waits until it sees itself alive in its new fleet.
const presenceTimeout = 30 * time.Second

// Join makes this host part of the fleet of a token. If it fails, the host is left without a fleet
// and the fleet without the host.
func (f *Fleet) Join(ctx context.Context, text, given, name string) (fleet string, host *fleetv1.Host,
	warnings []string, err error) {
	f.change.Lock()
	defer f.change.Unlock()
	t, err := token.Parse(text)
	if err != nil {
		return "", nil, nil, err
	}
	if err := f.refuseSecond(); err != nil {
		return "", nil, nil, err
	}
	if name, err = preflight.Name(name); err != nil {
		return "", nil, nil, err
	}
	if given != "" {
		if _, err := preflight.Address(given); err != nil {
			return "", nil, nil, err
		}
	}

	manager, authority, local, err := f.reach(ctx, t)
	if err != nil {
		return "", nil, nil, err
	}
	if given != "" {
		local = netip.MustParseAddr(given).Unmap()
	}
	var m *membership.Membership
	underlay, err := f.checkHost(local)
	if err == nil {
		m, host, err = f.enroll(ctx, manager, t, authority, name, local, underlay)
	}
	// From now on the host has a certificate. Few connections without one are served at the same time.
	_ = manager.Close()
	if err != nil {
		return "", nil, nil, err
	}
	if err := f.complete(ctx, m, host.GetRole()); err != nil {
		return "", nil, nil, err
	}
	return m.Fleet, host, append(f.closedPort(ctx, t.Managers), f.brokenPaths(ctx)...), nil
}

// checkHost checks what a fleet needs of this host besides its name.
func (f *Fleet) checkHost(address netip.Addr, ports ...uint16) (preflight.Underlay, error) {
	underlay, err := preflight.ReadUnderlay(address)
	if err == nil {
		err = underlay.CheckMTU(address)
	}
	if err == nil {
		err = preflight.PortInUse()
	}
	if err == nil {
		err = preflight.Ports(address, append(ports, f.cfg.Ports.Agent)...)
	}
	return underlay, err
}

// brokenPaths waits until netagent has checked the ways to all other hosts, and returns a warning for each that is
// broken.
func (f *Fleet) brokenPaths(ctx context.Context) []string {
	p, err := f.current()
	if err != nil || f.watchers.Load() == 0 {
		return nil // there is no netagent
	}
	for deadline := time.Now().Add(pathTime); ctx.Err() == nil && time.Now().Before(deadline); {
		hosts, _ := p.list()
		others := slices.DeleteFunc(hosts, func(h *fleetv1.Host) bool {
			return h.GetId() == p.membership().Host || h.GetState() != fleetv1.HostState_HOST_STATE_ALIVE
		})
		p.mu.Lock()
		problems, probed := p.info.GetProblems(), p.probed
		p.mu.Unlock()
		if probed >= len(others) {
			return diagnosis.BrokenPaths(problems, p.nameOf)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return []string{"the data path to other hosts is not checked yet; see fairlead fleet doctor"}
}

// closedPort returns a warning if a manager cannot connect to this host.
func (f *Fleet) closedPort(ctx context.Context, managers []netip.AddrPort) []string {
	p, err := f.current()
	if err != nil {
		return nil
	}
	return diagnosis.ClosedPort(ctx, managers, p.clientTLS("", pki.Manager), f.cfg.Ports.Agent)
}

// reach connects to the first manager of a token that answers and has the right certificate.
func (f *Fleet) reach(ctx context.Context, t token.Token) (*api.Manager, *x509.Certificate, netip.Addr, error) {
	var all error
	for _, address := range t.Managers {
		var mu sync.Mutex
		var authority *x509.Certificate
		manager, err := api.DialManager(address, pki.PinnedConfig(t.CA, f.cfg.Now, func(ca *x509.Certificate) {
			mu.Lock()
			defer mu.Unlock()
			authority = ca
		}))
		if err != nil {
			return nil, nil, netip.Addr{}, err
		}
		local, err := manager.Reach(ctx)
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			return manager, authority, local, nil
		}
		all = errors.Join(all, err, manager.Close())
	}
	return nil, nil, netip.Addr{}, all
}

// enroll asks the manager to admit this host.
func (f *Fleet) enroll(ctx context.Context, manager *api.Manager, t token.Token, authority *x509.Certificate,
	name string, address netip.Addr, underlay preflight.Underlay) (*membership.Membership, *fleetv1.Host, error) {
	key, request, err := pki.NewKeyAndRequest()
	if err != nil {
		return nil, nil, err
	}

	now := f.cfg.Now()
	host, cert, store, err := manager.Enroll(ctx, t.Secret, api.Joining{Request: request,
		Host: f.cfg.ownRecord(newID(), name, address), Now: now, Underlay: underlay})
	if err != nil {
		return nil, nil, err
	}
	who, err := pki.Verify([][]byte{cert.Raw}, authority, now)
	if err == nil && who.Host != host.GetId() {
		err = fault.New(fault.Internal, "certificate", "is of another host than this one")
	}
	m := &membership.Membership{Record: membership.Record{Fleet: who.Fleet, Host: host.GetId(), Name: name,
		Address: host.GetAddress(), Port: f.cfg.Ports.Agent, Joined: host.GetJoined().AsTime(),
		Store: store.URLs, External: store.External},
		CA: authority, Cert: cert, Key: key}
	return m, host, err
}

// complete stores the membership and waits until the host is present in the fleet, as a manager if that
// is its role.
func (f *Fleet) complete(ctx context.Context, m *membership.Membership, role fleetv1.HostRole) error {
	err := membership.Save(f.cfg.Dir, m)
	if err == nil {
		err = f.begin(m, true)
	}
	if err == nil {
		err = f.awaitPresence(ctx)
	}
	if err == nil && role == fleetv1.HostRole_HOST_ROLE_MANAGER {
		err = f.awaitAppointment(ctx)
	}
	if err == nil {
		return nil
	}

	undo := context.WithoutCancel(ctx)
	if p, none := f.current(); none == nil {
		err = errors.Join(err, p.dismissSelf(undo))
	}
	f.end()
	removeReplica(f.cfg)
	return errors.Join(err, membership.Remove(f.cfg.Dir))
}

// awaitAppointment waits until a manager has made this host one.
func (f *Fleet) awaitAppointment(ctx context.Context) error {
	p, err := f.current()
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(storeStart); !p.membership().IsManager(); time.Sleep(20 * time.Millisecond) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fault.New(fault.Unavailable, "host "+p.membership().Name,
				"is to be a manager, but no manager has reached it",
				fault.WithHint("open TCP ports %d and %d of this host for the managers", f.cfg.Ports.Agent,
					f.cfg.Ports.StorePeer))
		}
	}
	return nil
}

// awaitPresence waits until this host sees itself alive in the fleet.
func (f *Fleet) awaitPresence(ctx context.Context) error {
	p, err := f.current()
	if err != nil {
		return err
	}
	select {
	case <-p.present:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(presenceTimeout):
	}
	_, err = p.list()
	return fault.New(fault.Unavailable, "store of the fleet", "cannot be reached from this host", fault.WithCause(err),
		fault.WithHint("open TCP port %d of the managers", f.cfg.Ports.StoreClient))
}
