package natagent

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall/iptables"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nftables"
)

// Users are none that natagent knows of.
func (s *Service) Users() []string { return nil }

// Clean takes every rule out, and our bridges out of other firewalls. A user chain that has rules stays, as they are the user's.
func (s *Service) Clean(ctx context.Context) error {
	return errors.Join(s.guard.RevokeAll(ctx), nftables.Remove(ctx, s.ns), iptables.Remove(ctx, s.ns, ""))
}
