package netagent

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/proto/fault"
)

// Users returns none: netagent has no named users.
func (s *Service) Users() []string { return nil }

// Clean removes all networks from the host, unpins the namespaces and restores the changed sysctls.
func (s *Service) Clean(context.Context) error {
	err := errors.Join(s.sandboxes.Unpin(), s.overlay.Clean(),
		s.bringup.Clean(func(networkID string) { s.cleaned[networkID] = true }), s.portGuard.Remove())
	return fault.Wrap(err, fault.Internal, "networks", "cannot be removed from the host")
}
