package sandbox

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/services/netagent/internal/address"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
)

// Reserve replaces the reservations of an owner by the static addresses of specs. On failure,
// nothing changes.
func (m *Manager) Reserve(ctx context.Context, owner string, specs []endpoint.Spec) error {
	if err := errors.Join(endpoint.ValidateOwner(owner), m.Ready()); err != nil {
		return err
	}
	for _, spec := range specs {
		if err := spec.Validate(endpoint.SandboxSubject(owner)); err != nil {
			return err
		}
	}
	return address.Retry(ctx, m.source, func() error { return m.reserve(owner, specs) })
}

func (m *Manager) reserve(owner string, specs []endpoint.Spec) error {
	nets, err := m.resolve(specs)
	if err != nil {
		return err
	}
	defer m.locks.Owner(owner)()
	return m.addresses.Reserve(owner, nets, specs)
}
