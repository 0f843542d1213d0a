package natagent

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/services/natagent/internal/backend"
)

// Users returns nil: natagent does not know the containers that use it.
func (s *Service) Users() []string { return nil }

// Clean removes all rules, and our bridges from other firewalls. A user chain with rules stays.
func (s *Service) Clean(ctx context.Context) error {
	return errors.Join(s.guard.RevokeAll(ctx), s.egress.Clean(ctx), backend.Clean(ctx, s.ns))
}
