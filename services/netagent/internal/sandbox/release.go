package sandbox

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Release gives back everything that an owner has, or all but what is to be kept. Releasing what is not there is no error.
func (m *Manager) Release(ctx context.Context, owner string, keep network.ReleaseKeep) error {
	if err := network.ValidateOwner(owner); err != nil {
		return err
	}
	if err := errors.Join(m.ready(), ctx.Err()); err != nil {
		return err
	}
	defer m.owners.lock(m.pinOf(owner))()
	sb, ok := m.store.Sandbox(owner)
	if keep.Addresses {
		if err := m.reserveFixed(sb, true); err != nil {
			return err
		}
	}
	if keep.Addresses {
		if err := m.holdLeases(sb); err != nil {
			return err
		}
	}
	if err := m.release(sb, ok, keep.Namespace); err != nil || keep.Addresses {
		return err
	}
	m.releaseLeases(sb)
	return errors.Join(m.releaseHeldLeases(owner, ""), m.unreserve(owner, ""))
}

func (m *Manager) release(sb network.Sandbox, there, keepNamespace bool) error {
	switch {
	case !there || keepNamespace && sb.NetnsOnly:
		return nil
	case keepNamespace && sb.Mode == network.Private && namespaceExists(sb):
		return m.releaseEndpoints(sb)
	}
	return m.remove(sb)
}

// remove ends a sandbox, made whole or in part, and forgets it, side by side. Its addresses are free when both are done. If the
// kernel refuses, the sandbox is remembered again, so that it can be released again.
func (m *Manager) remove(sb network.Sandbox) error {
	m.removing.Store(sb.Owner, true)
	defer m.removing.Delete(sb.Owner)
	forgotten := make(chan error, 1)
	go func() { forgotten <- m.store.DeleteSandboxes(sb.Owner) }()
	err := m.detachAll(sb)
	if ferr := <-forgotten; err != nil || ferr != nil {
		if err != nil && ferr == nil {
			ferr = m.store.PutSandbox(sb)
		}
		return errors.Join(err, ferr)
	}
	m.releaseAddresses(sb)
	return nil
}

// Leaving tells whether an owner's sandbox is being removed.
func (m *Manager) Leaving(owner string) bool {
	_, leaving := m.removing.Load(owner)
	return leaving
}

// detachAll detaches the endpoints and lets go of the namespace. All of it is tried.
func (m *Manager) detachAll(sb network.Sandbox) error {
	var errs []error
	for _, e := range sb.Endpoints {
		if n, driver, ok := m.networkOf(e); ok { // else it is gone, and its bridge with it
			errs = append(errs, driver.Detach(n, sb, e))
		}
	}
	if sb.Mode == network.Private {
		errs = append(errs, fault.Wrap(kernel.Unpin(sb.NetnsPath), fault.Internal, subject(sb.Owner), "cannot be released"))
	}
	return errors.Join(errs...)
}
