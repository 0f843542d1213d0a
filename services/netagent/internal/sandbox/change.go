package sandbox

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/fairlead/fairlead/agent/metrics"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/address"
	"github.com/fairlead/fairlead/services/netagent/internal/attach"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
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
func (m *Manager) Connect(ctx context.Context, owner string, spec endpoint.Spec) (endpoint.Sandbox, error) {
	if err := errors.Join(endpoint.ValidateOwner(owner), m.Ready(),
		spec.Validate(endpoint.SandboxSubject(owner))); err != nil {
		return endpoint.Sandbox{}, err
	}
	var sb endpoint.Sandbox
	begun := time.Now()
	err := address.Retry(ctx, m.source, func() (err error) {
		sb, err = m.connectTo(ctx, owner, spec)
		return err
	})
	m.times.Add(time.Since(begun), metrics.Outcome(err))
	return sb, err
}

func (m *Manager) connectTo(ctx context.Context, owner string, spec endpoint.Spec) (endpoint.Sandbox, error) {
	nets, err := m.resolve([]endpoint.Spec{spec})
	if err != nil {
		return endpoint.Sandbox{}, err
	}
	if err := m.require(ctx, nets); err != nil {
		return endpoint.Sandbox{}, err
	}

	defer m.locks.Owner(owner)()
	defer m.locks.ReadNetworks(idsOf(nets)...)()

	if nets, err = m.resolve([]endpoint.Spec{spec}); err == nil { // a network may have changed while this waited
		err = m.require(ctx, nets)
	}
	if err != nil {
		return endpoint.Sandbox{}, err
	}

	sb, err := m.attach.Running(owner)
	if err != nil {
		return sb, err
	}

	n := nets[0].Network
	if e, ok := sb.EndpointOn(n.ID); ok {
		if e.Spec.Equal(spec.On(n.ID)) {
			return sb, nil
		}
		return sb, fault.New(fault.Exists, n.Subject(),
			"endpoint with name "+sb.DisplayName()+" already exists in network "+n.Name,
			fault.WithHint("disconnect it first"))
	}

	if sb.Interfaces()[spec.Interface] {
		return sb, fault.New(fault.Exists, endpoint.SandboxSubject(owner), "already has interface "+spec.Interface,
			fault.WithField("interface"))
	}

	return m.connect(ctx, sb, n, spec)
}

func (m *Manager) connect(
	ctx context.Context, sb endpoint.Sandbox, n network.Network, spec endpoint.Spec,
) (endpoint.Sandbox, error) {
	e, err := m.addresses.Endpoint(sb.Owner, n, spec, sb.Interfaces())
	if err != nil {
		return sb, err
	}

	d := m.drivers[n.Driver]
	e = d.Complete(n, e)
	after := m.attach.WithRoutes(sb, append(slices.Clone(sb.Endpoints), e))
	err = m.namespaces.Within(sb.NetnsPath, func(ns namespace.Namespace) (err error) {
		if after, err = m.leases.Obtain(ctx, ns, after, e); err != nil {
			return err
		}
		e, _ = after.EndpointOn(n.ID)
		if err := d.Attach(ns.Kernel(), n, sb.Owner, e.WithoutRoutes()); err != nil {
			return err
		}
		return m.attach.UpdateRoutes(ns, sb, after)
	})
	if err == nil {
		err = errors.Join(m.store.PutSandbox(after), m.leases.ForgetHeld(after))
	}
	if err != nil {
		err = errors.Join(attach.Fault(err, sb), d.Remove(n, sb, e), m.attach.RerouteBack(sb, after))
		m.leases.Release(sb, e)
		m.addresses.Release(endpoint.Sandbox{Owner: sb.Owner, Endpoints: []endpoint.Endpoint{e}})
		return sb, err
	}

	return after, nil
}

// Disconnect disconnects a sandbox from a network.
//
// It does nothing if the sandbox is not connected to it. For an owner without a sandbox it releases
// the held leases on the network.
func (m *Manager) Disconnect(_ context.Context, owner, ref string) (endpoint.Sandbox, error) {
	if err := errors.Join(endpoint.ValidateOwner(owner), m.Ready()); err != nil {
		return endpoint.Sandbox{}, err
	}

	n, err := m.store.FindNetwork(ref)
	if err != nil {
		return endpoint.Sandbox{}, err
	}

	defer m.locks.Owner(owner)()

	sb, err := m.attach.Running(owner)
	if err != nil {
		return sb, errors.Join(err, m.leases.ReleaseHeld(owner, n.ID))
	}

	e, ok := sb.EndpointOn(n.ID)
	if !ok { // completes an interrupted call
		return sb, errors.Join(m.addresses.Unreserve(sb.Owner, n.ID), m.attach.RerouteAll(sb))
	}

	return m.disconnect(sb, n.Network, e)
}

func (m *Manager) disconnect(sb endpoint.Sandbox, n network.Network, e endpoint.Endpoint) (endpoint.Sandbox, error) {
	after := m.attach.WithRoutes(sb, slices.DeleteFunc(slices.Clone(sb.Endpoints),
		func(o endpoint.Endpoint) bool { return o.ID == e.ID }))
	if err := m.store.PutSandbox(after); err != nil {
		return sb, err
	}
	if err := m.drivers[n.Driver].Remove(n, sb, e); err != nil { // it may be partly removed
		err = errors.Join(err, m.store.PutSandbox(sb))
		rerr := m.namespaces.Within(sb.NetnsPath, func(ns namespace.Namespace) error {
			return errors.Join(m.attach.Recreate(ns, sb, e), m.attach.ApplyRoutes(ns, sb))
		})
		return sb, errors.Join(err, attach.Fault(rerr, sb))
	}

	m.leases.Release(sb, e)
	m.addresses.Release(endpoint.Sandbox{Owner: sb.Owner, Endpoints: []endpoint.Endpoint{e}})
	err := m.namespaces.Within(sb.NetnsPath, func(ns namespace.Namespace) error {
		return m.attach.UpdateRoutes(ns, sb,
			after)
	})
	return after, errors.Join(attach.Fault(err, sb), m.addresses.Unreserve(sb.Owner, n.ID))
}

// releaseEndpoints releases everything that a sandbox has except its namespace, which other
// containers share.
func (m *Manager) releaseEndpoints(sb endpoint.Sandbox) error {
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
	ctx context.Context, kept, sb endpoint.Sandbox, nets []store.Network,
) (endpoint.Sandbox, error) {
	sb.CreatedAt = kept.CreatedAt
	err := m.namespaces.Within(kept.NetnsPath, func(ns namespace.Namespace) (err error) {
		sb, err = m.attachAll(ctx, ns, sb, nets)
		return err
	})
	if err == nil {
		err = errors.Join(m.store.PutSandbox(sb), m.leases.ForgetHeld(sb))
	}
	if err != nil {
		err = errors.Join(attach.Fault(err, sb), m.removeEndpoints(sb))
		m.leases.Release(sb)
		m.addresses.Release(sb)
	}

	return sb, err
}

func (m *Manager) removeEndpoints(sb endpoint.Sandbox) error {
	var errs []error
	for _, e := range sb.Endpoints {
		if n, d, ok := m.attach.NetworkOf(e); ok {
			errs = append(errs, d.Remove(n, sb, e))
		}
	}
	return errors.Join(errs...)
}
