package netagent

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/proto/fault"
)

// Users are none that netagent knows by name.
func (s *Service) Users() []string { return nil }

// Clean takes every network off the host, lets go of the namespaces, and puts back the host's parameters that were changed.
func (s *Service) Clean(context.Context) error {
	err := errors.Join(s.sandboxes.Unpin(), s.reconciler.Clean(func(networkID string) { s.cleaned[networkID] = true }), s.portGuard.Remove())
	return fault.Wrap(err, fault.Internal, "networks", "cannot all be taken off the host")
}
