package sandbox

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/address"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// An endpoint in an existing namespace is stored after it is created, and deleted from the store
// before it is removed. A crash in between leaves links without a record, which the next start
// removes.

// Connect connects a sandbox to one more network.
//
// It is idempotent. A connection with different content returns Exists. On failure, the sandbox is
// unchanged.
func (m *Manager) Connect(ctx context.Context, owner string, spec network.EndpointSpec) (network.Sandbox, error) {
	if err := errors.Join(network.ValidateOwner(owner), m.ready(), spec.Validate(subject(owner))); err != nil {
		return network.Sandbox{}, err
	}
	var sb network.Sandbox
	err := address.Retry(ctx, m.source, func() (err error) {
		sb, err = m.connectTo(ctx, owner, spec)
		return err
	})
	return sb, err
}

func (m *Manager) connectTo(ctx context.Context, owner string, spec network.EndpointSpec) (network.Sandbox, error) {
	nets, err := m.resolve([]network.EndpointSpec{spec})
	if err != nil {
		return network.Sandbox{}, err
	}
	if err := m.require(ctx, nets); err != nil {
		return network.Sandbox{}, err
	}

	defer m.owners.lock(m.pinOf(owner))()
	defer m.netLocks.RLock(idsOf(nets))()

	if nets, err = m.resolve([]network.EndpointSpec{spec}); err == nil { // a network may have changed while this waited
		err = m.require(ctx, nets)
	}
	if err != nil {
		return network.Sandbox{}, err
	}

	sb, err := m.connectable(owner)
	if err != nil {
		return sb, err
	}

	n := nets[0].Network
	if e, ok := on(sb, n); ok {
		if e.Spec.Equal(spec.On(n.ID)) {
			return sb, nil
		}
		return sb, fault.New(fault.Exists, n.Subject(),
			"endpoint with name "+sb.DisplayName()+" already exists in network "+n.Name,
			fault.WithHint("disconnect it first"))
	}

	if sb.Interfaces()[spec.Interface] {
		return sb, fault.New(fault.Exists, subject(owner), "already has interface "+spec.Interface,
			fault.WithField("interface"))
	}

	return m.connect(ctx, sb, n, spec)
}

func (m *Manager) connect(
	ctx context.Context, sb network.Sandbox, n network.Network, spec network.EndpointSpec,
) (network.Sandbox, error) {
	e, err := m.addresses.Endpoint(sb.Owner, n, spec, sb.Interfaces())
	if err != nil {
		return sb, err
	}

	driver := m.drivers[n.Driver]
	e = driver.Complete(n, e)
	after := m.withRoutes(sb, append(slices.Clone(sb.Endpoints), e))
	err = kernel.WithPinned(sb.NetnsPath, func(ns *kernel.Namespace) (err error) {
		if after, err = m.obtain(ctx, ns, after, e); err != nil {
			return err
		}
		e, _ = on(after, n)
		if err := driver.Attach(ns, n, sb.Owner, withoutRoutes(e)); err != nil {
			return err
		}
		return m.updateRoutes(ns, sb, after)
	})
	if err == nil {
		err = errors.Join(m.store.PutSandbox(after), m.forgetHeld(after))
	}
	if err != nil {
		err = errors.Join(m.asFault(err, sb), driver.Remove(n, sb, e), m.rerouteBack(sb, after))
		m.releaseLeases(sb, e)
		m.addresses.Release(network.Sandbox{Owner: sb.Owner, Endpoints: []network.Endpoint{e}})
		return sb, err
	}

	return after, nil
}

// withoutRoutes returns an endpoint without gateways and routes. These are set once for the whole
// sandbox, as another endpoint may still have them.
func withoutRoutes(e network.Endpoint) network.Endpoint {
	e.Gateway4, e.Gateway6, e.Routes = netip.Addr{}, netip.Addr{}, nil
	return e
}

// Disconnect disconnects a sandbox from a network.
//
// It does nothing if the sandbox is not connected to it. For an owner without a sandbox it releases
// the held leases on the network.
func (m *Manager) Disconnect(_ context.Context, owner, ref string) (network.Sandbox, error) {
	if err := errors.Join(network.ValidateOwner(owner), m.ready()); err != nil {
		return network.Sandbox{}, err
	}

	n, err := m.store.FindNetwork(ref)
	if err != nil {
		return network.Sandbox{}, err
	}

	defer m.owners.lock(m.pinOf(owner))()

	sb, err := m.connectable(owner)
	if err != nil {
		return sb, errors.Join(err, m.releaseHeldLeases(owner, n.ID))
	}

	e, ok := on(sb, n.Network)
	if !ok { // completes an interrupted call
		return sb, errors.Join(m.addresses.Unreserve(sb.Owner, n.ID), m.rerouteAll(sb))
	}

	return m.disconnect(sb, n.Network, e)
}

func (m *Manager) disconnect(sb network.Sandbox, n network.Network, e network.Endpoint) (network.Sandbox, error) {
	after := m.withRoutes(sb, slices.DeleteFunc(slices.Clone(sb.Endpoints),
		func(o network.Endpoint) bool { return o.ID == e.ID }))
	if err := m.store.PutSandbox(after); err != nil {
		return sb, err
	}
	if err := m.drivers[n.Driver].Remove(n, sb, e); err != nil { // it may be partly removed
		err = errors.Join(err, m.store.PutSandbox(sb))
		rerr := kernel.WithPinned(sb.NetnsPath, func(ns *kernel.Namespace) error {
			return errors.Join(m.reattach(ns, sb, e, false), m.applyRoutes(ns, sb))
		})
		return sb, errors.Join(err, m.asFault(rerr, sb))
	}

	m.releaseLeases(sb, e)
	m.addresses.Release(network.Sandbox{Owner: sb.Owner, Endpoints: []network.Endpoint{e}})
	err := kernel.WithPinned(sb.NetnsPath, func(ns *kernel.Namespace) error { return m.updateRoutes(ns, sb, after) })
	return after, errors.Join(m.asFault(err, sb), m.addresses.Unreserve(sb.Owner, n.ID))
}

// releaseEndpoints releases everything that a sandbox has except its namespace, which other
// containers share.
func (m *Manager) releaseEndpoints(sb network.Sandbox) error {
	after := sb
	after.Endpoints, after.NetnsOnly = nil, true
	if err := m.store.PutSandbox(after); err != nil {
		return err
	}
	if err := m.removeEndpoints(sb); err != nil {
		return errors.Join(err, m.store.PutSandbox(sb))
	}
	m.addresses.Release(sb)
	return nil
}

// reattachKept attaches the endpoints of a sandbox in the namespace that was kept for it.
func (m *Manager) reattachKept(
	ctx context.Context, kept, sb network.Sandbox, nets []store.Network,
) (network.Sandbox, error) {
	sb.CreatedAt = kept.CreatedAt
	err := kernel.WithPinned(kept.NetnsPath, func(ns *kernel.Namespace) (err error) {
		sb, err = m.attach(ctx, ns, sb, nets)
		return err
	})
	if err == nil {
		err = errors.Join(m.store.PutSandbox(sb), m.forgetHeld(sb))
	}
	if err != nil {
		err = errors.Join(m.asFault(err, sb), m.removeEndpoints(sb))
		m.releaseLeases(sb)
		m.addresses.Release(sb)
	}

	return sb, err
}

func (m *Manager) removeEndpoints(sb network.Sandbox) error {
	var errs []error
	for _, e := range sb.Endpoints {
		if n, driver, ok := m.networkOf(e); ok {
			errs = append(errs, driver.Remove(n, sb, e))
		}
	}
	return errors.Join(errs...)
}

// connectable returns the sandbox of an owner if its networks can be changed.
func (m *Manager) connectable(owner string) (network.Sandbox, error) {
	sb, ok := m.store.Sandbox(owner)
	switch {
	case !ok || sb.NetnsOnly || !namespaceExists(sb):
		return sb, fault.New(fault.NotFound, subject(owner), "not found",
			fault.WithHint("only a running container can be connected now"))
	case sb.Mode != network.Private:
		return sb, fault.New(fault.Busy, subject(owner),
			"container sharing network namespace with another container or host "+
				"cannot be connected to any other network")
	}
	return sb, nil
}

// networkOf returns the network and the driver of an endpoint. ok is false if the network does not
// exist.
func (m *Manager) networkOf(e network.Endpoint) (n network.Network, d Driver, ok bool) {
	stored, ok := m.store.Network(e.NetworkID)
	d, known := m.drivers[stored.Driver]
	return stored.Network, d, ok && known
}

// networksOf returns the networks of the endpoints of a sandbox, in the same order.
func (m *Manager) networksOf(sb network.Sandbox) []network.Network {
	nets := make([]network.Network, len(sb.Endpoints))
	for i, e := range sb.Endpoints {
		nets[i], _, _ = m.networkOf(e)
	}
	return nets
}

// on returns the endpoint of a sandbox on a network.
func on(sb network.Sandbox, n network.Network) (network.Endpoint, bool) {
	i := slices.IndexFunc(sb.Endpoints, func(e network.Endpoint) bool { return e.NetworkID == n.ID })
	if i < 0 {
		return network.Endpoint{}, false
	}
	return sb.Endpoints[i], true
}
