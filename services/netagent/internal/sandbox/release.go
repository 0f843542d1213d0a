package sandbox

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
)

// Release releases everything that an owner has, except what keep selects. It does nothing if the
// owner has nothing.
func (m *Manager) Release(ctx context.Context, owner string, keep endpoint.ReleaseKeep) error {
	if err := endpoint.ValidateOwner(owner); err != nil {
		return err
	}
	if err := errors.Join(m.Ready(), ctx.Err()); err != nil {
		return err
	}

	defer m.locks.Owner(owner)()

	sb, ok := m.store.Sandbox(owner)
	if keep.Addresses {
		if err := m.addresses.ReserveStatic(sb, true); err != nil {
			return err
		}
	}

	if keep.Addresses {
		if err := m.leases.Hold(sb); err != nil {
			return err
		}
	}
	if err := m.release(sb, ok, keep.Namespace); err != nil || keep.Addresses {
		return err
	}

	m.leases.Release(sb)
	return errors.Join(m.leases.ReleaseHeld(owner, ""), m.addresses.Unreserve(owner, ""))
}

func (m *Manager) release(sb endpoint.Sandbox, exists, keepNamespace bool) error {
	switch {
	case !exists || keepNamespace && sb.NetnsOnly:
		return nil
	case keepNamespace && sb.Mode == endpoint.Private && m.attach.Exists(sb):
		return m.releaseEndpoints(sb)
	}
	return m.remove(sb)
}

// remove removes a sandbox, complete or not, and deletes its record concurrently. Its addresses are
// released after both. If the kernel fails, the sandbox is stored again, so that Release can be
// repeated.
func (m *Manager) remove(sb endpoint.Sandbox) error {
	if sb.External != "" {
		return m.removeAdopted(sb)
	}
	deleted := make(chan error, 1)
	go func() { deleted <- m.store.DeleteSandboxes(sb.Owner) }()
	err := m.detachAll(sb)
	if derr := <-deleted; err != nil || derr != nil {
		if err != nil && derr == nil {
			derr = m.store.PutSandbox(sb)
		}
		return errors.Join(err, derr)
	}

	m.addresses.Release(sb)
	return nil
}

// detachAll detaches all endpoints and unpins the namespace. It continues after errors.
func (m *Manager) detachAll(sb endpoint.Sandbox) error {
	var errs []error
	for _, e := range sb.Endpoints {
		n, d, ok := m.attach.NetworkOf(e)
		switch {
		case !ok: // the network is deleted, with its bridge
		case sb.External != "": // the namespace remains
			errs = append(errs, d.Remove(n, sb, e))
		default:
			errs = append(errs, d.Detach(n, sb, e))
		}
	}
	if sb.Mode == endpoint.Private {
		errs = append(errs, fault.Wrap(m.namespaces.Unpin(sb.NetnsPath), fault.Internal,
			endpoint.SandboxSubject(sb.Owner),
			"cannot be released"))
	}
	return errors.Join(errs...)
}
